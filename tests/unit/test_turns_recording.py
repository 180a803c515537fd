"""Recorded messages, read back by the standard library."""

import io
import sys
import wave

import numpy as np
import pytest
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
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)  # the library reads them into native order


def test_a_turn_becomes_a_wav_bit_for_bit() -> None:
    sound = sound_at(0, 40_000)
    recording = Recording()
    for outcome in play(Gate("ptt"), sound, [(10_000, Gate.press), (20_001, Gate.release)]):
        if isinstance(outcome, Frame):
            recording.add(outcome)
    assert np.array_equal(decoded_wav(recording.wav()), sound[5_200:23_201])
    assert recording.duration_s == pytest.approx(18_001 / 16_000)
    assert recording.wav() == recording.wav(), "a send that failed can be made again"


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
