"""Listening: what a detector of speech is, and its decisions as edges with positions."""

from collections.abc import Sequence
from typing import Protocol


class Detector(Protocol):
    """Decides for each step of sound whether somebody speaks. Any object with these members will do.

    `native.EnergyDetector` and `NeuralDetector` are two. A detector belongs to one gate.
    """

    @property
    def step_samples(self) -> int:
        """Length of a step at 16 kHz, 1 to 4,096."""

    def feed(self, pcm: bytes) -> Sequence[bool]:
        """Hear more sound (int16, little-endian, mono, 16 kHz, any length); decide for the steps that it completes."""

    def skip(self) -> None:
        """Forget a step that is half full, as sound is missing here: the next sample begins a new one."""


class SpeechEdges:
    """A detector's decisions: where speech begins and where it ends, at positions that do not depend on the frames."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._step_samples = detector.step_samples
        self._is_speech = False
        self._begin: int | None = None
        self.decided: int = 0
        """Speech or not is known for everything before this position."""

    def hear(self, position: int, pcm: bytes) -> list[tuple[int, bool]]:
        """Return the changes that this sound brought: the first sample of a step, and whether it is speech from there
        on.
        """
        if self._begin != position:
            self._detector.skip()
            self.decided = position
        self._begin = position + len(pcm) // 2
        edges = []
        for is_speech in self._detector.feed(pcm):
            if is_speech != self._is_speech:
                self._is_speech = is_speech
                edges.append((self.decided, is_speech))
            self.decided += self._step_samples
        return edges

    def next_decision(self, position: int) -> int:
        """Return the first position, at `position` or later, at which a step ends: when what is there can be known."""
        steps = -(-max(0, position - self.decided) // self._step_samples)
        return self.decided + steps * self._step_samples
