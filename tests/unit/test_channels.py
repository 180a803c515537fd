"""Which channels of a device to hear, told by their sound: dead, inverted, noisy, repeating the loudspeaker."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ravatar_audio.capture.devices.arrays import known_layout
from ravatar_audio.capture.devices.channels import ChannelsLook, decode, look_at_channels
from ravatar_audio.capture.sources import signals
from ravatar_audio.native import SAMPLE_BYTES

Sound = NDArray[np.float64]
RATE_HZ, SECONDS = 16_000, 3
COUNT = RATE_HZ * SECONDS


def speech(rms_dbfs: float, seed: int, late_s: float = 0.0) -> Sound:
    """Somebody who speaks, at this level over the whole; the same for the same seed."""
    late, source = round(late_s * RATE_HZ), signals.generate("speech", RATE_HZ, seed)
    whole = np.empty(0, np.float32)
    while len(whole) < COUNT + RATE_HZ:
        whole = np.concatenate([whole, next(source)])
    sound: Sound = whole[RATE_HZ - late : RATE_HZ - late + COUNT].astype(np.float64)
    return np.asarray(sound / np.sqrt((sound**2).mean()) * 10 ** (rms_dbfs / 20))


def hiss(rms_dbfs: float, seed: int) -> Sound:
    return np.random.default_rng(seed).normal(0, 10 ** (rms_dbfs / 20), COUNT)


def tone(rms_dbfs: float, frequency_hz: float = 500, late_s: float = 0.0) -> Sound:
    at = np.arange(COUNT) / RATE_HZ - late_s
    return np.asarray(10 ** (rms_dbfs / 20) * np.sqrt(2) * np.sin(2 * np.pi * frequency_hz * at))


VISITOR, AVATAR, ZEROS = 1, 2, np.zeros(COUNT)


def microphone(
    number: int, *, voice_dbfs: float = -38, echo_dbfs: float | None = None, noise_dbfs: float = -70
) -> Sound:
    """One of an array's: the voice comes by its place, the loudspeaker's by 8 ms and more."""
    sound = speech(voice_dbfs, VISITOR, late_s=0.0001 * number) + hiss(noise_dbfs, 100 + number)
    return sound if echo_dbfs is None else sound + speech(echo_dbfs, AVATAR, late_s=0.008 + 0.0001 * number)


def xvf3000(playback_dbfs: float = -9) -> list[Sound]:
    return [
        speech(-26, VISITOR) + hiss(-80, 1),
        *(microphone(number, echo_dbfs=-30) for number in range(4)),
        speech(playback_dbfs, AVATAR),
    ]


def tones_of_six() -> list[Sound]:
    raw = [tone(-38, 500, late_s) + tone(-30, 1_500) for late_s in (0, 0.0001, 0.0002, 0.0001)]
    return [tone(-26), *raw, tone(-9, 1_500)]


# name: channels, heard, USB id, advised, what is said of the channels
CASES: dict[str, tuple[list[Sound], tuple[int, ...], str, tuple[int, ...], dict[int, str]]] = {
    "known array, its processed channel": (xvf3000(), (0,), "2886:0018", (0,), {0: "processed", 5: "playback"}),
    "known array, all of it": (xvf3000(), tuple(range(6)), "2886:0018", (0,), {1: "raw", 5: "playback"}),
    "known array, a raw one": (xvf3000(), (2,), "2886:0018", (0,), {2: "raw"}),
    "known array, its loudspeaker": (xvf3000(), (5,), "2886:0018", (0,), {}),
    "unknown array, all of it": (xvf3000(), tuple(range(6)), "", (0,), {5: "playback?"}),
    "unknown array, its first": (xvf3000(), (0,), "", (0,), {5: "playback?"}),
    "unknown array, soft loudspeaker": (xvf3000(-24), tuple(range(6)), "", (0,), {5: "playback?", 1: "", 0: ""}),
    "unknown array, its loudspeaker": (xvf3000(), (5,), "", (0,), {5: "playback?"}),
    "tones instead of voices": (tones_of_six(), tuple(range(6)), "", (0,), {5: "playback?", 0: "", 1: ""}),
    "zeros in four of six": (
        [speech(-28, VISITOR)] * 2 + [ZEROS] * 4,
        tuple(range(6)),
        "",
        (0,),
        {0: "", 1: "", **dict.fromkeys(range(2, 6), "dead")},
    ),
    "nine, two of them the loudspeaker": (
        [microphone(number, voice_dbfs=-30) for number in range(7)] + [speech(-7, AVATAR)] * 2,
        tuple(range(9)),
        "",
        (0,),
        {0: "", 6: "", 7: "playback?", 8: "playback?"},
    ),
    "microphones only": ([microphone(number) for number in range(4)], (0,), "", (0,), dict.fromkeys(range(4), "")),
    "microphones only, with echo": (
        [microphone(number, echo_dbfs=-34) for number in range(4)],
        (0,),
        "",
        (0,),
        dict.fromkeys(range(4), ""),
    ),
    "microphones only, averaged": ([microphone(number) for number in range(4)], (0, 1, 2, 3), "", (0,), {}),
    "first is dead": ([ZEROS, *(microphone(number) for number in range(3))], (0,), "", (1,), {0: "dead"}),
    "one on a stereo bus": ([microphone(0), ZEROS], (0, 1), "", (0,), {1: "dead", 0: ""}),
    "one on a stereo bus, the other hisses": ([microphone(0), hiss(-10, 5)], (0, 1), "", (0,), {1: "noise", 0: ""}),
    "tone, and the other hisses": ([tone(-30), hiss(-10, 5)], (0, 1), "", (0,), {1: "noise", 0: ""}),
    "inverted": ([microphone(0), -microphone(0)], (0, 1), "", (0,), {1: "inverted"}),
    "inverted, one heard": ([microphone(0), -microphone(0)], (0,), "", (0,), {}),
    "good stereo": ([microphone(0), microphone(1)], (0, 1), "", (0, 1), {0: "", 1: ""}),
    "quiet room": ([hiss(-75, 6), hiss(-74, 7)], (0, 1), "", (0, 1), {0: "", 1: ""}),
    "muted": ([ZEROS, ZEROS], (0, 1), "", (0, 1), {0: "dead", 1: "dead"}),
    "processed and raw": ([speech(-26, VISITOR), microphone(0)], (0, 1), "2886:0019", (0,), {0: "processed", 1: "raw"}),
}


def look(name: str) -> ChannelsLook:
    channels, heard, usb_id, *_ = CASES[name]
    samples = np.clip(np.rint(np.stack(channels, axis=1) * 32_768), -32_768, 32_767) / 32_768
    return look_at_channels(samples, RATE_HZ, heard, known_layout(usb_id, len(channels)))


@pytest.mark.parametrize("name", CASES)
def test_which_channels_to_hear_is_told_by_their_sound(name: str) -> None:
    _, heard, _, advised, roles = CASES[name]
    found = look(name)
    assert found.advised == advised, [str(channel) for channel in found.channels]
    assert bool(found.reasons) == bool(found.advice) == (advised != heard)
    assert {number: found.channels[number].role for number in roles} == roles
    if found.reasons:
        assert f"--channels-heard {','.join(map(str, advised))}" in found.advice


def test_levels_offset_noise_and_correlation_are_what_was_put_in() -> None:
    both = hiss(-40, 1)
    sound = np.stack([tone(-20) + hiss(-60, 2) + 0.1, both, -both, hiss(-40, 3), ZEROS], axis=1)
    found = look_at_channels(sound, RATE_HZ, (1,)).channels
    assert [round(channel.rms_dbfs) for channel in found] == [-20, -40, -40, -40, -100]
    assert [round(channel.noise_dbfs / 2) * 2 for channel in found] == [-60, -40, -40, -40, -100], "to 1 dB"
    assert found[0].offset == pytest.approx(0.1, abs=0.001)
    assert [channel.correlation for channel in found] == pytest.approx([0, 1, -1, 0, 0], abs=0.03)


@pytest.mark.parametrize("format", sorted(SAMPLE_BYTES))
def test_every_format_is_decoded(format: str) -> None:
    values = np.array([[-1.0, 0.5], [0.25, 0.0], [-0.5, 0.75]])
    raw: Any
    if format == "uint8":
        raw = (values * 128 + 128).astype(np.uint8)
    elif format == "float32":
        raw = values.astype(np.float32)
    elif format == "int24":
        raw = (values * 2**23).astype("<i4").reshape(-1).view(np.uint8).reshape(-1, 4)[:, :3].copy()
    else:
        raw = (values * 2 ** (8 * SAMPLE_BYTES[format] - 1)).astype(format)
    assert np.array_equal(decode(raw.tobytes(), 2, format), values)
