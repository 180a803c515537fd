"""The sink of sink.py that also writes down when each message was there, and can stop reading now and then."""

import os
import signal
import ssl
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .loads import be_patient
from .sink import Sink, running_sink, server_tls

_STAMP = struct.Struct("=d")


@dataclass(frozen=True, slots=True)
class Arrivals:
    """A running sink for one connection."""

    url: str
    ca_file: str | None
    file: Path

    def read_s(self) -> list[float]:
        """When each message so far had come as a whole; `time.monotonic()`, which processes share."""
        return [value for (value,) in _STAMP.iter_unpack(self.file.read_bytes())]


@contextmanager
def running_arrivals(file: Path, *, secure: bool, stall_s: float = 0.0, every_s: float = 0.0) -> Iterator[Arrivals]:
    """The sink in a process of its own; every `every_s` seconds it reads nothing for `stall_s` (0: never)."""
    more = (str(file), str(stall_s), str(every_s))
    with running_sink(secure=secure, core=None, module="rig.arrivals", more=more) as (url, authority):
        yield Arrivals(url, authority or None, file)


class _StampingSink(Sink):
    def __init__(self, tls: ssl.SSLContext | None, file: Path, stall_s: float, every_s: float) -> None:
        super().__init__(tls)
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        if stall_s:
            signal.signal(signal.SIGALRM, lambda number, frame: time.sleep(stall_s))
            signal.setitimer(signal.ITIMER_REAL, every_s, every_s)

    def note_message(self) -> None:
        os.write(self._fd, _STAMP.pack(time.monotonic()))


def main() -> None:
    be_patient()  # or loopback's server would run in the midst of the call that writes to it
    folder, _core, _real_time, file, stall_s, every_s = sys.argv[1:]
    sink = _StampingSink(server_tls(folder), Path(file), float(stall_s), float(every_s))
    print(sink.port, flush=True)
    sink.run()


if __name__ == "__main__":
    main()
