"""WebRTC behind our protocol: the echo and the noise go, whatever the frames, and a clear error without."""

import sys

import numpy as np
import pytest

from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import HOP_SAMPLES, RATE_HZ
from ravatar_audio.processing import LinearCanceller
from ravatar_audio.processing.webrtc import WebrtcCanceller
from tests.unit.test_echo_canceller import echo_of, gone_db, pcm, speech_like


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pywebrtc_audio", None)
    with pytest.raises(SettingsError, match="echo_cancellation = 'webrtc' needs the package pywebrtc-audio") as info:
        WebrtcCanceller()
    assert "pip install 'ravatar-audio[webrtc]'" in (info.value.advice or "")
    with pytest.raises(SettingsError, match="noise_suppression_db needs"):
        WebrtcCanceller(cancels_echo=False, noise_suppression_db=12)


@pytest.mark.parametrize("hops", [1, 3, 5, 16])
def test_the_echo_goes_however_the_frames_are_cut(hops: int) -> None:
    pytest.importorskip("pywebrtc_audio")
    rng = np.random.default_rng(1)
    far = speech_like(10, rng)
    heard, played = pcm(echo_of(far, rng)), pcm(far)
    canceller, step, out = WebrtcCanceller(), hops * HOP_SAMPLES, b""
    for at in range(0, len(heard), step):
        made = canceller.process(heard[at : at + step].tobytes(), played[at : at + step].tobytes())
        assert len(made) == 2 * len(heard[at : at + step])
        out += made
    late = slice(5 * RATE_HZ, 9 * RATE_HZ)
    assert gone_db(heard[late], np.frombuffer(out, "<i2")[late]) > 25.0
    statistics = canceller.statistics()
    assert statistics.is_settled
    assert statistics.erle_db > 10.0
    assert statistics.processed_samples == len(heard)


def test_noise_is_held_down_the_more_the_more_is_asked_for() -> None:
    pytest.importorskip("pywebrtc_audio")
    noise = pcm(np.random.default_rng(2).normal(size=8 * RATE_HZ) * 300)
    silence = bytes(2 * len(noise))
    gone = []
    for level_db in (6, 12, 18):
        out = WebrtcCanceller(cancels_echo=False, noise_suppression_db=level_db).process(noise.tobytes(), silence)
        gone.append(gone_db(noise[4 * RATE_HZ :], np.frombuffer(out, "<i2")[4 * RATE_HZ :]))
    assert gone == sorted(gone)
    for level_db, found in zip((6, 12, 18), gone, strict=True):
        assert found == pytest.approx(level_db, abs=3.0)


def test_behind_our_own_canceller_the_figures_are_that_ones() -> None:
    pytest.importorskip("pywebrtc_audio")
    own = LinearCanceller()
    both = WebrtcCanceller(cancels_echo=False, noise_suppression_db=6, before=own)
    sound = bytes(2 * HOP_SAMPLES)
    assert len(both.process(sound, sound)) == len(sound)
    assert both.statistics() == own.statistics()
    assert both.lag_samples > own.lag_samples
    both.move(10, bytes(2 * both.history_samples))


@pytest.mark.parametrize(("heard", "played"), [(100, 100), (512, 1_024)])
def test_other_lengths_are_refused(heard: int, played: int) -> None:
    pytest.importorskip("pywebrtc_audio")
    with pytest.raises(ValueError, match=f"{heard} bytes"):
        WebrtcCanceller().process(bytes(heard), bytes(played))


def test_other_levels_are_refused_with_their_value() -> None:
    with pytest.raises(SettingsError, match="noise_suppression_db is 7"):
        WebrtcCanceller(noise_suppression_db=7)
