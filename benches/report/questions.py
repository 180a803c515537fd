"""The benches by name, in the order in which they run and are shown."""

SUITE = (
    "callback",
    "resample",
    "ring",
    "wakeup",
    "message",
    "latency",
    "turn",
    "streams",
    "reconnect",
    "footprint",
)
"""What runs unless something else is asked for, in the order in which sound goes: some half an hour."""
BY_NAME = ("interpreter_stall", "embedding", "detectors", "echo", "chaos", "storm", "soak", "watching", "load")
"""Longer ones, or about a part that not everybody uses."""
