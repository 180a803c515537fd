"""Sound libraries print on stderr what they try; here it goes to the debug log."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Iterator

log = logging.getLogger(__name__)
_lock = threading.Lock()


@contextlib.contextmanager
def chatter_to_log() -> Iterator[None]:
    """Catch what is written to stderr, by the whole process, and log it.

    For short calls only, and not for closing: on a device that was unplugged PortAudio 19.6 prints without end and
    never returns.
    """
    with _lock:
        try:
            saved = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                caught.seek(0)
                for line in caught.read().decode(errors="replace").splitlines():
                    log.debug("sound library: %s", line)
