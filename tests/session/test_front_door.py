"""One front door: what the settings say is done, whichever program opens the session."""

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import ravatar_audio.asyncio as for_asyncio
import ravatar_audio.blocking as for_threads
from ravatar_audio import (
    ChatSession,
    Emulator,
    EmulatorSettings,
    Frame,
    LiveSession,
    Reply,
    Settings,
    SettingsError,
    SyntheticSource,
    TurnEvent,
    TurnEventKind,
    TurnSource,
)

SAMPLES = 2 * 16_000


@pytest.fixture
async def emulator(tmp_path: Path) -> AsyncIterator[Emulator]:
    async with Emulator(EmulatorSettings(wav_dir=str(tmp_path / "heard"), slots=1)) as emulator:
        yield emulator


def settings_for(emulator: Any, folder: Path, **values: Any) -> Settings:
    return Settings(api_url=emulator.api_url, state_dir=str(folder / "state"), linger_s=0.2, **values)


def speech() -> SyntheticSource:
    return SyntheticSource(duration_s=2, pace="full")


async def test_events_end_when_the_source_has_and_everything_was_sent(emulator: Emulator, tmp_path: Path) -> None:
    async with LiveSession.open(settings_for(emulator, tmp_path), speech()) as live:
        names = [type(event).__name__ async for event in live.events()]
        assert live.statistics().sent_samples == SAMPLES
    assert names[0] == "LinkUp"
    assert emulator.statistics().live[0].samples >= SAMPLES
    assert emulator.statistics().slots_free == 1


async def test_the_mode_counts(emulator: Emulator, tmp_path: Path) -> None:
    told: list[TurnEvent] = []
    settings = settings_for(emulator, tmp_path, mode="ptt")
    async with LiveSession.open(settings, speech(), on_turn=told.append) as live:
        assert [event async for event in live.events()]
        assert live.statistics().sent_samples == 0  # nobody has pressed
        live.turns.mute()
    assert not told

    settings = settings_for(emulator, tmp_path, mode="vad", speech_dbfs=-50)
    async with LiveSession.open(settings, speech(), on_turn=told.append) as live:
        assert [event async for event in live.events()]
        assert 0 < live.statistics().sent_samples <= SAMPLES
    assert told[0].kind is TurnEventKind.STARTED


async def test_a_word_names_the_source(emulator: Emulator, tmp_path: Path) -> None:
    heard: list[Frame] = []
    async with LiveSession.open(settings_for(emulator, tmp_path), "synthetic:tone", on_frame=heard.append) as live:
        await live.turns.source.stop()
        assert [event async for event in live.events()]
    assert live.turns.source.name == "synthetic:tone"
    assert len(heard) <= 8


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"mode": "ptt"}, "mode = 'ptt'"),
        ({"mode": "vad"}, "mode = 'vad'"),
        ({"half_duplex": True}, "half_duplex"),
        ({"mode": "ptt", "half_duplex": True}, "mode = 'ptt' and half_duplex"),
    ],
)
def test_a_setting_without_effect_is_refused_by_its_name(values: Any, names: str) -> None:
    settings = Settings(**values)
    with pytest.raises(SettingsError, match=names):
        LiveSession(settings, speech())
    LiveSession(settings, TurnSource.from_settings(settings, speech()))


async def test_debug_logs_everything(emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ravatar_audio")
    before = logger.level
    try:
        async with LiveSession.open(settings_for(emulator, tmp_path, debug=True), speech()) as live:
            assert [event async for event in live.events()]
        assert "POST /startLiveSession" in caplog.text
        assert "eyJ" not in caplog.text
    finally:
        logger.setLevel(before)


async def test_chat_sends_the_turns_of_its_source(emulator: Emulator, tmp_path: Path) -> None:
    settings = settings_for(emulator, tmp_path, mode="open")
    async with ChatSession.open(settings, speech()) as chat:
        async for event in chat.events():
            if isinstance(event, Reply):
                break
        assert chat.turns.gate.statistics().turns == 1
    async with ChatSession.open(settings) as chat:
        await chat.send_text("Good morning")
        with pytest.raises(SettingsError, match="no source"):
            _ = chat.turns


def test_the_other_worlds_have_it_too(tmp_path: Path) -> None:
    turns: list[TurnEventKind] = []

    async def in_asyncio(settings: Settings) -> int:
        source = for_asyncio.SyntheticSource(duration_s=2, pace="full")
        async with for_asyncio.LiveSession.open(
            settings, source, on_turn=lambda event: turns.append(event.kind)
        ) as live:
            assert [event async for event in live.events()]
            live.turns.mute()
            assert source.statistics().captured_samples == SAMPLES
            return live.statistics().sent_samples

    with for_threads.Emulator(EmulatorSettings(wav_dir=str(tmp_path / "heard"), slots=1)) as emulator:
        settings = settings_for(emulator, tmp_path)
        assert asyncio.run(in_asyncio(settings)) == SAMPLES
        assert turns[0] is TurnEventKind.STARTED
        with for_threads.LiveSession.open(settings, "synthetic:tone") as live:
            next(live.events())
            live.turns.press()
        with for_threads.ChatSession.open(settings) as chat:
            chat.send_text("Good morning")
        with pytest.raises(ZeroDivisionError), for_threads.LiveSession.open(settings, "synthetic:tone"):
            _ = 1 / 0
        assert emulator.statistics().slots_free == 1
