"""The chains that one microphone's devices feed, one after another: their frames in order, their counters summed."""

from collections import deque

from ravatar_audio.frames import Frame
from ravatar_audio.native import Chain, ChainStatistics


class RetiredChains:
    """Of devices that are gone; the frames they left are still to be taken, before those of the chain that is fed."""

    def __init__(self) -> None:
        self._chains: deque[Chain] = deque()
        self._closed: ChainStatistics | None = None  # of those whose frames have all been taken

    def add(self, chain: Chain) -> None:
        self._chains.append(chain)

    def take(self) -> Frame | None:
        """The next frame; None when there is none left."""
        while self._chains:
            if (frame := self._chains[0].take()) is not None:
                return frame
            with self._chains.popleft() as done:
                self._closed = self._closed + done.statistics() if self._closed else done.statistics()
        return None

    def count(self, total: ChainStatistics) -> None:
        """All frames have been taken; `total` is of all chains, and of one that is left to a stream that hangs."""
        self._chains.clear()
        self._closed = total

    def statistics(self) -> ChainStatistics | None:
        """The sum of all; None: there were none."""
        total = self._closed
        for chain in self._chains:
            total = total + chain.statistics() if total else chain.statistics()
        return total

    def release(self) -> list[Chain]:
        """Those still open, for the caller to close."""
        chains = list(self._chains)
        self._chains.clear()
        return chains
