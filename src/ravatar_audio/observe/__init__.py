"""What can be seen of a running program: the log, and distributions of delays."""
