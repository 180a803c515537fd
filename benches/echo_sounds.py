"""Sounds for the echo bench, made on the spot: speech, music, noises, rooms, a loudspeaker. 16 kHz, full scale 1.0."""

import functools
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import soxr

from .rig.harness import Missing

RATE_HZ: Final = 16_000
Sound = np.ndarray[Any, np.dtype[np.float64]]

PEOPLE = Path("/usr/share/pocketsphinx/test/data")
"""Debian's pocketsphinx-testdata: a reader (LibriVox) and someone who gives commands to a card game."""

COMMANDS = (
    "hello can you hear me",
    "please show me the way to the station",
    "what time does the museum open",
    "where can i buy a ticket",
    "i would like to order a coffee",
    "can you help me find the elevator",
    "stop talking please",
    "which train goes to the airport",
    "yes that is right",
    "how do i get back to the main entrance",
    "please repeat that more slowly",
    "i want to speak to a person",
)
ANSWERS = (
    "Good morning, and welcome to the visitor centre. I am your digital guide, and I can answer questions about our "
    "exhibitions, the opening hours and the way to every room.",
    "The museum is open from nine in the morning until six in the evening, except on Mondays. On the first Sunday of "
    "each month admission is free for everyone.",
    "Please walk straight ahead, take the second door on your left, and then follow the blue line on the floor until "
    "you reach the large staircase. The paintings are on the upper floor.",
    "A ticket for adults costs twelve euros. Children under the age of sixteen do not have to pay, and students get a "
    "discount of fifty percent when they show their card.",
    "This picture was painted in eighteen eighty nine. Notice how the light falls from the right, and how the figures "
    "in the background seem to move when you step aside.",
    "I am sorry, I did not quite understand that. Could you please say it again, or choose one of the topics that you "
    "see on the screen in front of you?",
)


def factor(decibels: float) -> float:
    return float(10.0 ** (decibels / 20.0))


def active_rms(sound: Sound) -> float:
    """RMS of the hops that are within 20 dB of the loudest: of speech without its pauses."""
    power = (sound[: len(sound) // 256 * 256].reshape(-1, 256) ** 2).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() / 100].mean()))


def levelled(sound: Sound, dbfs: float) -> Sound:
    return sound * (factor(dbfs) / active_rms(sound))


def convolved(sound: Sound, response: Sound) -> Sound:
    size = 1 << (len(sound) + len(response) - 1).bit_length()
    whole = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)
    return whole[: len(sound)]


def banded(sound: Sound, low_hz: float, high_hz: float) -> Sound:
    """Without what lies below and above, in no time: by the spectrum of the whole."""
    spectrum, hz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE_HZ)
    spectrum[(hz < low_hz) | (hz > high_hz)] = 0.0
    return np.fft.irfft(spectrum, len(sound))


def passed(sound: Sound, low_hz: float, high_hz: float) -> Sound:
    """What two coils and two condensers let through: Butterworth filters of second order, which ring for no longer than
    some milliseconds, and never before the sound."""
    size = len(sound) + RATE_HZ // 4
    hz = np.fft.rfftfreq(size, 1 / RATE_HZ)
    low, high = 1j * hz / low_hz, 1j * hz / high_hz
    shape = low**2 / (1 + np.sqrt(2) * low + low**2) / (1 + np.sqrt(2) * high + high**2)
    shape[-1] = abs(shape[-1])
    return np.fft.irfft(np.fft.rfft(sound, size) * shape, size)[: len(sound)]


def _read(path: Path) -> Sound:
    with wave.open(str(path)) as file:
        rate_hz, data = file.getframerate(), file.readframes(file.getnframes())
    sound = np.frombuffer(data, "<i2") / 32_768
    return sound if rate_hz == RATE_HZ else np.asarray(soxr.resample(sound, rate_hz, RATE_HZ))


def _trimmed(sound: Sound) -> Sound:
    audible = np.flatnonzero(np.abs(sound) >= 0.01 * np.abs(sound).max())
    return sound[audible[0] : audible[-1] + 1]


@functools.cache
def said(voice: str, text: str) -> Sound:
    """A text by a synthesizer: "flite:slt", "espeak:en-us"."""
    program, name = voice.split(":")
    command = {"flite": ["flite", "-voice", name, "-t", text, "-o"], "espeak": ["espeak-ng", "-v", name, "-w"]}[program]
    if not shutil.which(command[0]):
        raise Missing(f"needs {command[0]}: sudo apt-get install {command[0]}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "said.wav"
        subprocess.run([*command, str(path), *([text] if program == "espeak" else [])], check=True, capture_output=True)
        return levelled(_trimmed(_read(path)), -23.0)


@functools.cache
def utterances(voice: str, texts: Sequence[str] = COMMANDS) -> tuple[Sound, ...]:
    """Sentences of one voice: a synthesizer's, or "people:librivox" and "people:cards"."""
    program, name = voice.split(":")
    if program != "people":
        return tuple(said(voice, text) for text in texts)
    if not PEOPLE.is_dir():
        raise Missing("needs recorded speech: sudo apt-get install pocketsphinx-testdata")
    return tuple(levelled(_trimmed(_read(path)), -23.0) for path in sorted((PEOPLE / name).glob("*.wav")))


def talk(parts: Sequence[Sound], length: int, pause_s: float, rng: np.random.Generator) -> Sound:
    """Sentences one after the other, with pauses of half to one and a half of `pause_s`, until the end."""
    sound = np.zeros(length)
    at, turn = round(rng.uniform(0.1, 0.6) * RATE_HZ), int(rng.integers(len(parts)))
    while at < length:
        part = parts[turn % len(parts)][: length - at]
        sound[at : at + len(part)] = part
        at += len(part) + round(pause_s * rng.uniform(0.5, 1.5) * RATE_HZ)
        turn += 1
    return sound


def music(length: int, rng: np.random.Generator, scale: Sequence[int], beat_s: float) -> Sound:
    """Chords of a scale (in semitones above A3) with overtones and a drum, one a beat."""
    note = 2 * RATE_HZ
    time_s, sound = np.arange(note) / RATE_HZ, np.zeros(length + note)
    for start in range(0, length, round(beat_s * RATE_HZ)):
        for semitone in rng.choice(scale, 3, replace=False):
            hz = 220.0 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hz * k * time_s) / k for k in range(1, 12))
            sound[start : start + note] += tone * np.exp(-3 * time_s)
        sound[start : start + 2_000] += 2 * rng.normal(size=2_000) * np.exp(-np.arange(2_000) / 400)
    return levelled(sound[:length], -23.0)


def white(length: int, rng: np.random.Generator) -> Sound:
    return rng.normal(size=length)


def fan(length: int, rng: np.random.Generator) -> Sound:
    """A ventilator: noise that falls from 60 Hz on, blade tones at 120 Hz and its harmonics, slowly breathing."""
    time_s, hz = np.arange(length) / RATE_HZ, np.fft.rfftfreq(length, 1 / RATE_HZ)
    shape = (hz / 60) / (1 + hz / 60) / (1 + (hz / 900) ** 2)
    broad = np.fft.irfft(np.fft.rfft(rng.normal(size=length)) * shape, length)
    tones = sum(
        factor(-4.0 * k) * np.sin(2 * np.pi * 120 * (k + 1) * time_s + rng.uniform(0, 2 * np.pi)) for k in range(8)
    )
    sound = broad / broad.std() + 0.7 * tones / np.std(tones)
    sound *= 1 + 0.1 * np.sin(2 * np.pi * 0.3 * time_s)
    level: float = sound.std()
    return np.asarray(sound / level)


def babble(length: int, rng: np.random.Generator) -> Sound:
    """Eight who talk at once."""
    sound = np.zeros(length)
    for voice in ("en-gb+f2", "de+m3", "fr+f3", "es+m3", "it+f4", "nl+m2", "pl+f1", "sv+m1"):
        own = np.concatenate([said(f"espeak:{voice}", text) for text in COMMANDS[:6]])
        sound += np.roll(np.resize(own, length), int(rng.integers(length)))
    level: float = sound.std()
    return sound / level


NOISES = {"white": white, "fan": fan, "babble": babble}


def reverberation_s(response: Sound) -> float:
    """How long a response takes to fade by 60 dB, by its fall from -5 to -35 (ISO 3382)."""
    left = np.cumsum(response[::-1] ** 2)[::-1]
    fallen = [int(np.argmax(left < left[0] * 10 ** (-level / 10))) for level in (5, 35)]
    return 2 * (fallen[1] - fallen[0]) / RATE_HZ


def _image_sum(size: Sound, microphone: Sound, offset: Sound, reflection: float, length_s: float, seed: int) -> Sound:
    """The response from `offset` beside the microphone, of a box whose walls reflect alike."""
    rng, reach_m = np.random.default_rng(seed), 343.0 * length_s
    counts = [np.arange(-int(reach_m / (2 * s)) - 1, int(reach_m / (2 * s)) + 2) for s in size]
    fine = np.zeros(4 * round(length_s * RATE_HZ) + 8)
    for mirror in np.ndindex(2, 2, 2):
        apart = [
            (1 - 2 * m) * (microphone + offset)[a] + 2 * counts[a] * size[a] - microphone[a]
            for a, m in enumerate(mirror)
        ]
        hits = [np.abs(counts[a] - m) + np.abs(counts[a]) for a, m in enumerate(mirror)]
        order = hits[0][:, None, None] + hits[1][:, None] + hits[2]
        far_m = np.sqrt(apart[0][:, None, None] ** 2 + apart[1][:, None] ** 2 + apart[2] ** 2)
        far_m += np.where(order > 0, rng.uniform(-0.04, 0.04, far_m.shape), 0.0)
        heard = far_m < reach_m
        np.add.at(
            fine, np.round(far_m[heard] / 343.0 * 4 * RATE_HZ).astype(int), reflection ** order[heard] / far_m[heard]
        )
    return passed(np.asarray(soxr.resample(fine, 4 * RATE_HZ, RATE_HZ)), 80.0, 20_000.0)


@functools.cache
def room(rt60_s: float, seed: int) -> tuple[Sound, Sound]:
    """Responses at a kiosk's microphone: of the loudspeaker 0.35 m away, and of a visitor 0.8 m away.

    Of equal energy in their first 50 ms. By the image method (J. B. Allen, D. A. Berkley, JASA 65(4), 1979); each image
    is displaced by some centimetres, as walls are not that even, and the walls reflect what makes the response fade by
    60 dB in `rt60_s`.
    """
    rng = np.random.default_rng(seed)
    size = np.array([6.0, 5.0, 3.0]) + rng.uniform(-0.8, 0.8, 3)
    microphone = np.array([2.0, 1.2, 1.4]) + rng.uniform(-0.2, 0.2, 3)
    surface = 2 * (size[0] * size[1] + size[1] * size[2] + size[0] * size[2])
    reflection = float(np.exp(-0.5 * 0.161 * size.prod() / (surface * rt60_s)))  # by Eyring, for evenly spread sound
    found = []
    for offset in (np.array([0.25, -0.05, -0.24]), np.array([0.1, 0.78, 0.15])):
        for _ in range(3):
            response = _image_sum(size, microphone, offset, reflection, rt60_s + 0.1, seed)
            reflection **= reverberation_s(response) / rt60_s
        response = response[max(0, int(np.argmax(np.abs(response))) - 40) :]
        response = np.concatenate([np.zeros(8), response])
        found.append(response / np.sqrt((response[:800] ** 2).sum()))
    return found[0], found[1]


def loudspeaker(sound: Sound, kind: str) -> Sound:
    """A small one: 150 Hz to 7 kHz. "soft" bends its peaks (some 3 % of distortion), "linear" does not.

    "hard" is a cheap one at full volume: some 15 %, and not symmetric.
    """
    sound = passed(sound, 150.0, 7_000.0)
    if kind == "linear":
        return sound
    reach = {"soft": 4.0, "hard": 1.5}[kind] * active_rms(sound)
    bent = np.tanh(sound / reach) * reach
    if kind == "hard":
        bent = bent + 0.1 * np.abs(bent) * bent / reach
    return passed(bent, 80.0, 7_500.0)


def warped(sound: Sound, step: float, start: float, length: int, taps: int = 32) -> Sound:
    """The sound at `start` + k `step`, by a windowed sinc: on another clock, later or earlier."""
    at = start + step * np.arange(length)
    whole = np.floor(at).astype(int)
    part, padded = at - whole, np.concatenate([np.zeros(taps), sound, np.zeros(taps + 4)])
    whole = np.clip(whole, -taps // 2, len(sound) + taps // 2)
    result = np.zeros(length)
    for offset in range(-taps // 2 + 1, taps // 2 + 1):
        apart = part - offset
        result += padded[whole + offset + taps] * np.sinc(apart) * np.cos(np.pi * apart / (taps + 1)) ** 2
    return result


def to_pcm(sound: Sound) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.clip(np.round(sound * 32_768), -32_768, 32_767).astype(np.int16)
