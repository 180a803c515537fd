"""The flight recorder on real sessions: it agrees with the session, and a replay of a faulty run loses as much."""

import json
from pathlib import Path

import pytest
import trio

from ravatar_audio.cli.replay import lost_samples, replayed
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.observe.observer import Observer
from ravatar_audio.observe.recorder.mcap_file import RecordingReader
from ravatar_audio.observe.recorder.recorder import FlightRecorder
from ravatar_audio.observe.recorder.story import story
from ravatar_audio.observe.recorder.timeline import SessionTimeline, Timeline, read_timeline
from ravatar_audio.session import LiveSession, LiveStatistics, observing
from ravatar_audio.session.replaying import replay_settings
from ravatar_audio.settings import Settings

from ..frames import frame_pcm
from .conftest import Frames, MakeSettings, until


def recording_in(folder: Path) -> Timeline:
    return read_timeline(sorted(folder.glob("*.mcap")))


async def test_a_session_is_recorded_sample_for_sample_without_token_or_licence(
    settings_for: MakeSettings, tmp_path: Path
) -> None:
    with trio.fail_after(40):
        async with Emulator() as emulator:
            settings = settings_for(emulator, record=str(tmp_path / "r"), user_id="visitor-7")
            source = Frames(every_s=0.02, count=30)
            async with observing(settings) as observers, LiveSession(settings, source, observers=observers) as live:
                secrets = [live.streaming_url.partition("token=")[2], live._license_id() or ""]
                await live.wait_finished()
                before = live.statistics().messages_received
                emulator.send({"type": "incoming", "answer": f"your token is {secrets[0]}"})
                await until(lambda: live.statistics().messages_received > before, "the answer is there")
            statistics = live.statistics()
    session = recording_in(tmp_path / "r").session
    assert b"".join(pcm for _, pcm in session.sound) == b"".join(frame_pcm(seq) for seq in range(30))
    for items in (session.taken, session.written, session.acknowledged):
        assert [item.values["seq"] for item in items] == list(range(30))
    assert session.replies[-1].values["text"] == "your token is [hidden]"
    assert session.statistics is not None
    assert session.statistics["live"]["acknowledged_samples"] == statistics.acknowledged_samples
    files = sorted((tmp_path / "r").glob("*.mcap"))
    text = "".join(json.dumps(entry.values) for file in files for entry in RecordingReader(file))
    assert all(len(secret) > 5 and secret not in text for secret in secrets)
    assert "visitor-7" not in text


async def test_every_taken_sample_is_acknowledged_dropped_or_under_way_in_the_recording_after_each_fault(
    settings_for: MakeSettings, tmp_path: Path
) -> None:
    with trio.fail_after(60):
        async with Emulator() as emulator:
            settings = settings_for(emulator, record=str(tmp_path / "r"), outbox_ms=768)
            source = Frames(every_s=0.03, count=120)
            async with observing(settings) as observers, LiveSession(settings, source, observers=observers) as live:
                for fault in ("reset", "hang_up"):
                    await until(lambda: live.is_linked and live.statistics().in_flight_frames == 0, "calm")
                    emulator.faults.add(Fault(at="socket", do="status", status=503, times=3))
                    await emulator.strike(Fault(at="message", do=fault))
                    await until(lambda: not live.is_linked, "lost")
                await live.wait_finished()
            statistics = live.statistics()
    session = recording_in(tmp_path / "r").session
    lost = session.lost_samples
    assert {cause: lost[cause] for cause in ("outbox", "in_flight")} == {
        cause: statistics.dropped_samples[cause] for cause in ("outbox", "in_flight")
    }
    assert lost["outbox"] > 0
    taken = {item.values["seq"] for item in session.taken}
    acknowledged = {item.values["seq"] for item in session.acknowledged}
    dropped = {item.values["seq"] for item in session.dropped}
    assert taken == acknowledged | dropped
    assert len(session.outages()) == 2
    assert any("LOST" in line for line in story(recording_in(tmp_path / "r")))


@pytest.mark.parametrize("what", ["no recorder", "recorder"])
async def test_a_session_whose_start_fails_is_recorded_with_its_error(
    settings_for: MakeSettings, tmp_path: Path, what: str
) -> None:
    async with Emulator(EmulatorSettings(faults=(Fault(at="jwt", do="status", status=402, times=0),))) as emulator:
        given = {"record": str(tmp_path / "r")} if what == "recorder" else {}
        with pytest.raises(Exception, match=r"402|payment"):
            async with LiveSession.open(settings_for(emulator, **given), "synthetic:tone"):
                pass
    if given:
        (error,) = recording_in(tmp_path / "r").sessions[0].errors
        assert error.values["code"]


class Broken(Observer):
    """Raises whatever happens."""

    def __getattribute__(self, name: str) -> object:
        if name in ("begun", "captured", "taken", "written", "acknowledged", "happened", "ended"):
            raise RuntimeError("an observer's mistake")
        return super().__getattribute__(name)


async def test_an_observer_that_raises_is_logged_once_and_ends_neither_the_session_nor_another_observer(
    settings_for: MakeSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(40):
        async with Emulator() as emulator:
            settings = settings_for(emulator, record=str(tmp_path / "r"))
            source = Frames(every_s=0.02, count=20)
            async with observing(settings) as observers:
                both = (Broken(), *observers)
                async with LiveSession(settings, source, observers=both) as live:
                    await live.wait_finished()
    assert live.statistics().acknowledged_frames == 20
    assert len(recording_in(tmp_path / "r").session.acknowledged) == 20
    said = [record for record in caplog.records if "Broken has raised" in record.getMessage()]
    assert len(said) == 1


async def faulty_run(settings: Settings, emulator: Emulator, fault: Fault, refused: int) -> LiveStatistics:
    source = Frames(every_s=0.064, count=150)  # four times as fast as speech, so that 9.6 s hold 38 s of sound
    with FlightRecorder(settings, clock=trio.current_time) as recorder:  # in the time of this room's tests
        async with LiveSession(settings, source, observers=[recorder]) as live:
            await trio.sleep(1.5)
            emulator.faults.add(Fault(at="socket", do="status", status=503, times=refused))
            await emulator.strike(fault)
            await live.wait_finished()
    return live.statistics()


def same(then: SessionTimeline, now: LiveStatistics) -> None:
    """The same is lost, to the frame that was just being taken when the link came or went."""
    before, after = then.lost_samples, lost_samples(now, then)
    for cause in before:
        assert abs(before[cause] - after[cause]) <= FRAME_SAMPLES, (before, after)
    assert before["outbox"] + before["in_flight"] >= 4 * FRAME_SAMPLES, "the run was faulty"


@pytest.mark.parametrize(
    ("fault", "refused"),
    [
        (Fault(at="message", do="reset"), 4),
        (Fault(at="message", do="close", code=1011), 4),
        (Fault(at="message", do="hang_up"), 4),
        (Fault(at="message", do="black_hole"), 1),
    ],
    ids=["reset", "close", "hang_up", "black_hole"],
)
async def test_the_replay_of_a_faulty_run_loses_the_same(fault: Fault, refused: int, tmp_path: Path) -> None:
    async with Emulator() as emulator:
        settings = Settings(
            api_url=emulator.api_url, state_dir=str(tmp_path), record=str(tmp_path / "r"), outbox_ms=1_024
        )
        first = await faulty_run(settings, emulator, fault, refused)
    session = recording_in(tmp_path / "r").session
    assert session.lost_samples["outbox"] == first.dropped_samples["outbox"]
    async with Emulator() as emulator:
        again = replay_settings(session, api_url=emulator.api_url, state_dir=str(tmp_path))
        now = await replayed(emulator, again, session)
        heard = emulator.statistics().live[0]
    same(session, now)
    assert now.taken_samples == first.taken_samples
    assert now.reconnects == 1
    lost = now.dropped_samples["outbox"] + now.dropped_samples["in_flight"]
    assert heard.declared_lost_samples == lost
