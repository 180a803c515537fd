"""From a real PortAudio stream to the far end of a real socket: what the microphone gave is what the platform heard."""

import itertools
import math
import wave
from pathlib import Path

import numpy as np
import pytest

from tests.device.microphones import MakeMicrophones, Pcm, run_child
from tests.device.test_microphone import assert_nothing_lost, expected, spectrum_dbfs, write_tone

pytestmark = pytest.mark.device

CHILD = "tests.device.live_child"
SECONDS = 5.0


def heard_pcm(wav: str) -> bytes:
    with wave.open(wav, "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return file.readframes(file.getnframes())


def test_the_platform_hears_every_sample_in_any_rate_format_and_number_of_channels(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    pcms = {
        f"mic_{rate_hz}_{channels}_{format}": Pcm(
            f"mic_{rate_hz}_{channels}_{format}", (rate_hz,), (channels, channels), (format,)
        )
        for rate_hz, channels, format in itertools.product((48_000, 44_100), (1, 2, 4), ("int16", "int24", "float32"))
    }
    streams = [{"name": name, "device": name, "format": pcm.formats[0]} for name, pcm in pcms.items()]
    request = {"folder": str(tmp_path), "seconds": SECONDS, "streams": streams}
    answer = run_child(usb_microphone(*pcms.values()), CHILD, request, limit_s=SECONDS + 60)
    assert answer["violations"] == 0
    assert answer["streams"].keys() == pcms.keys()
    for name, heard in answer["streams"].items():
        assert heard["backend"] == "portaudio", name
        before_samples = heard["discarded_samples"]  # captured before the session was entered
        assert before_samples < 16_000, name
        assert heard["sent_samples"] == heard["captured_samples"] - before_samples, (name, heard)
        assert heard["received_frames"] == heard["sent_frames"], name
        pcm = heard_pcm(heard["wav"])
        assert not any(pcm[2 * heard["sent_samples"] :]), "only padding follows"
        before = expected(heard)[: 2 * before_samples]
        assert_nothing_lost(heard, before + pcm[: 2 * heard["sent_samples"]], SECONDS)


def test_the_platform_hears_a_tone_as_loud_and_as_pure_as_it_was(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    pcms = []
    for rate_hz in (44_100, 48_000):
        write_tone(tmp_path / f"{rate_hz}.wav", rate_hz, 1_000, 0.5)
        pcms.append(Pcm(f"tone_{rate_hz}", (rate_hz,), (2, 2), source=str(tmp_path / f"{rate_hz}.wav")))
    streams = [{"name": pcm.name, "device": pcm.name, "channels_heard": [0]} for pcm in pcms]
    request = {"folder": str(tmp_path), "seconds": 4.0, "streams": streams}
    answer = run_child(usb_microphone(*pcms), CHILD, request, limit_s=60)
    for name, heard in answer["streams"].items():
        levels, rms_dbfs = spectrum_dbfs(heard_pcm(heard["wav"])[: 2 * heard["captured_samples"]])
        assert abs(levels[1_000] - 20 * math.log10(0.5)) < 0.02, name
        assert abs(rms_dbfs - 20 * math.log10(0.5 / math.sqrt(2))) < 0.02, name
        assert np.max(np.delete(levels, [999, 1_000, 1_001])) < -95, name
