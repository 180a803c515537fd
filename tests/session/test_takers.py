"""One taker of a source's frames, controls from any thread, and a session that begins with its own sound."""

import math
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from ravatar_audio.capture import FileSource, Source, SyntheticSource
from ravatar_audio.capture.microphone.source import DISCARD_WITHIN_SAMPLES, frame_since
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.session import LiveSession, TurnSource
from ravatar_audio.testing import FakeMicrophone
from ravatar_audio.turns import Gate, TurnEvent, TurnEventKind, TurnMode, TurnRules
from tests.session.conftest import MakeSettings, until
from tests.unit.test_sources import noise, wav
from tests.unit.turns_world import make_frame, sound_at

CONTROLS: dict[str, tuple[Callable[[TurnSource], None], Callable[[TurnSource], bool]]] = {
    "press": (TurnSource.press, lambda turns: turns.gate.is_open),
    "release": (TurnSource.release, lambda turns: not turns.gate.is_open),
    "mute": (TurnSource.mute, lambda turns: turns.gate.is_muted),
    "unmute": (TurnSource.unmute, lambda turns: not turns.gate.is_muted),
    "set_mode": (lambda turns: turns.set_mode("open"), lambda turns: turns.gate.mode is TurnMode.OPEN),
    "cancel": (TurnSource.cancel, lambda turns: not turns.gate.is_open),
    "avatar_speaks": (TurnSource.avatar_speaks, lambda turns: turns.gate.is_gated),
    "avatar_ends": (TurnSource.avatar_ends, lambda turns: not turns.gate.is_gated),
    "discard": (TurnSource.discard, lambda turns: True),
    "source.discard": (lambda turns: turns.source.discard(), lambda turns: True),
    "source.request_flush": (lambda turns: turns.source.request_flush(), lambda turns: True),
    "source.flush_at": (lambda turns: turns.source.flush_at(5_000), lambda turns: True),
}
BEFORE = {"release": "press", "unmute": "mute", "cancel": "press", "avatar_ends": "avatar_speaks"}


def ptt(source: Source) -> TurnSource:
    return TurnSource(source, Gate(TurnMode.PTT, TurnRules(pre_roll_ms=0, tail_ms=0, shortest_press_ms=0, echo_ms=0)))


def assert_kept(source: Source) -> None:
    counts = source.statistics()
    assert counts.captured_samples == (
        counts.delivered_samples + counts.discarded_samples + counts.ring_dropped_samples + counts.pending_samples
    )


WRONG: dict[str, Callable[[TurnSource, object], object]] = {
    **{
        name: lambda turns, at_s, name=name: getattr(turns, name)(at_s)  # type: ignore[misc]
        for name in ("press", "release", "mute", "unmute", "cancel", "avatar_speaks", "avatar_ends")
    },
    "set_mode's time": lambda turns, at_s: turns.set_mode("open", at_s),  # type: ignore[arg-type]
    "set_mode": lambda turns, mode: turns.set_mode(mode),  # type: ignore[arg-type]
    "source.flush_at": lambda turns, position: turns.source.flush_at(position),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "soon", [1]])
@pytest.mark.parametrize("name", WRONG)
async def test_what_is_no_time_is_refused_where_it_is_said_and_does_not_end_the_run(name: str, value: object) -> None:
    refused: list[type[Exception]] = []

    def say(turns: TurnSource) -> None:
        with pytest.raises(SettingsError) as caught:
            WRONG[name](turns, value)
        refused.append(caught.type)

    with trio.fail_after(20):
        async with ptt(SyntheticSource()) as turns:
            await trio.to_thread.run_sync(say, turns)
            say(turns)
            assert len(refused) == 2
            turns.press()
            assert (await anext(turns)).length_samples > 0, "the run goes on"


@pytest.mark.parametrize("make", [SyntheticSource, FakeMicrophone])
@pytest.mark.parametrize("name", CONTROLS)
async def test_every_control_takes_effect_from_another_thread(name: str, make: Callable[[], Source]) -> None:
    turns = ptt(make())
    with trio.fail_after(20):
        async with turns, trio.open_nursery() as nursery:

            async def take() -> None:
                async for _ in turns:
                    pass

            nursery.start_soon(take)
            in_thread: list[int] = []

            def call(control: str) -> None:
                in_thread.append(threading.get_ident())
                CONTROLS[control][0](turns)

            for control in (BEFORE.get(name), name):
                if control is not None:
                    await trio.to_thread.run_sync(call, control)
                    await until(lambda control=control: CONTROLS[control][1](turns), control)  # type: ignore[misc]
            assert threading.get_ident() not in in_thread
            nursery.cancel_scope.cancel()
        counts = turns.gate.statistics()
        assert counts.received_samples == counts.given_samples + counts.gated_samples + counts.pending_samples


async def test_controls_from_threads_keep_their_order_and_their_refusals() -> None:
    turns = ptt(SyntheticSource())
    with trio.fail_after(20):
        async with turns:

            def many() -> None:
                for _ in range(200):
                    turns.mute()
                    turns.unmute()
                turns.set_mode("open")
                with pytest.raises(SettingsError, match="detector"):
                    turns.set_mode("vad")
                with pytest.raises(SettingsError, match="unknown"):
                    turns.set_mode("nonsense")  # type: ignore[arg-type]

            await trio.to_thread.run_sync(many)
            await anext(turns)
            assert not turns.gate.is_muted
            assert turns.gate.mode is TurnMode.OPEN
    await trio.to_thread.run_sync(turns.press)  # afterwards it does nothing


@pytest.mark.parametrize("make", [SyntheticSource, FakeMicrophone, lambda: ptt(SyntheticSource())])
async def test_two_tasks_that_take_frames_do_not_share_them(make: Callable[[], Source | TurnSource]) -> None:
    with trio.fail_after(20):
        async with make() as source, trio.open_nursery() as nursery:

            async def take() -> None:
                async for _ in source:
                    pass

            nursery.start_soon(take)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                with pytest.raises(trio.BusyResourceError, match="another task takes the frames"):
                    await anext(source)
            nursery.cancel_scope.cancel()


async def test_a_session_has_its_source_for_itself_and_gives_it_back(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(slots=3)) as emulator, SyntheticSource() as source:
            async with LiveSession(settings_for(emulator), source) as live:
                for _ in range(3):
                    with pytest.raises(trio.BusyResourceError, match="a live session takes the frames"):
                        await anext(source)
                with pytest.raises(trio.BusyResourceError, match="a live session"):
                    await LiveSession(settings_for(emulator, user_id="b"), source).__aenter__()
                with pytest.raises(trio.BusyResourceError, match="a live session"):
                    await anext(ptt(source))
                await until(lambda: live.statistics().sent_frames >= 2, "sound")
            await anext(source)
            async with LiveSession(settings_for(emulator), source) as live:
                await until(lambda: live.statistics().sent_frames >= 2, "sound")
            assert_kept(source)


async def test_a_turn_source_has_its_source_for_itself(settings_for: MakeSettings) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            source = SyntheticSource()
            turns = TurnSource(source, Gate())
            async with turns, LiveSession(settings_for(emulator), turns):
                with pytest.raises(trio.BusyResourceError, match="a TurnSource takes the frames"):
                    await anext(source)
                with pytest.raises(trio.BusyResourceError, match="a live session takes the frames"):
                    await anext(turns)
                with pytest.raises(trio.BusyResourceError, match="a live session takes the frames"):
                    await turns.next_outcome()


@pytest.mark.parametrize("with_turns", [False, True])
async def test_a_session_begins_with_its_own_visitors_sound(settings_for: MakeSettings, with_turns: bool) -> None:
    """One microphone, one session for each visitor, and a pause in between in which nobody takes."""
    with trio.fail_after(40):
        async with Emulator(EmulatorSettings(slots=2)) as emulator:
            source = SyntheticSource("noise")
            taken = TurnSource(source, Gate()) if with_turns else source
            async with taken:
                for pause_s in (0.0, 1.3, 3.0):  # less than the ring holds, and more
                    await trio.sleep(pause_s)
                    asked_s = time.monotonic()
                    stood_s = asked_s - trio.current_time()
                    sent: list[Frame] = []
                    settings = settings_for(emulator, outbox_ms=20_000)
                    async with LiveSession(settings, taken, on_sent=sent.append) as live:
                        await until(lambda sent=sent: len(sent) > 3, "sound")  # type: ignore[misc]
                        first = sent[0]
                        begin_s = first.captured_s - first.length_samples / RATE_HZ
                        assert begin_s >= asked_s - 2 * DISCARD_WITHIN_SAMPLES / RATE_HZ
                        stood_s = time.monotonic() - trio.current_time() - stood_s  # while others had the processor
                        assert begin_s < asked_s + 0.5 + stood_s, "and with all of it"
                        assert first.length_samples == FRAME_SAMPLES, "its first words are cut by silence"
                        assert live.statistics().dropped_samples["outbox"] == 0
                        ends = [frame.position_samples + frame.length_samples for frame in sent]
                        assert [frame.position_samples for frame in sent[1:]] == ends[:-1]
                    await until(lambda: emulator.statistics().live[-1].state == "ended", "the end")
                    assert emulator.statistics().live[-1].declared_lost_samples == 0
                assert_kept(source)
                assert source.statistics().discarded_samples + getattr(taken, "discarded_samples", 0) > 1.2 * RATE_HZ


@pytest.mark.parametrize("mode", [None, TurnMode.OPEN])
@pytest.mark.parametrize("first", ["jwt", "connection"])
async def test_at_600_ms_and_a_start_of_seconds_the_newest_sound_is_sent_and_no_ring_overflows(
    settings_for: MakeSettings, first: str, mode: TurnMode | None
) -> None:
    """1.7 s are three round trips; the source is taken from in time, and the outbox keeps the last 2 s."""
    faults = (Fault(at=first, do="delay", delay_s=1.7), Fault(at="startLiveSession", do="delay", delay_s=4.0))
    with trio.fail_after(40):
        async with Emulator(EmulatorSettings(faults=faults)) as emulator:
            source = SyntheticSource("noise")
            taken = TurnSource(source, Gate(mode)) if mode else source
            sent: list[Frame] = []
            async with taken, LiveSession(settings_for(emulator), taken, on_sent=sent.append) as live:
                await until(lambda: len(sent) > 8, "sound")
                assert live.statistics().dropped_samples["outbox"] > 3 * RATE_HZ, "nothing had to be dropped"
            assert source.statistics().ring_dropped_samples == 0
            assert sent[0].position_samples > 3 * RATE_HZ, "what was said seconds ago comes before the newest"


async def test_a_turn_that_begins_in_the_session_has_its_pre_roll_and_an_older_one_does_not() -> None:
    with trio.fail_after(20):
        rules = TurnRules(pre_roll_ms=300, tail_ms=0, shortest_press_ms=0)
        events: list[TurnEvent] = []
        turns = TurnSource(SyntheticSource("noise"), Gate(TurnMode.PTT, rules), on_event=events.append)
        async with turns:
            turns.press()
            await anext(turns)
            await trio.sleep(1.0)
            turns.release()
            await trio.sleep(0.5)
            asked_s = time.monotonic()
            turns.discard()
            await trio.sleep(0.05)
            turns.press()
            frame = await anext(turns)
            assert [event.kind for event in events] == [
                TurnEventKind.STARTED,
                TurnEventKind.ENDED,
                TurnEventKind.STARTED,
            ]
            begin_s = frame.captured_s - frame.length_samples / RATE_HZ
            assert asked_s - 0.3 < begin_s < asked_s - 0.2, "the rule's 300 ms before the press"


@pytest.mark.parametrize(
    "old", [-500, 0, DISCARD_WITHIN_SAMPLES, DISCARD_WITHIN_SAMPLES + 1, 1_000, 4_095, 4_096, 9_000]
)
def test_a_frame_is_cut_to_the_sample(old: int) -> None:
    frame = make_frame(sound_at(300, FRAME_SAMPLES), 300, ring_lost=1_000)
    begin_s = frame.captured_s - (FRAME_SAMPLES - old) / RATE_HZ
    left = frame_since(frame, begin_s)
    if old >= FRAME_SAMPLES:
        assert left is None
        return
    assert left is not None
    cut = old if old > DISCARD_WITHIN_SAMPLES else 0
    assert (left.position_samples, left.length_samples) == (300 + cut, FRAME_SAMPLES - cut)
    assert left.pcm[: 2 * left.length_samples] == sound_at(300 + cut, FRAME_SAMPLES - cut).tobytes()
    assert left.ring_lost_samples == max(0, -old)
    assert not any(left.pcm[2 * left.length_samples :])
    whole = make_frame(sound_at(300 + cut, FRAME_SAMPLES - cut), 0)
    assert [hop[:3] for hop in left.hops] == [hop[:3] for hop in whole.hops]
    assert left.peak == whole.peak
    assert math.isclose(left.rms_dbfs, whole.rms_dbfs)


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(at="jwt", do="delay", delay_s=3.0),
        Fault(at="startLiveSession", do="status", status=503, retry_after_s=2, times=2),
        Fault(at="socket", do="delay", delay_s=2.5),
    ],
    ids=["well", "a slow token", "busy", "a slow socket"],
)
@pytest.mark.parametrize("pace", ["real", "full"])
async def test_a_file_is_heard_from_its_first_sample_however_long_the_session_takes(
    settings_for: MakeSettings, tmp_path: Path, fault: Fault | None, pace: str
) -> None:
    data = noise(2 * RATE_HZ)
    (tmp_path / "a.wav").write_bytes(wav(data))
    with trio.fail_after(40):
        heard_in = str(tmp_path / "heard")
        async with Emulator(EmulatorSettings(faults=(fault,) if fault else (), wav_dir=heard_in)) as emulator:
            source = FileSource(tmp_path / "a.wav", pace=pace)
            async with source, LiveSession(settings_for(emulator, outbox_ms=512), source, slot_wait_s=30) as live:
                await live.wait_finished()
            statistics = live.statistics()
            assert statistics.sent_samples == 2 * RATE_HZ
            assert statistics.dropped_frames == 0
    [heard] = (tmp_path / "heard").glob("*.wav")
    assert heard.read_bytes()[44:][: len(data)] == data
