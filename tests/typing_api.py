"""What a type checker sees of the public names: never run, but checked by `scripts/lint`, as a product's code would be.

`assert_type` fails the check when a type becomes wider, narrower or Any; calls with wrong arguments must be refused, as
an unneeded `type: ignore` is an error itself.
"""

from typing import Literal, assert_type

import ravatar_audio as ra
from ravatar_audio.testing import FakeMicrophone


async def capture() -> None:
    async with ra.Microphone(device="USB") as microphone:
        assert_type(microphone, ra.Microphone)
        async for frame in microphone:
            assert_type(frame, ra.Frame)
            assert_type(frame.seq, int)
            assert_type(frame.rms_dbfs, float)
            assert_type(frame.captured_s, float)
            assert_type(frame.position_samples, int)
        assert_type(microphone.statistics(), ra.CaptureStatistics)
    ra.Microphone(device=3.5)  # type: ignore[arg-type]


async def converse(settings: ra.Settings) -> None:
    async with ra.SyntheticSource() as source, ra.LiveSession(settings, source) as live:
        assert_type(live, ra.LiveSession)
        assert_type(live.statistics(), ra.LiveStatistics)
        async for event in live.events():
            if isinstance(event, ra.Reply):
                assert_type(event.text, str | None)
    ra.LiveSession(source)  # type: ignore[call-arg, arg-type]


async def emulate() -> None:
    async with ra.Emulator(ra.EmulatorSettings(slots=1)) as emulator:
        assert_type(emulator, ra.Emulator)
        assert_type(emulator.api_url, str)


def convert(samples: bytes) -> None:
    with ra.Converter(44_100, 2, "float32") as converter:
        assert_type(converter, ra.Converter)
        assert_type(converter.process(samples), list[ra.Frame])
        assert_type(converter.flush(), list[ra.Frame])
        assert_type(converter.group_delay_s, float)


def configure() -> None:
    assert_type(ra.Settings.load(project_id="p"), ra.Settings)
    assert_type(ra.list_devices(), list[ra.Device])
    assert_type(ra.__version__, str)
    assert_type(ra.FRAME_SAMPLES, int)


async def examine(settings: ra.Settings) -> None:
    findings = await ra.diagnose(settings, platform=False, on_finding=print)
    assert_type(findings, tuple[ra.Finding, ...])
    assert_type(findings[0].status, Literal["ok", "warning", "error", "skipped"])
    assert_type(findings[0].advice, str)


def fail(error: ra.RavatarError) -> None:
    assert_type(error.message, str)
    assert_type(error.retryable, bool)
    assert_type(error.code, str)


async def pretend() -> None:
    async with FakeMicrophone() as microphone:
        async for frame in microphone:
            assert_type(frame, ra.Frame)
