"""The flight recorder: what is noted is read back, whatever becomes of the program, the file and the disk."""

import base64
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.observe.recorder import recorder as recorder_module
from ravatar_audio.observe.recorder.drawing import drawing
from ravatar_audio.observe.recorder.entries import FIELDS, SOUND, Entry, schema_of
from ravatar_audio.observe.recorder.folder import RecordingFolder
from ravatar_audio.observe.recorder.mcap_file import RecordingReader, RecordingWriter
from ravatar_audio.observe.recorder.recorder import FlightRecorder
from ravatar_audio.observe.recorder.story import story
from ravatar_audio.observe.recorder.timeline import read_timeline, timeline_of
from ravatar_audio.session import LinkUp
from ravatar_audio.settings import Settings
from ravatar_audio.turns import TurnEvent, TurnEventKind

from ..conftest import starts_a_process
from ..frames import frame_pcm, make_frame

ROOT = Path(__file__).parents[2]


class Session:
    is_linked = True

    def observed(self) -> dict[str, object]:
        return {}

    def redact(self, text: str) -> str:
        return text.replace("the-token", "[hidden]")


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


def record(folder: Path, frames: int) -> Path:
    """A file with a session of so many frames."""
    with FlightRecorder(Settings(record=str(folder))) as recorder:
        hears = recorder.for_session()
        hears.begun(session := Session())
        hears.happened(LinkUp(1, 0.01))
        for seq in range(frames):
            frame = make_frame(seq)
            hears.captured(frame)
            hears.taken(frame)
            hears.written(frame, 0, False)
            hears.acknowledged(frame)
        hears.happened(TurnEvent(TurnEventKind.ENDED, 5_000, 0, sound_samples=4_096))
        hears.failed(SettingsError("it holds the-token"))
        hears.ended(session)
    (file,) = files_in(folder)
    return file


def test_what_is_noted_is_read_back_sample_for_sample_and_only_its_user_may_read_it(tmp_path: Path) -> None:
    file = record(tmp_path / "new" / "folder", 20)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    timeline = read_timeline([file])
    session = timeline.session
    assert timeline.cut_short == ()
    assert b"".join(pcm for _, pcm in session.sound) == b"".join(frame_pcm(seq) for seq in range(20))
    for items in (session.captured, session.taken, session.written, session.acknowledged):
        assert [item.values["seq"] for item in items] == list(range(20))
    assert [item.values["kind"] for item in session.turns] == ["ended"]
    assert session.errors[0].values["message"].startswith("it holds [hidden]")
    assert session.settings["outbox_ms"] == 2_048


def test_sound_is_foxgloves_raw_audio_and_each_topic_has_a_schema_for_its_fields(tmp_path: Path) -> None:
    name, schema = schema_of(SOUND)
    assert name == "foxglove.RawAudio"
    assert b'"contentEncoding": "base64"' in schema
    entries = list(RecordingReader(record(tmp_path, 2)))
    sound = next(entry.values for entry in entries if entry.topic == SOUND)
    assert set(sound) == {"timestamp", "data", "format", "sample_rate", "number_of_channels"}
    assert (sound["format"], sound["sample_rate"], sound["number_of_channels"]) == ("pcm-s16", RATE_HZ, 1)
    assert base64.b64decode(sound["data"]) == frame_pcm(0)
    for entry in entries:
        if entry.topic not in (SOUND, "/events", "/turns"):
            assert set(entry.values) <= set(FIELDS[entry.topic]), entry.topic


def test_settings_in_a_recording_hold_no_secret_and_not_who_it_is(tmp_path: Path) -> None:
    settings = Settings(record=str(tmp_path), user_id="visitor-7", proxy="http://kiosk:pass-word@proxy:3128")
    with FlightRecorder(settings) as recorder:
        recorder.for_session().begun(Session())
    (file,) = files_in(tmp_path)
    text = repr(list(RecordingReader(file)))
    assert "outbox_ms" in text
    assert "visitor-7" not in text
    assert "pass-word" not in text


def chunked(path: Path, chunks: int) -> list[int]:
    """A file of chunks with ten entries each; returns the sizes at which each was flushed."""
    with path.open("wb") as file:
        writer = RecordingWriter(file)
        sizes = []
        for chunk in range(chunks):
            for number in range(10):
                writer.add("/recorder", chunk * 10 + number, 0, {"lost_entries": chunk * 10 + number})
            sizes.append(writer.flush())
            file.flush()
        writer.finish()
    return sizes


@pytest.mark.parametrize("tail", ["nothing", "zeros", "noise"])
def test_a_file_that_is_cut_anywhere_gives_all_its_whole_chunks_and_no_error(tmp_path: Path, tail: str) -> None:
    sizes = chunked(tmp_path / "whole", 4)
    data = (tmp_path / "whole").read_bytes()
    more = {"nothing": b"", "zeros": bytes(300), "noise": bytes(range(7, 200))}[tail]
    reader = RecordingReader(tmp_path / "whole")
    assert [entry.values["lost_entries"] for entry in reader] == list(range(40))
    assert reader.is_whole
    for size in range(sizes[0], sizes[-1] + 1):
        (tmp_path / "cut").write_bytes(data[:size] + more)
        reader = RecordingReader(tmp_path / "cut")
        found = [entry.values["lost_entries"] for entry in reader]
        whole = sum(flushed <= size for flushed in sizes)
        assert found[: 10 * whole] == list(range(10 * whole))
        assert found == list(range(len(found)))
        assert not reader.is_whole


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVE", bytes(100), b"\x89MCAP0\r"])
def test_what_is_no_recording_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SettingsError, match="is no recording"):
        list(RecordingReader(tmp_path / "x"))
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        list(RecordingReader(tmp_path / "nowhere"))


@starts_a_process
def test_a_program_that_is_killed_has_lost_less_than_two_seconds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.recorder_child", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        noted = [int(child.stdout.readline().split()[0]) for _ in range(18)]
        child.send_signal(signal.SIGKILL)
        rest = [int(line.split()[0]) for line in child.stdout if line.endswith("\n")]
    newest = (noted + rest)[-1]
    timeline = read_timeline(files_in(tmp_path))
    captured = [item.values["seq"] for item in timeline.session.captured]
    assert captured == list(range(len(captured)))
    assert (newest - captured[-1]) * FRAME_SAMPLES / RATE_HZ <= 2.0 - 0.256, "the open frame is lost as well"
    assert len(timeline.cut_short) == 1


def test_the_folder_stays_within_its_size_and_the_oldest_go_first(tmp_path: Path) -> None:
    folder = RecordingFolder(str(tmp_path), limit_bytes=5_000_000, keep_s=3_600)
    (tmp_path / "holiday.mcap").write_bytes(bytes(9_000_000))
    for number in range(30):
        with folder.open_next() as file:
            file.write(bytes(folder.file_bytes))
        os.utime(file.name, (time.time() - 1_000 + number,) * 2)
        ours = [path for path in tmp_path.iterdir() if path.name != "holiday.mcap"]
        assert sum(path.stat().st_size for path in ours) <= 5_000_000
    numbers = sorted(int(path.stem.rpartition("-")[2]) for path in ours)
    assert numbers == list(range(31 - len(numbers), 31))
    assert len(numbers) >= 9
    assert (tmp_path / "holiday.mcap").exists(), "what is not ours stays"


def test_what_is_too_old_goes_but_not_while_it_is_written(tmp_path: Path) -> None:
    folder = RecordingFolder(str(tmp_path), limit_bytes=5_000_000, keep_s=3_600)
    old, kept = folder.open_next(), folder.open_next()
    open_one = folder.open_next()
    old.close()
    kept.close()
    for file, age_s in ((old, 3_700), (kept, 3_500), (open_one, 9_000)):
        os.utime(file.name, (time.time() - age_s,) * 2)
    folder.make_room()
    assert [Path(file.name).exists() for file in (old, kept, open_one)] == [False, True, True]
    open_one.close()


def test_files_follow_each_other_by_size_and_each_can_be_read_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "EVERY_S", 0.02)
    with FlightRecorder(Settings(record=str(tmp_path), record_mb=5)) as recorder:
        hears = recorder.for_session()
        hears.begun(Session())
        seq = 0
        while recorder.statistics().files < 3:
            frame = make_frame(seq)
            hears.captured(frame._replace(pcm=os.urandom(8_192)))
            hears.taken(frame)
            seq += 1
            time.sleep(0.001)
    files = files_in(tmp_path)
    assert len(files) >= 3
    for file in files:
        alone = read_timeline([file])
        assert alone.session.settings["record_mb"] == 5
        assert alone.session.captured
    together = read_timeline(files)
    assert [item.values["seq"] for item in together.session.taken] == list(range(seq))


@pytest.fixture
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that takes nothing until the event is set."""
    let_go = threading.Event()
    flush = RecordingWriter.flush

    def slow(self: RecordingWriter) -> int:
        assert let_go.wait(60)
        return flush(self)

    monkeypatch.setattr(RecordingWriter, "flush", slow)
    monkeypatch.setattr(recorder_module, "EVERY_S", 0.01)
    yield let_go
    let_go.set()


def test_a_disk_that_stands_holds_nobody_up_and_what_finds_no_room_is_counted(
    tmp_path: Path, stuck: threading.Event
) -> None:
    with FlightRecorder(Settings(record=str(tmp_path))) as recorder:
        hears = recorder.for_session()
        for seq in range(3_000):
            hears.captured(make_frame(0)._replace(seq=seq))
        now = recorder.statistics()  # nothing has waited, or nobody would have come here
        assert not stuck.is_set()
        assert now.noted_entries == 6_000
        assert now.lost_entries > 0
        stuck.set()
    end = recorder.statistics()
    assert end.noted_entries == end.written_entries + end.lost_entries
    assert end.pending_entries == 0


def test_a_disk_that_fails_is_logged_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(recorder_module, "EVERY_S", 0.01)
    monkeypatch.setattr(recorder_module, "_AGAIN_S", 0.05)
    flush, fails = RecordingWriter.flush, [True]

    def full(self: RecordingWriter) -> int:
        if fails[0]:
            raise OSError(28, "No space left on device")
        return flush(self)

    monkeypatch.setattr(RecordingWriter, "flush", full)
    with FlightRecorder(Settings(record=str(tmp_path))) as recorder:
        hears = recorder.for_session()
        while recorder.statistics().lost_entries < 40:
            hears.captured(make_frame(0))
            time.sleep(0.005)
        fails[0] = False
        while not recorder.statistics().written_entries:
            hears.captured(make_frame(1))
            time.sleep(0.005)
    end = recorder.statistics()
    assert end.noted_entries == end.written_entries + end.lost_entries
    said = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert len(said) == 1
    timeline = timeline_of(list(RecordingReader(files_in(tmp_path)[-1])))
    assert timeline.unrecorded_entries == end.lost_entries, "the recording says what it lacks"


def test_a_folder_of_no_use_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="recordings cannot be written to"):
        FlightRecorder(Settings(record=str(tmp_path / "file")))


@starts_a_process
def test_without_the_extra_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['mcap'] = None\nfrom ravatar_audio.cli import main\nmain(sys.argv[1:])\n"
    environment = os.environ | {"RAVATAR_STATE_DIR": str(tmp_path)}
    live = ["live", "--source", "synthetic:tone", "--record", str(tmp_path / "records")]
    for arguments in (live, ["explain", "x.mcap"], ["replay", "x.mcap"]):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 2, done.stderr
        assert "ravatar-audio[record]" in done.stderr
        assert "Traceback" not in done.stderr


def entry(at_s: float, topic: str, **values: object) -> Entry:
    return Entry(topic, round(at_s * 1e9), {"session": 1, **values})


def frame_entry(at_s: float, topic: str, seq: int, **values: object) -> Entry:
    about = {"seq": seq, "position_samples": seq * FRAME_SAMPLES, "length_samples": FRAME_SAMPLES}
    return entry(at_s, topic, **about, **values)


def outage_recording() -> list[Entry]:
    """Frames 0 to 3 arrive, the line dies at 1.1 s, frames 5 and 6 are given up, the link is back at 4 s."""
    found = [entry(0.0, "/session", what="begun", settings={"outbox_ms": 1_024})]
    found += [entry(0.1, "/events", event="LinkUp", connects=1, handshake_s=0.05)]
    for seq in range(10):
        at_s = 0.256 * (seq + 1)
        lost = {"ring_lost_samples": 0, "device_lost_samples": 480 if seq == 2 else 0}
        found.append(frame_entry(at_s, "/captured", seq, rms_dbfs=-30.0, peak_dbfs=-20.0, clipped=seq == 1, **lost))
        found.append(frame_entry(at_s, "/taken", seq, discontinuity=False, flushed=False, age_s=0.001, **lost))
        if seq < 5:
            found.append(frame_entry(at_s + 0.01, "/written", seq, lost_samples=0, repeated=False, age_s=0.01))
        if seq < 4:
            found.append(frame_entry(at_s + 0.1, "/acknowledged", seq))
    found += [frame_entry(2.6, "/dropped", seq, cause="outbox") for seq in (5, 6)]
    found += [entry(2.0, "/events", event="LinkLost", why="silent <peer>", lasted_s=1.9, retry_in_s=0.1)]
    found += [entry(4.0, "/events", event="LinkUp", connects=2, handshake_s=0.05)]
    found += [frame_entry(4.1, "/written", 4, lost_samples=0, repeated=True, age_s=2.8)]
    found += [frame_entry(4.2, "/dropped", 7, cause="in_flight")]
    found += [
        entry(1.5, "/turns", kind="started", turn=0),
        entry(4.5, "/turns", kind="ended", turn=0, reason="silence"),
    ]
    found += [entry(4.6, "/replies", text="Hello <b>you</b>", event="Reply")]
    return sorted(found, key=lambda item: item.time_ns)


def test_an_outage_begins_with_the_first_frame_that_was_never_acknowledged() -> None:
    session = timeline_of(outage_recording()).session
    (outage,) = session.outages()
    assert outage.dead_s == pytest.approx(0.256 * 5 + 0.01)
    assert (outage.lost_s, outage.up_s) == (2.0, 4.0)
    assert session.lost_samples == {"device": 480, "ring": 0, "outbox": 2 * FRAME_SAMPLES, "in_flight": FRAME_SAMPLES}


def test_the_story_says_what_was_lost_and_late_and_why() -> None:
    text = "\n".join(story(timeline_of(outage_recording())))
    for words in (
        "2.60 s  LOST 0.512 s of sound from 1.28 s on (outbox): no connection from 1.3 s until 4.0 s: silent <peer>",
        "4.20 s  LOST 0.256 s of sound from 1.79 s on (in_flight): it was under way; no connection",
        "LOST 0.030 s of sound from 0.48 s on (device): the microphone or its driver lost it",
        "4.10 s  LATE 1 frames, up to 2.80 s old, 1 of them sent again",
        "turn 0 ended (silence)",
        "avatar: Hello <b>you</b>",
        "captured 2.56 s, in turns 2.56 s, acknowledged 1.02 s",
    ):
        assert words in text


def test_the_picture_is_xml_with_levels_turns_link_age_and_losses() -> None:
    from xml.etree import ElementTree

    svg = drawing(timeline_of(outage_recording()).session)
    root = ElementTree.fromstring(svg)
    classes = [item.get("class") for item in root.iter() if item.get("class")]
    counts = {name: classes.count(name) for name in ("level", "turn", "reply", "link", "outage", "age", "loss")}
    assert counts == {"level": 10, "turn": 1, "reply": 1, "link": 1, "outage": 1, "age": 1, "loss": 3}
    for item in root.iter("{http://www.w3.org/2000/svg}rect"):
        left, width = float(item.get("x") or 0), float(item.get("width") or 0)
        assert left >= 0
        assert left + width <= 1_201
    assert "&lt;b&gt;" in svg


def test_an_empty_recording_has_a_story_and_no_session() -> None:
    assert list(story(timeline_of([])))
    with pytest.raises(SettingsError, match="no session"):
        _ = timeline_of([]).session
