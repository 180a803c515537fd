"""What can be seen of a running program.

log         the log, without secrets           histogram   distributions of delays
observer    what hears of a session            board       the machine's temperature and power
metrics     OpenTelemetry (extra "metrics")    recorder    the flight recorder (extra "record")
"""
