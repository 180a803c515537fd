"""Metrics of running sessions, by OpenTelemetry (extra "metrics").

table      every name, with kind, unit and attributes, and which counter it shows (pure)
readings   an observer that adds up what sessions count
provider   the only module that knows OpenTelemetry: instruments, the Prometheus text, OTLP
page       the Prometheus page, for this machine only
service    all of it, as the settings say
"""
