"""Echo cancellation: what the loudspeaker plays is taken out of what the microphone hears (csrc/voice/rva_echo.h)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ravatar_audio._core import ffi, lib
from ravatar_audio.frames import HOP_SAMPLES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@dataclass(frozen=True, slots=True)
class EchoStatistics:
    """What a canceller has done since it was made."""

    processed_samples: int
    played_samples: int
    """In hops in which the reference was above -70 dBFS."""
    restarts: int
    """Times that the echo's path was not the one that had been learnt any more."""
    erle_db: float
    """Echo return loss enhancement: microphone over output in the last 10 s of echo; 0.0: none yet."""
    is_settled: bool
    """The echo's path is learnt."""


class Canceller(Protocol):
    """Whatever takes the reference's echo out of the microphone's sound."""

    @property
    def lag_samples(self) -> int:
        """By how much the output is behind the microphone (16 kHz)."""

    def process(self, microphone: "ReadableBuffer", reference: "ReadableBuffer") -> bytes:
        """Return as much sound as comes in: int16, little-endian, 16 kHz, a multiple of 256 samples.

        `reference` is what was played when the microphone's sound was heard, or up to some tenths of a second before.
        Raises ValueError for other lengths, or when the two differ.
        """

    @property
    def history_samples(self) -> int:
        """How much of the reference `move` wants to know."""

    def move(self, samples: int, history: "ReadableBuffer") -> None:
        """Note that from now on the echo comes `samples` later against the reference than before (negative: sooner).

        `history` is what the reference's last `history_samples` would have been, moved, in the format of `process`; so
        no echo comes through. Raises ValueError for another length.
        """

    def restart(self) -> None:
        """Forget the echo's path."""

    def statistics(self) -> EchoStatistics:
        """Return the counters as of now."""


class LinearCanceller:
    """The core's own: a linear filter, which leaves a visitor's voice as it is, and a suppressor behind it.

    The echo must come after its reference, by 0 to 0.3 s less the room's reverberation, and their clocks must agree
    to a few parts per million. `suppress=False` leaves the suppressor out: no lag then, and more of the echo stays.
    What is given out is the same however the sound is cut, and with nothing ever played it is the microphone's, bit
    for bit.
    One thread at a time.
    """

    history_samples: int = lib.RVA_ECHO_HISTORY

    def __init__(self, *, suppress: bool = True) -> None:
        self.memory_bytes: int = lib.rva_echo_bytes()
        size, align = self.memory_bytes, lib.RVA_ECHO_ALIGN
        self._memory: Any = ffi.new("unsigned char[]", size + align)
        address = int(ffi.cast("uintptr_t", self._memory))
        self._echo: Any = ffi.cast("rva_echo *", self._memory + -address % align)
        self.lag_samples = HOP_SAMPLES if suppress else 0
        if lib.rva_echo_open(self._echo, size, lib.RVA_ECHO_SUPPRESS if suppress else 0):
            raise RuntimeError(f"the core refused {size} bytes for a canceller")

    def process(self, microphone: "ReadableBuffer", reference: "ReadableBuffer") -> bytes:
        """Do as Canceller.process says; some 15 us for 10 ms of sound, during which other threads run."""
        heard, played = ffi.from_buffer(microphone), ffi.from_buffer(reference)
        if len(heard) != len(played):
            raise ValueError(f"the reference has {len(played)} bytes, the microphone {len(heard)}; it takes as many")
        out = bytearray(len(heard))
        if len(heard) % 2 or lib.rva_echo_process(self._echo, heard, played, ffi.from_buffer(out), len(heard) // 2):
            raise ValueError(f"{len(heard)} bytes are no whole number of hops ({2 * HOP_SAMPLES} bytes each)")
        return bytes(out)

    def move(self, samples: int, history: "ReadableBuffer") -> None:
        """Do as Canceller.move says: what has been learnt of the echo's path moves with it."""
        played = ffi.from_buffer(history)
        if len(played) != 2 * self.history_samples:
            raise ValueError(f"the history has {len(played)} bytes; it takes {2 * self.history_samples}")
        lib.rva_echo_move(self._echo, samples, played)

    def restart(self) -> None:
        """Forget the echo's path."""
        lib.rva_echo_restart(self._echo)

    def statistics(self) -> EchoStatistics:
        """Return the counters as of now."""
        raw = ffi.new("rva_echo_statistics *")
        lib.rva_echo_statistics_of(self._echo, raw)
        return EchoStatistics(
            processed_samples=raw.blocks * HOP_SAMPLES,
            played_samples=raw.played_blocks * HOP_SAMPLES,
            restarts=raw.restarts,
            erle_db=raw.erle_db,
            is_settled=bool(raw.is_settled),
        )
