"""Opens a microphone twice where PortAudio's functions cannot be looked up, and tells what was used and said."""

import json
import logging

import pyaudio
import trio

from ravatar_audio.capture import Microphone
from tests.device.capture_child import be_urgent


class Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


async def main() -> None:
    keep = Keep()
    logging.getLogger("ravatar_audio").addHandler(keep)
    pyaudio._portaudio.__file__ = json.__file__  # no library at all
    backends, peaks = [], []
    for _ in range(2):
        with trio.fail_after(20):
            async with Microphone("usbmic") as microphone:
                backends.append(microphone.backend)
                peaks.append((await anext(microphone)).peak)
    print(json.dumps({"backends": backends, "peaks": peaks, "said": keep.said}))


if __name__ == "__main__":
    be_urgent()
    trio.run(main)
