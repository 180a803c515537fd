"""pusher.c in Python: how long one block keeps the core, without a device."""

import tempfile
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from ravatar_audio._core import ffi as core_ffi
from ravatar_audio._core import lib as core
from ravatar_audio.native import Chain

from .virtual_microphone import build_shared

SOURCE = Path(__file__).with_name("pusher.c")
BLOCK_S = 0.010
CALLS = 200
"""At a time: so many that the chain's ring need not be emptied in between."""

_ffi = cffi.FFI()
_ffi.cdef(
    """
    void pusher_time(void *push, void *chain, const unsigned char *blocks, size_t block_bytes, size_t samples,
                     size_t calls, int is_cold, int64_t *took_ns);
    """
)


class Pusher:
    """The library, built once."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._lib: Any = _ffi.dlopen(str(build_shared(SOURCE, Path(folder, "pusher.so"))))

    def durations_s(self, calls: int, *, is_cold: bool, **settings: Any) -> list[float]:
        """How long each of `calls` blocks of 10 ms took, after a hundred that do not count; `settings` of a Chain."""
        with Chain(capacity_frames=16, **settings) as chain:
            samples = int(chain.rate_hz * BLOCK_S)
            size = samples * chain.stride_bytes
            blocks = _sound(CALLS * size, chain.format)
            self._run(chain, blocks, size, samples, min(100, CALLS), is_cold=False)
            took: list[float] = []
            while len(took) < calls:
                took += self._run(chain, blocks, size, samples, min(CALLS, calls - len(took)), is_cold=is_cold)
        return took

    def _run(self, chain: Chain, blocks: bytes, size: int, samples: int, calls: int, *, is_cold: bool) -> list[float]:
        for _ in chain.take_all():
            pass
        took_ns = _ffi.new("int64_t[]", calls)
        push = _ffi.cast("void *", int(core_ffi.cast("uintptr_t", core_ffi.addressof(core, "rva_chain_push"))))
        handle = _ffi.cast("void *", int(core_ffi.cast("uintptr_t", chain.handle)))
        self._lib.pusher_time(push, handle, _ffi.from_buffer(blocks), size, samples, calls, is_cold, took_ns)
        return [value * 1e-9 for value in took_ns]


def _sound(size: int, format: str) -> bytes:
    """Noise at half of full scale, in any format."""
    chance = np.random.default_rng(1)
    if format == "float32":
        return chance.uniform(-0.5, 0.5, size // 4).astype(np.float32).tobytes()
    return chance.bytes(size)  # every pattern of bits is a sample
