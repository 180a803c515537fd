"""Sound for benches: speech from espeak-ng in several voices, noises of known level, and where the speech is."""

import subprocess
from functools import cache
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

RATE_HZ: Final = 16_000
Sound = NDArray[np.float64]
"""Mono at 16 kHz, full scale 1.0."""

VOICES: Final = ("en-us", "en-gb+f2", "de", "fr+f3", "es+m3", "it+f4", "pl", "pt-br+m7")
SENTENCES: Final = {
    "en": (
        "Hello, can you hear me?",
        "Please show me the way there.",
        "What time does the museum open?",
        "Yes.",
    ),
    "de": ("Hallo, hörst du mich?", "Wie komme ich bitte zum Bahnhof?", "Wann öffnet das Museum?", "Ja, gern."),
    "fr": ("Bonjour, vous m'entendez?", "Comment aller à la gare?", "À quelle heure ouvre le musée?", "Oui, merci."),
    "es": ("Hola, ¿me oyes?", "¿Cómo llego a la estación?", "¿A qué hora abre el museo?", "Sí, por favor."),
    "it": ("Ciao, mi senti?", "Come arrivo alla stazione?", "A che ora apre il museo?", "Sì, grazie."),
    "pl": ("Cześć, słyszysz mnie?", "Jak dojść do dworca?", "O której otwiera się muzeum?", "Tak, proszę."),
    "pt": ("Olá, você me ouve?", "Como chego à estação?", "A que horas abre o museu?", "Sim, por favor."),
}
ACTIVE_DBFS: Final = -23.0
"""RMS of speech while it is speech."""


@cache
def say(voice: str, text: str) -> Sound:
    """One utterance, from its first to its last audible sample (40 dB below its peak), at ACTIVE_DBFS.

    Raises FileNotFoundError without espeak-ng.
    """
    wav = subprocess.run(["espeak-ng", "-v", voice, "--stdout", text], capture_output=True, check=True).stdout
    data = np.frombuffer(wav[44 : len(wav) // 2 * 2], "<i2") / 32_768
    sound = np.asarray(soxr.resample(data, int.from_bytes(wav[24:28], "little"), RATE_HZ))
    audible = np.flatnonzero(np.abs(sound) >= 0.01 * np.abs(sound).max())
    sound = sound[audible[0] : audible[-1] + 1]
    return sound * 10 ** (ACTIVE_DBFS / 20) / active_rms(sound)


def active_rms(sound: Sound) -> float:
    """RMS over the steps of 16 ms that are within 20 dB of the loudest."""
    steps = sound[: len(sound) // 256 * 256].reshape(-1, 256)
    power = (steps**2).mean(axis=1)
    return float(np.sqrt(power[power >= power.max() / 100].mean()))


def conversation(voices: tuple[str, ...], lead_s: float, gap_s: float) -> tuple[Sound, list[tuple[int, int]]]:
    """All sentences of all voices, with silence before and between them, and where each begins and ends (samples)."""
    parts: list[Sound] = [np.zeros(round(lead_s * RATE_HZ))]
    spans = []
    at = len(parts[0])
    for voice in voices:
        for text in SENTENCES[voice[:2]]:
            sound = say(voice, text)
            spans.append((at, at + len(sound)))
            parts += [sound, np.zeros(round(gap_s * RATE_HZ))]
            at += len(sound) + len(parts[-1])
    return np.concatenate(parts), spans


def white(samples: int, rng: np.random.Generator) -> Sound:
    """White noise, RMS 1."""
    return rng.normal(size=samples)


def hum(samples: int, rng: np.random.Generator) -> Sound:
    """Mains hum: 50 Hz and its harmonics up to 750 Hz, falling by 4 dB each, RMS 1."""
    time_s = np.arange(samples) / RATE_HZ
    sound = sum(
        10 ** (-4 * n / 20) * np.sin(2 * np.pi * 50 * (n + 1) * time_s + rng.uniform(0, 2 * np.pi)) for n in range(15)
    )
    return np.asarray(sound / np.sqrt(np.mean(np.square(sound))))


def babble(samples: int, rng: np.random.Generator) -> Sound:
    """A room: each voice talks without a pause, with eight of them at once, RMS 1."""
    sound = np.zeros(samples)
    for voice in VOICES:
        own = np.concatenate([say(voice, text) for text in SENTENCES[voice[:2]]])
        sound += np.roll(np.resize(own, samples), rng.integers(samples))
    return np.asarray(sound / np.sqrt(np.mean(sound**2)))


def music(samples: int, rng: np.random.Generator) -> Sound:
    """Chords of decaying harmonic tones, two a second, peaks at -12 dBFS."""
    sound = np.zeros(samples + 2 * RATE_HZ)
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    for start in range(0, samples, RATE_HZ // 2):
        for semitone in rng.choice([0, 3, 4, 7, 9, 12], 3, replace=False):
            hz = 220 * 2 ** (semitone / 12)
            tone = sum(np.sin(2 * np.pi * hz * n * time_s) / n for n in range(1, 7))
            sound[start : start + len(time_s)] += tone * np.exp(-3 * time_s)
    return np.asarray(sound[:samples] * 0.25 / np.abs(sound).max())


NOISES: Final = {"white": white, "babble": babble, "hum": hum}


def to_pcm(sound: Sound) -> NDArray[np.int16]:
    """As int16, saturated."""
    return np.clip((sound * 32_768).round(), -32_768, 32_767).astype(np.int16)
