"""What a service manager hears (sd_notify(3)): datagrams to the socket that NOTIFY_SOCKET names. Linux only."""

import contextlib
import os
import socket
from collections.abc import Mapping

from ravatar_audio.printable import one_line


class Notifier:
    """Sends states such as READY=1. Without NOTIFY_SOCKET it does nothing; a manager that does not answer is no error.

    A name that begins with @ is an abstract socket: the @ stands for a zero byte.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        name = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + name[1:] if name.startswith("@") else name if name.startswith("/") else ""
        self.watchdog_s: float | None = _watchdog_s(environment)
        """The manager ends a service that has said nothing for so long; None: it does not watch."""

    def send(self, **states: str | int) -> None:
        """Send values, for example send(READY=1, STATUS="listens"). Each value is one line."""
        if not self._address:
            return
        text = "\n".join(f"{name}={one_line(str(value))}" for name, value in states.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)  # a manager that is stuck must not hold up the sound
            sender.sendto(text.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    microseconds = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # it is meant for another process
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() and int(microseconds) else None
