"""Real PortAudio streams on virtual microphones: nothing is lost, repeated or changed on the way to a frame."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravatar_audio.native import Chain
from tests.device.microphones import MakeMicrophones, Pcm, ramp, run_child

pytestmark = pytest.mark.device

CHILD = "tests.device.capture_child"
SECONDS = 10.0


def expected(heard: dict[str, Any], first: int = 0) -> bytes:
    """The frames' samples when nothing was lost: the same ramp through the chain, without a device."""
    block = ramp(heard["device_samples"], heard["channels"], heard["format"], first)
    pcm = bytearray()
    with Chain(
        rate_hz=heard["rate_hz"], channels=heard["channels"], format=heard["format"], capacity_frames=1_000
    ) as chain:
        chain.push(block)
        chain.finish()
        for frame in chain.take_all():
            pcm += frame.pcm[: 2 * frame.length_samples]
    return bytes(pcm)


def assert_nothing_lost(heard: dict[str, Any], pcm: bytes, seconds: float) -> None:
    assert heard["device_overruns"] == heard["device_lost_samples"] == heard["ring_dropped_samples"] == 0, heard
    assert heard["pending_samples"] == 0
    assert heard["device_samples"] >= (seconds - 0.2) * heard["rate_hz"]
    assert heard["device_samples"] <= (heard["elapsed_s"] + 0.5) * heard["rate_hz"]
    got, wanted = np.frombuffer(pcm, "<i2"), np.frombuffer(expected(heard), "<i2")
    assert len(got) == len(wanted) == heard["captured_samples"]
    differing = np.flatnonzero(got != wanted)
    assert not len(differing), f"first difference at sample {differing[0]} of {len(got)}, {len(differing)} in all"


def test_no_sample_is_lost_or_repeated_in_any_rate_format_and_number_of_channels(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    kinds = [*itertools.product((48_000, 44_100), (1, 2, 4), ("int16", "int24", "float32")), (16_000, 1, "int16")]
    pcms = {
        f"mic_{rate_hz}_{channels}_{format}": Pcm(
            f"mic_{rate_hz}_{channels}_{format}", (rate_hz,), (channels, channels), (format,)
        )
        for rate_hz, channels, format in kinds
    }
    streams = [{"name": name, "device": name, "format": pcm.formats[0]} for name, pcm in pcms.items()]
    answer = run_child(
        usb_microphone(*pcms.values()),
        CHILD,
        {"folder": str(tmp_path), "seconds": SECONDS, "streams": streams},
        limit_s=SECONDS + 60,
    )["streams"]
    assert answer.keys() == pcms.keys()
    for name, pcm in pcms.items():
        heard = answer[name]
        assert (heard["backend"], heard["rate_hz"], heard["channels"]) == ("portaudio", pcm.rates[0], pcm.channels[0])
        assert_nothing_lost(heard, (tmp_path / f"{name}.pcm").read_bytes(), SECONDS)
    plain = (tmp_path / "mic_16000_1_int16.pcm").read_bytes()
    assert plain == ramp(len(plain) // 2, 1, "int16"), "what comes in at 16 kHz goes out as it is"
