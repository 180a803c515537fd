"""While a command is being loaded, an interrupt ends it at once: there is nothing yet to tidy up.

Python would raise KeyboardInterrupt wherever it is then: in an import, or in a callback that swallows it.
"""

import os
import signal
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def begin() -> None:
    """End the command at an interrupt from now on; not where the interrupt is ignored, as by nohup."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def end() -> None:
    """Let the command, which is there, be interrupted as any other. Does nothing without begin()."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
