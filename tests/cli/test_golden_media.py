"""Each media error and each event of a microphone as a user sees it, as pages: see test_golden.py."""

import errno
import logging
import re
from collections.abc import Iterator

import numpy as np
import pytest
import trio.testing

from ravatar_audio.capture.devices.privacy import privacy_error
from ravatar_audio.capture.microphone.stall_detector import StallDetector
from ravatar_audio.capture.streams.alsa import error_for
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.cli import failure_text
from ravatar_audio.errors import ConstraintsError, DeviceInUseError, DeviceNotFoundError, MediaError, RavatarError
from ravatar_audio.testing import FakeDevice, FakeMicrophone
from tests.cli.test_golden import assert_golden

SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
GONE = StreamStatistics(512, 0, 0, 0.0, 1.0, 6.0, 1, True, -errno.ENODEV)
SILENT = StreamStatistics(0, 0, 0, 0.0, 1.0, None, 1, False, 0)


def ended(stream: StreamStatistics, now_s: float) -> MediaError:
    """What a stream's counters make the microphone raise."""
    stall_detector = StallDetector(0.1, 1.0)
    errors = [stall_detector.reason_to_reopen(stream, at_s, "USB Audio") for at_s in np.arange(1.0, now_s, 0.25)]
    error = errors[-1]
    assert error is not None
    return error


def errors_of(system: str) -> Iterator[MediaError]:
    """One of each code, as its cause makes it."""
    of_device = "the device 'USB Audio' cannot be opened"
    if system == "linux":
        yield from (error_for(number, of_device) for number in (errno.EACCES, errno.ENODEV, errno.EBUSY))
    else:
        refusal = privacy_error(system, read_switch=lambda hive, path: "Deny", read_status=lambda: 2)
        assert refusal is not None
        yield from (refusal, DeviceNotFoundError("no input device fits 'USB Audio'"), DeviceInUseError(of_device))
    yield ConstraintsError("the device 'USB Audio' does not have 96000 Hz; it has 44100, 48000 Hz; 2 channels; int16")
    yield ended(SILENT, 7.0)
    yield ended(GONE, 7.0)


def test_each_media_error_on_each_system(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = []
    for system, name in SYSTEMS.items():
        monkeypatch.setattr("sys.platform", system)
        parts.append(f"# {name}\n")
        shown = {error.code: failure_text(error) for error in errors_of(system)}
        assert set(shown) == {kind.code for kind in MediaError.__subclasses__() if issubclass(kind, RavatarError)}
        parts += [f"{code}\n{text}\n" for code, text in shown.items()]
    assert_golden("errors-media", "\n".join(parts))


SECOND = 16_000
SCRIPT = {
    2 * SECOND: "stall",
    2 * SECOND + 8_000: "ok",
    20 * SECOND: "mute",
    24 * SECOND: "ok",
    40 * SECOND: "move",
    50 * SECOND: "unplug",
    56 * SECOND: "ok",
    70 * SECOND: "lose 800",
}


async def test_each_event_of_a_microphone(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    sound = np.tile(np.array([0, 900, 0, -900], np.int16), 30 * SECOND // 4)
    sound[28 * SECOND : 29 * SECOND] = 32_767  # somebody shouts, twice in a minute
    with caplog.at_level(logging.INFO, "ravatar_audio.capture.microphone.events"):
        async with FakeMicrophone(FakeDevice(sound, rate_hz=SECOND, script=SCRIPT), duration_s=80) as microphone:
            async for _ in microphone:
                pass
    told = [
        record.getMessage() for record in caplog.records if record.name == "ravatar_audio.capture.microphone.events"
    ]
    page = [re.sub(r"\b\d+\.\d+ s\b", "N s", line) for line in told]
    assert_golden("events-microphone", "\n".join(page))
