"""A setting that nobody reads has no effect: each is read by what `open()` opens, or is named here with its test."""

import dataclasses
from pathlib import Path
from typing import Any

import trio

from ravatar_audio import ChatSession, Emulator, LiveSession, Settings, SyntheticSource, open_source
from ravatar_audio.session.open_voice import open_voice

ELSEWHERE = {
    "metrics_interval_ms": "tests/session/test_metrics.py",
    "record_hours": "tests/unit/test_recorder.py",
    "record_mb": "tests/unit/test_recorder.py",
}
"""Settings that count only beside others, and the test that proves their effect."""


class Watched(Settings):
    """Settings that note which of them are read."""

    read: set[str] = set()  # noqa: RUF012 - one for all copies

    def __getattribute__(self, name: str) -> Any:
        Watched.read.add(name)
        return super().__getattribute__(name)


async def test_every_setting_is_read_by_what_a_session_opens(tmp_path: Path) -> None:
    names = {item.name for item in dataclasses.fields(Settings) if not item.metadata["replaced_by"]}
    with trio.fail_after(30):
        async with Emulator() as emulator:
            settings = Watched(
                api_url=emulator.api_url, state_dir=str(tmp_path), linger_s=0, mode="vad", echo_cancellation="own"
            )
            Watched.read.clear()  # making them reads them all
            open_voice(settings, open_source(settings, "mic"))
            open_source(settings, "-")
            source = SyntheticSource(duration_s=0.1, pace="full")
            async with LiveSession.open(settings, source) as live:
                async for _ in live.events():
                    pass
            async with ChatSession.open(settings):
                pass
    assert names - Watched.read - set(ELSEWHERE) == set()
    for test in ELSEWHERE.values():
        assert (Path(__file__).parents[2] / test).is_file()
