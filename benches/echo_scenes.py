"""Scenes of the echo bench: one minute at a kiosk, in two sets that share no voice, room or piece of music.

"tune" is what parameters were chosen by, "report" what is reported. The avatar alone for 20 s, the visitor alone for
10 s, both for 20 s, the avatar alone for 10 s.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from .echo_sounds import (
    ANSWERS,
    NOISES,
    RATE_HZ,
    Sound,
    convolved,
    factor,
    levelled,
    loudspeaker,
    music,
    room,
    talk,
    to_pcm,
    utterances,
    warped,
)

FAR_S: Final = (0, 20)
NEAR_S: Final = (20, 30)
BOTH_S: Final = (30, 50)
AGAIN_S: Final = (50, 60)
JUMP_S: Final = 12
"""When the echo's path changes in the scenes in which it does."""

Pcm = np.ndarray[Any, np.dtype[np.int16]]


@dataclass(frozen=True)
class Cast:
    """Who speaks where: what two sets of scenes do not share."""

    visitors: tuple[str, str, str]
    avatars: tuple[str, str, str]
    room_seed: int
    scale: tuple[int, ...]
    beat_s: float


CASTS: Final = {
    "tune": Cast(
        ("people:librivox", "flite:rms", "espeak:fr"),
        ("flite:slt", "espeak:en-us", "espeak:de+f2"),
        100,
        (0, 3, 4, 7, 9, 12),
        0.25,
    ),
    "report": Cast(
        ("people:cards", "flite:kal16", "espeak:es+f4"),
        ("flite:awb", "espeak:en-gb+f3", "espeak:it+m2"),
        200,
        (0, 2, 5, 7, 10, 14),
        0.4,
    ),
}


@dataclass(frozen=True)
class Scene:
    """What differs from the base scene is its name."""

    rt60_s: float = 0.4
    delay_ms: float = 60.0
    echo_db: float = 6.0
    """How much louder the echo is than the visitor, at the microphone."""
    speaker: str = "soft"
    ppm: float = 0.0
    """By how much the microphone's clock is fast against the loudspeaker's."""
    noise: str = "white"
    snr_db: float = 40.0
    """Of the visitor's voice over the noise."""
    visitor: int = 0
    """Of the cast."""
    avatar: int = 0
    """Of the cast; 3: music."""
    jump_ms: float = 0.0
    """The echo comes by so much later from JUMP_S on."""
    steps_in: bool = False
    """Somebody steps in between at JUMP_S: another path of the same delay."""

    @property
    def name(self) -> str:
        base = Scene()
        differs = [f for f in self.__dataclass_fields__ if getattr(self, f) != getattr(base, f)]
        return ", ".join(f"{f} {getattr(self, f)}" for f in differs) or "base"


@dataclass(frozen=True)
class Take:
    """A scene's sound: microphone and reference as int16, what the microphone is the sum of as floats."""

    microphone: Pcm
    reference: Pcm
    near: Sound
    echo: Sound
    noise: Sound


VISITOR_DBFS: Final = -32.0


def take(scene: Scene, which: str) -> Take:
    """The sound of a scene with the cast of "tune" or "report"; the same each time."""
    cast = CASTS[which]
    rng = np.random.default_rng([cast.room_seed, scene.visitor, scene.avatar])
    length = AGAIN_S[1] * RATE_HZ
    far, near = np.zeros(length), np.zeros(length)
    for begin_s, end_s in (FAR_S, BOTH_S, AGAIN_S):
        part = slice(begin_s * RATE_HZ, end_s * RATE_HZ)
        span = (end_s - begin_s) * RATE_HZ
        if scene.avatar == 3:
            far[part] = music(span, rng, cast.scale, cast.beat_s)
        else:
            far[part] = talk(utterances(cast.avatars[scene.avatar], ANSWERS), span, 0.4, rng)
    far = levelled(far, -20.0)
    parts = utterances(cast.visitors[scene.visitor])
    for (begin_s, end_s), pause_s in ((NEAR_S, 0.6), (BOTH_S, 0.8)):
        span = (end_s - begin_s - 1) * RATE_HZ
        near[begin_s * RATE_HZ : begin_s * RATE_HZ + span] = talk(parts, span, pause_s, rng)
    seed = cast.room_seed + scene.visitor + 3 * scene.avatar
    to_speaker, to_visitor = room(scene.rt60_s, seed)
    near = levelled(convolved(near, to_visitor), VISITOR_DBFS)
    played = loudspeaker(far, scene.speaker)
    delay, step = scene.delay_ms * RATE_HZ / 1000, 1 / (1 + scene.ppm * 1e-6)
    echo = warped(levelled(convolved(played, to_speaker), VISITOR_DBFS + scene.echo_db), step, -delay, length)
    jump = JUMP_S * RATE_HZ
    if scene.jump_ms:
        whole = levelled(convolved(played, to_speaker), VISITOR_DBFS + scene.echo_db)
        echo[jump:] = warped(whole, step, -delay - scene.jump_ms * RATE_HZ / 1000, length)[jump:]
    if scene.steps_in:
        other = levelled(convolved(played, room(scene.rt60_s, seed + 50)[0]), VISITOR_DBFS + scene.echo_db)
        echo[jump:] = warped(other, step, -delay, length)[jump:]
    noise = NOISES[scene.noise](length, rng) * factor(VISITOR_DBFS - scene.snr_db)
    return Take(to_pcm(near + echo + noise), to_pcm(far), near, echo, noise)


BASE: Final = Scene()
SCENES: Final = (
    BASE,
    *(replace(BASE, delay_ms=delay) for delay in (20.0, 120.0, 250.0)),
    *(replace(BASE, rt60_s=rt60) for rt60 in (0.2, 0.6)),
    *(replace(BASE, echo_db=level) for level in (-12.0, -6.0, 12.0)),
    *(replace(BASE, speaker=kind) for kind in ("linear", "hard")),
    *(replace(BASE, noise=noise, snr_db=10.0) for noise in ("fan", "babble")),
    *(replace(BASE, visitor=n, avatar=n) for n in (1, 2)),
    replace(BASE, avatar=3),
)
CHANGES: Final = (
    *(replace(BASE, jump_ms=jump) for jump in (5.0, 30.0, -30.0)),
    replace(BASE, steps_in=True),
)
DRIFTS: Final = tuple(replace(BASE, ppm=ppm) for ppm in (50.0, 300.0, -300.0))
