"""Recorded messages, read back by decoders that are not ours: the standard library's and FFmpeg's."""

import io
import sys
import wave

import av
import numpy as np
import pytest
from av.container import InputContainer
from numpy.typing import NDArray

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import Frame
from ravatar_audio.turns import Gate, Recording
from tests.unit.turns_world import make_frame, play, sound_at


def recording_of(sound: NDArray[np.int16], limit_s: float = 120.0) -> Recording:
    recording = Recording(limit_s)
    for at in range(0, len(sound), 3_000):
        recording.add(make_frame(sound[at : at + 3_000], at))
    return recording


def decoded_wav(data: bytes) -> NDArray[np.int16]:
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def test_a_turn_becomes_a_wav_bit_for_bit() -> None:
    sound = sound_at(0, 40_000)
    recording = Recording()
    for outcome in play(Gate("ptt"), sound, [(10_000, Gate.press), (20_001, Gate.release)]):
        if isinstance(outcome, Frame):
            recording.add(outcome)
    assert np.array_equal(decoded_wav(recording.wav()), sound[5_200:23_201])
    assert recording.duration_s == pytest.approx(18_001 / 16_000)
    assert recording.wav() == recording.wav(), "a send that failed can be made again"


def test_a_turn_becomes_a_webm_that_sounds_the_same() -> None:
    """Voice-like sound, as Opus is made for it: harmonics under a moving envelope."""
    time_s = np.arange(48_123) / 16_000
    tones = sum(np.sin(2 * np.pi * 140 * n * time_s) / n for n in range(1, 12))
    sound = np.asarray(tones * np.sin(2 * np.pi * 1.3 * time_s) ** 2 * 6_000).astype(np.int16)
    data = recording_of(sound).webm()
    assert len(data) < len(sound) * 2 / 6
    with av.open(io.BytesIO(data)) as container:
        assert isinstance(container, InputContainer)
        [stream] = container.streams.audio
        assert container.format.name == "matroska,webm"
        assert (stream.codec_context.name, stream.codec_context.layout.name) == ("opus", "mono")
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        frames = [out for frame in container.decode(stream) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    heard = np.concatenate([frame.to_ndarray().ravel() for frame in frames if frame.samples]).astype(np.float64)
    assert abs(len(heard) - len(sound)) <= 960, "within Opus's padding of 60 ms"
    length = min(len(heard), len(sound))
    lags = range(-480, 481)
    correlations = [np.corrcoef(np.roll(heard[:length], lag), sound[:length])[0, 1] for lag in lags]
    assert max(correlations) > 0.95
    assert abs(lags[int(np.argmax(correlations))]) <= 8, "the decoder takes Opus's own delay away"


def test_a_recording_is_bounded_and_says_what_it_cut() -> None:
    sound = sound_at(0, 20_000)
    recording = recording_of(sound, 1.0)
    assert recording.is_full
    assert (recording.samples, recording.cut_samples) == (16_000, 4_000)
    assert np.array_equal(decoded_wav(recording.wav()), sound[:16_000])


def test_what_is_missing_is_counted() -> None:
    recording = Recording()
    recording.add(make_frame(sound_at(0, 100), 0))
    recording.add(make_frame(sound_at(300, 100), 300, ring_lost=200, device_lost=7))
    assert (recording.samples, recording.lost_samples, recording.is_full) == (200, 207, False)


def test_an_empty_recording_is_an_empty_wav_and_no_webm() -> None:
    assert len(decoded_wav(Recording().wav())) == 0
    with pytest.raises(SettingsError, match="no sound"):
        Recording().webm()


def test_wrong_values_and_a_missing_package_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="limit_s"):
        Recording(0.0)
    recording = recording_of(sound_at(0, 1_000))
    with pytest.raises(SettingsError, match="bit_rate_bps"):
        recording.webm(1_000)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(SettingsError, match="package av") as caught:
        recording.webm()
    assert "ravatar-audio[webm]" in caught.value.advice
