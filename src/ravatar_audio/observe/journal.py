"""The log as systemd's journal takes it, with fields besides the text (systemd.journal-fields(7)). Linux only."""

import array
import contextlib
import errno
import logging
import os
import socket
from collections.abc import Mapping
from typing import Final, TextIO

SOCKET: Final = "/run/systemd/journal/socket"
FIELDS: Final = "journal_fields"
"""A record's further fields: log.warning(text, extra={FIELDS: {"RAVATAR_CODE": "busy"}})."""
_PRIORITIES: Final = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))


def is_journal(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the stream goes to the journal, by JOURNAL_STREAM, "DEVICE:INODE"."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def entry(fields: Mapping[str, str]) -> bytes:
    """Return fields in the journal's own format: a value with a line break has its length before it."""
    parts = []
    for name, value in fields.items():
        data = value.encode("utf-8", "backslashreplace")
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


class JournalHandler(logging.Handler):
    """Sends each record to the journal: MESSAGE, PRIORITY, LOGGER, and what its FIELDS say.

    What the journal does not take, as it is not there or is full, is dropped: a log must not hold up the sound.
    """

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__()
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        priority = next((value for level, value in _PRIORITIES if record.levelno >= level), 7)
        fields = {"MESSAGE": self.format(record), "PRIORITY": str(priority), "LOGGER": record.name}
        fields |= {"SYSLOG_IDENTIFIER": "ravatar-audio", **getattr(record, FIELDS, {})}
        data = entry(fields)
        with contextlib.suppress(OSError):
            try:
                self._socket.sendto(data, self._path)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:  # then it is taken from a file in memory
                    raise
                self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        with open(os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "wb") as file:
            file.write(data)
            file.flush()
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))
            self._socket.sendmsg([b""], [rights], 0, self._path)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()
