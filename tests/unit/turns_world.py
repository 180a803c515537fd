"""What tests of the gate share: sound that tells its position, frames of it, a capture that honours flush_at."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame
from ravatar_audio.turns import Gate, Outcome, TurnEvent, TurnEventKind

BEGIN_S = 1_000.0
"""When the sample at position 0 was at the microphone."""
ENDS = (TurnEventKind.ENDED, TurnEventKind.CAPPED, TurnEventKind.CANCELLED)


def time_of(position: int) -> float:
    return BEGIN_S + position / RATE_HZ


def sound_at(start: int, count: int) -> NDArray[np.int16]:
    """Every sample an impulse of its own height: 1 to 32,749, never 0, told apart over 2 s."""
    return ((np.arange(start, start + count) * 7 % 32_749) + 1).astype("<i2")


def make_frame(
    pcm: NDArray[np.int16], position: int, *, seq: int = 0, ring_lost: int = 0, device_lost: int = 0
) -> Frame:
    padded = np.zeros(FRAME_SAMPLES, "<i2")
    padded[: len(pcm)] = pcm
    steps = padded.astype(np.int64).reshape(-1, HOP_SAMPLES)
    energies, peaks = (steps**2).sum(axis=1).tolist(), np.abs(steps).max(axis=1).tolist()
    lengths = [max(0, min(HOP_SAMPLES, len(pcm) - at)) for at in range(0, FRAME_SAMPLES, HOP_SAMPLES)]
    hops = zip(energies, lengths, peaks, strict=True)
    return Frame(
        pcm=padded.tobytes(),
        seq=seq,
        position_samples=position,
        length_samples=len(pcm),
        captured_s=time_of(position + len(pcm) - 1),
        finished_s=time_of(position + len(pcm)) + 0.001,
        ring_lost_samples=ring_lost,
        device_lost_samples=device_lost,
        discontinuity=ring_lost + device_lost > 0,
        flushed=len(pcm) < FRAME_SAMPLES,
        clipped=0,
        peak=max(peaks),
        hop_data=b"".join(struct.pack("=QIIII", energy, length, peak, 0, 0) for energy, length, peak in hops),
    )


class ThresholdDetector:
    """Speech is a step that has a sample of at least `level`."""

    def __init__(self, step_samples: int = HOP_SAMPLES, level: int = 1) -> None:
        self.step_samples = step_samples
        self._level = level
        self._rest = b""

    def feed(self, pcm: bytes) -> Sequence[bool]:
        data = self._rest + pcm
        size = 2 * self.step_samples
        whole = len(data) // size * size
        self._rest = data[whole:]
        steps = np.frombuffer(data[:whole], "<i2").reshape(-1, self.step_samples)
        return [bool(step.max() >= self._level) for step in steps]

    def skip(self) -> None:
        self._rest = b""


Control = tuple[int, Callable[[Gate, float], list[Outcome]]]
"""When (a position), and what."""


def play(
    gate: Gate,
    sound: NDArray[np.int16],
    controls: Sequence[Control] = (),
    *,
    cuts: Sequence[int] | None = None,
    first: int = 0,
) -> list[Outcome]:
    """Runs a capture through the gate as it happens: each control is told when its sample is at the microphone.

    Frames end at 4,096 samples and where the gate asks, or at `cuts` if these are given.
    """
    outcomes: list[Outcome] = []
    waiting = sorted(controls, key=lambda control: control[0])
    start, seq = first, 0
    total = first + len(sound)
    while start < total:
        end = min(start + FRAME_SAMPLES, total)
        if cuts is not None:
            end = min([end, *(cut for cut in cuts if start < cut)])
        elif (flush_at := gate.flush_at) is not None and flush_at > start:
            end = min(end, flush_at)
        if waiting and waiting[0][0] < end:
            position, tell = waiting.pop(0)
            outcomes += tell(gate, time_of(position))
            continue
        outcomes += gate.feed(make_frame(sound[start - first : end - first], start, seq=seq))
        start, seq = end, seq + 1
    for position, tell in waiting:
        outcomes += tell(gate, time_of(position))
    return outcomes


@dataclass
class Turn:
    """A turn as it came out."""

    number: int
    start: int
    frames: list[Frame]
    end: int | None = None
    how: TurnEvent | None = None

    @property
    def sound(self) -> NDArray[np.int16]:
        return np.frombuffer(b"".join(frame.pcm[: 2 * frame.length_samples] for frame in self.frames), "<i2")


def turns_of(outcomes: Sequence[Outcome]) -> list[Turn]:
    """The turns, with the proof that frames come between their turn's events, in order, without a hole unless told."""
    turns: list[Turn] = []
    is_open = False
    for outcome in outcomes:
        if isinstance(outcome, Frame):
            assert is_open, "a frame outside of a turn"
            frames = turns[-1].frames
            at = frames[-1].position_samples + frames[-1].length_samples if frames else turns[-1].start
            assert outcome.position_samples - outcome.ring_lost_samples == at
            assert 1 <= outcome.length_samples <= FRAME_SAMPLES
            assert not any(outcome.pcm[2 * outcome.length_samples :])
            assert len(outcome.pcm) == FRAME_BYTES
            frames.append(outcome)
        elif outcome.kind is TurnEventKind.STARTED:
            assert not is_open
            assert outcome.turn == len(turns)
            assert not turns or outcome.position_samples >= (turns[-1].end or 0), "turns overlap"
            turns.append(Turn(outcome.turn, outcome.position_samples, []))
            is_open = True
        elif outcome.turn is not None and outcome.kind in ENDS:
            assert is_open
            assert outcome.turn == turns[-1].number
            turns[-1].end, turns[-1].how = outcome.position_samples, outcome
            assert outcome.sound_samples == sum(frame.length_samples for frame in turns[-1].frames)
            is_open = False
    return turns


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.kind.value for outcome in outcomes if isinstance(outcome, TurnEvent)]
