"""Recorded messages as WebM, read back by FFmpeg."""

import io

import av
import numpy as np
from av.container import InputContainer

from tests.unit.test_turns_recording import recording_of


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
