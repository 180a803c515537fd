"""`say` and `record` as a user runs them."""

import json
import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from tests.cli.test_commands import COMMAND, LIMIT_S, emulator, ended, environment, read_wav, run, write_wav
from tests.cli.test_turns import terminal

__all__ = ["environment"]


def noise(samples: int) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.random.default_rng(5).integers(-9_000, 9_000, samples).astype(np.int16)


@pytest.mark.parametrize("mode", [[], ["--live"]])
def test_a_file_is_said_and_answered(environment: dict[str, str], tmp_path: Path, mode: list[str]) -> None:
    sound = noise(20_000)
    soundfile.write(tmp_path / "said.flac", sound, 16_000)
    with emulator(environment, tmp_path / "heard") as (url, process):
        result = run(environment, "say", str(tmp_path / "said.flac"), "--api-url", url, "--push-to-talk", *mode)
        assert result.returncode == 0, result.stderr
        assert "I got your push-to-talk message of 1.2 s" in result.stdout
        assert "said 1.2 s as wav" in result.stderr
        assert ended(process)["violations"] == 0
    [wav] = (tmp_path / "heard").glob("voice*.wav")
    assert np.array_equal(read_wav(str(wav)), sound)


def test_what_is_recorded_from_a_pipe_is_what_was_in_it(environment: dict[str, str], tmp_path: Path) -> None:
    sound = noise(30_001)
    result = run(environment, "record", str(tmp_path / "a.wav"), "--source", "-", "--json", stdin=sound.tobytes())
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["samples"] == 30_001
    assert np.array_equal(read_wav(str(tmp_path / "a.wav")), sound)


def test_a_recording_is_bounded_and_one_of_a_voice_ends_by_itself(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["record", str(tmp_path / "a.webm"), "--source", "synthetic:speech", "--seconds", "0.5", "--json"]
    result = run(environment, *arguments)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["samples"] == 8_000  # of sound, however late it began
    with av.open(str(tmp_path / "a.webm")) as container:
        seconds = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert 0.5 <= seconds <= 0.52  # a whole number of Opus frames of 20 ms
    loud = np.concatenate([np.zeros(16_000, np.int16), noise(8_000), np.zeros(40_000, np.int16)])
    wav = write_wav(tmp_path / "said.wav", loud)
    result = run(environment, "record", str(tmp_path / "b.wav"), "--source", str(wav), "--mode", "vad", "--json")
    assert result.returncode == 0, result.stderr
    heard = read_wav(str(tmp_path / "b.wav"))
    begin = 16_000 // 256 * 256 - 4_800
    assert np.array_equal(heard, loud[begin : begin + len(heard)])
    assert len(heard) <= 4_800 + 8_000 + 512 + 14_400


def test_an_interrupted_recording_is_kept_to_the_last_sample(environment: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    arguments = ["record", str(path), "--source", "synthetic:speech", "--mode", "open"]
    with terminal(environment, *arguments) as record:
        record.wait_shown("SENDING")
        record.type(b"\x03")
        record.wait_shown("recorded")
        assert record.process.wait(LIMIT_S) == 0
    assert len(read_wav(str(path))) > 1_000
    assert not list(tmp_path.glob("*.part"))


def test_a_recording_touches_no_file_but_its_own(environment: dict[str, str], tmp_path: Path) -> None:
    theirs = [tmp_path / "a.wav.part", tmp_path / "a.part", tmp_path / "a.wav.0.part"]
    for path in theirs:
        path.write_text("somebody's")
    result = run(environment, "record", str(tmp_path / "a.wav"), "--source", "-", stdin=noise(9_000).tobytes())
    assert result.returncode == 0, result.stderr
    assert [path.read_text() for path in theirs] == ["somebody's"] * 3
    assert sorted(tmp_path.glob("a*")) == sorted([*theirs, tmp_path / "a.wav"])
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "a.wav").stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["record", "a.mp3"], 2, ".wav or .webm"),
        (["record", "/nowhere/a.wav", "--source", "synthetic:tone", "--seconds", "0.3"], 2, "cannot be written"),
        (["record", "a.wav", "--source", "/dev/null", "--mode", "ptt"], 2, "/dev/null"),
        (
            ["record", "a.wav", "--source", "silence.wav", "--mode", "vad"],
            7,
            "in 0.5 s of sound (digital silence) nobody spoke",
        ),
        (["record", "a.wav", "--source", "silence.wav", "--mode", "ptt"], 7, "no button was held for 200 ms"),
        (["say", "/nowhere.wav"], 2, "/nowhere.wav"),
        (["say", "/dev/null"], 2, "/dev/null"),
    ],
)
def test_what_goes_wrong_is_one_clear_line(
    environment: dict[str, str], tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    write_wav(tmp_path / "silence.wav", np.zeros(8_000, np.int16))
    result = subprocess.run(
        [*COMMAND, *arguments],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("a.*"))
