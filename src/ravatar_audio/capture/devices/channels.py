"""The channels of a device, looked at one by one: level, offset, noise, likeness; and which of them to hear. Pure."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.capture.devices.arrays import ArrayLayout
from ravatar_audio.native import SAMPLE_BYTES

Samples = NDArray[np.float64]

DEAD_DBFS = -90.0
"""RMS without the offset below which a channel has no microphone: at 16 bits that is half a step."""
ALIKE = 0.9
"""Correlation, or its negative, from which channels carry the same sound; microphones apart do so at low pitches."""
LOUDER_DB = 12.0
"""Level above the one in the middle, in an array, from which a channel is no microphone of it."""
NOISIER_DB = 10.0
"""Noise above the other microphone's from which one spoils the average."""
LEAD_S = 0.1
"""Longest time until a loudspeaker's sound comes to a microphone: the way, and what the card and the server gather."""
ECHO = 0.3
"""Part of a channel that must be another one's sound, later, for that to be the loudspeaker's."""
FLOOR_DBFS = -100.0
_WINDOW = 1_024
_MOST_OTHERS, _LIKENESS_HZ = 4, 16_000
"""Channels that one is compared with, and about the rate at which that is done: it takes a Raspberry Pi its time."""


@dataclass(frozen=True, slots=True)
class ChannelLook:
    """One channel. Levels are in dBFS, RMS, without its offset; -100 stands for anything less."""

    number: int
    rms_dbfs: float
    noise_dbfs: float
    """What a steady hiss of its quietest parts would have."""
    offset: float
    """Mean, -1 to 1."""
    correlation: float
    """With the first channel that is heard, -1 to 1, at the same time."""
    role: str
    """What it carries: "processed", "raw" or "playback" where the array is known; "dead", "playback?" (it repeats the
    loudspeaker, by the sound of it), "noise" or "inverted" where that can be seen; else ""."""

    def __str__(self) -> str:
        level = f"{self.rms_dbfs:.0f} dBFS" if self.rms_dbfs > FLOOR_DBFS else "silent"
        said = f"channel {self.number}: {level}, noise {self.noise_dbfs:.0f}, offset {100 * self.offset:+.2f} %"
        return f"{said}, correlation {self.correlation:+.2f}" + (f": {self.role}" if self.role else "")


@dataclass(frozen=True, slots=True)
class ChannelsLook:
    """All channels of a device, and which to hear."""

    channels: tuple[ChannelLook, ...]
    heard: tuple[int, ...]
    """What is heard now."""
    advised: tuple[int, ...]
    """What should be."""
    reasons: tuple[str, ...]
    """Why not what is heard now; empty where that is right."""

    @property
    def advice(self) -> str:
        """What to do; "" where nothing is."""
        return (
            f"Hear {numbers_text(self.advised)}: --channels-heard {','.join(map(str, self.advised))}"
            if self.reasons
            else ""
        )


def decode(sound: bytes, channels: int, format: str) -> Samples:
    """Return device samples, interleaved, as (samples, channels) of -1 to 1."""
    if format == "int24":
        raw = np.frombuffer(sound, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 1:] = raw if sys.byteorder == "little" else raw[:, ::-1]
        values = wide.view("<i4").ravel() / 2.0**31
    elif format == "uint8":
        values = (np.frombuffer(sound, np.uint8) - 128.0) / 128
    elif format == "float32":
        values = np.nan_to_num(np.frombuffer(sound, np.float32).astype(np.float64), posinf=1.0, neginf=-1.0)
    else:
        values = np.frombuffer(sound, {"int16": np.int16, "int32": np.int32}[format]) / 2.0 ** (
            8 * SAMPLE_BYTES[format] - 1
        )
    return values.reshape(-1, channels)


def look_at_channels(
    samples: Samples, rate_hz: int, heard: Sequence[int], known: ArrayLayout | None = None
) -> ChannelsLook:
    """Examine some seconds of a device's sound, (samples, channels) of -1 to 1, while somebody speaks or something
    plays.

    `heard` are the channels that are averaged now. What cannot be told by the sound is told by the table of `known`
    arrays.
    """
    offsets = samples.mean(axis=0)
    sound = samples - offsets
    levels = _dbfs(np.sqrt((sound**2).mean(axis=0)))
    noises = np.minimum(levels, np.array([_noise_dbfs(sound[:, channel]) for channel in range(sound.shape[1])]))
    likeness = _likeness(sound)
    roles = _roles(sound, rate_hz, levels, noises, likeness, heard, known)
    looks = tuple(
        ChannelLook(
            number=number,
            rms_dbfs=float(levels[number]),
            noise_dbfs=float(noises[number]),
            offset=float(offsets[number]),
            correlation=float(likeness[heard[0], number]),
            role=roles[number],
        )
        for number in range(sound.shape[1])
    )
    advised = _advised(looks, heard, known)
    return ChannelsLook(looks, tuple(heard), advised, _reasons(looks, heard, advised))


def _roles(
    sound: Samples,
    rate_hz: int,
    levels: Samples,
    noises: Samples,
    likeness: Samples,
    heard: Sequence[int],
    known: ArrayLayout | None,
) -> list[str]:
    count = sound.shape[1]
    roles = [known.role(channel) if known else "" for channel in range(count)]
    alive = [channel for channel in range(count) if levels[channel] > DEAD_DBFS]
    for channel in set(range(count)) - set(alive):
        roles[channel] = "dead"
    if known is None:
        for channel in alive:
            if count > 2 and _is_playback(sound, rate_hz, levels, channel, alive):
                roles[channel] = "playback?"
            elif count == 2 and len(alive) == 2 and noises[channel] - noises[1 - channel] > NOISIER_DB:
                roles[channel] = "noise"
    first = next((channel for channel in heard if channel in alive), None)
    for channel in heard:
        if first is not None and channel in alive and likeness[first, channel] < -ALIKE:
            roles[channel] = "inverted"
    return roles


def _is_playback(sound: Samples, rate_hz: int, levels: Samples, channel: int, alive: Sequence[int]) -> bool:
    """Much louder than the others; or others have its sound, later and weaker."""
    others = [other for other in alive if other != channel][:_MOST_OTHERS]
    if not others:
        return False
    if levels[channel] - np.median(levels[alive]) > LOUDER_DB:
        return True
    return any(_follows(sound[:, other], sound[:, channel], rate_hz) for other in others)


def _follows(later: Samples, earlier: Samples, rate_hz: int) -> bool:
    """Part of `later` is what `earlier` was, by a time that sound takes through a loudspeaker, and more than before."""
    step = max(1, rate_hz // _LIKENESS_HZ)
    later, earlier = (part[: len(part) // step * step].reshape(-1, step).mean(axis=1) for part in (later, earlier))
    rate_hz //= step
    size = 1 << (len(later) * 2 - 1).bit_length()
    spectrum = np.fft.rfft(later, size) * np.conj(np.fft.rfft(earlier, size))
    scale = np.sqrt((later**2).sum() * (earlier**2).sum()) or 1.0
    match = np.abs(np.fft.irfft(spectrum, size)) / scale
    lead = max(2, round(LEAD_S * rate_hz))
    after, before = match[rate_hz // 1_000 : lead], match[-lead : -rate_hz // 1_000]
    at_once = match[: rate_hz // 1_000].max()
    return bool(after.size and after.max() > ECHO and after.max() > 2 * before.max() and after.max() > 1.5 * at_once)


def _advised(looks: Sequence[ChannelLook], heard: Sequence[int], known: ArrayLayout | None) -> tuple[int, ...]:
    fit = [look for look in looks if look.role not in ("dead", "playback", "playback?", "noise", "inverted")]
    if known:
        processed = [number for number in known.processed if looks[number].role == "processed"]
        if processed:
            return tuple(heard) if set(heard) <= set(processed) else (processed[0],)
    if not fit:
        return tuple(heard)
    numbers = [look.number for look in fit]
    if set(heard) <= set(numbers) and (len(looks) <= 2 or len(heard) == 1):
        return tuple(heard)
    return tuple(number for number in heard if number in numbers)[:1] or (numbers[0],)


def _reasons(looks: Sequence[ChannelLook], heard: Sequence[int], advised: Sequence[int]) -> tuple[str, ...]:
    if set(heard) == set(advised):
        return ()
    said = {
        "dead": "dead",
        "playback": "what the loudspeaker plays",
        "playback?": "repeats the loudspeaker, as it seems",
        "noise": "much noisier than the other",
        "inverted": "another one's negative, so that the average cancels the voice",
        "raw": "raw, with the loudspeaker's sound in it",
    }
    by_role = {role: [number for number in heard if looks[number].role == role] for role in said}
    found = tuple(f"{numbers_text(numbers)}: {said[role]}" for role, numbers in by_role.items() if numbers)
    return found or (f"{numbers_text(heard)} of an array are averaged, which are apart",)


def numbers_text(channels: Sequence[int]) -> str:
    """Return "channel 0", "channels 0, 1"."""
    return f"channel{'s' if len(channels) > 1 else ''} {', '.join(map(str, channels))}"


def _likeness(sound: Samples) -> Samples:
    scale = np.sqrt((sound**2).sum(axis=0))
    scale[scale == 0] = np.inf
    return (sound.T @ sound) / np.outer(scale, scale) + 0.0


def _noise_dbfs(sound: Samples) -> float:
    """The hiss: each frequency's quiet tenth over time, the middle of these over the frequencies, for all of them."""
    count = len(sound) // _WINDOW
    if not count:
        return FLOOR_DBFS
    window = np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(sound[: count * _WINDOW].reshape(count, _WINDOW) * window)) ** 2
    quiet = np.quantile(power, 0.1, axis=0) if count >= 10 else power.min(axis=0)
    # Of noise a bin's power is spread exponentially: its quiet tenth is 0.105 of its mean, the least of n 1/n.
    quiet /= -np.log(0.9) if count >= 10 else 1 / count
    return float(_dbfs(np.sqrt(np.median(quiet) / (window**2).sum())))


def _dbfs(amplitude: NDArray[np.float64] | float) -> NDArray[np.float64]:
    levels: NDArray[np.float64] = np.maximum(20 * np.log10(np.maximum(amplitude, 1e-12)), FLOOR_DBFS)
    return levels
