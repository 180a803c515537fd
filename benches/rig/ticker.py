"""ticker.c in Python: a thread that is not Python's, firing at a fixed rhythm."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cffi

from ravatar_audio._core import ffi as core_ffi
from ravatar_audio._core import lib as core
from ravatar_audio.native import Chain

from .virtual_microphone import build_shared

SOURCE = Path(__file__).with_name("ticker.c")

_ffi = cffi.FFI()
_ffi.cdef(
    """
    typedef void ticker_fire(void *context, int64_t now_ns);
    typedef struct { int fd; int64_t written_ns; } ticker_write_context;
    typedef struct { void *push; void *chain; const void *block; size_t samples; } ticker_push_context;
    void ticker_write(void *context, int64_t now_ns);
    void ticker_push(void *context, int64_t now_ns);
    void *ticker_start(int64_t period_ns, ticker_fire *fire, void *context);
    void ticker_stop(void *self);
    """
)


class Ticker:
    """The thread's library, built once. Each method is a context manager: the thread fires within the block."""

    def __init__(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            self._lib: Any = _ffi.dlopen(str(build_shared(SOURCE, Path(folder, "ticker.so"), "-lpthread")))

    @contextmanager
    def writing(self, fd: int, period_s: float) -> Iterator[Callable[[], float]]:
        """Write an eventfd; gives a function that tells when (`time.monotonic()`) that was done last."""
        context = _ffi.new("ticker_write_context *", {"fd": fd})
        with self._running(period_s, self._lib.ticker_write, context):
            yield lambda: context.written_ns * 1e-9

    @contextmanager
    def pushing(self, chain: Chain, block: bytes, period_s: float) -> Iterator[None]:
        """Push a block into a chain; its frames tell when they were finished."""
        data = _ffi.from_buffer(block)
        push = int(core_ffi.cast("uintptr_t", core_ffi.addressof(core, "rva_chain_push")))
        values = {
            "push": _ffi.cast("void *", push),
            "chain": _ffi.cast("void *", int(core_ffi.cast("uintptr_t", chain.handle))),
            "block": data,
            "samples": len(block) // chain.stride_bytes,
        }
        with self._running(period_s, self._lib.ticker_push, _ffi.new("ticker_push_context *", values)):
            yield

    @contextmanager
    def calling(self, function: Callable[[float], None], period_s: float) -> Iterator[None]:
        """Call a Python function, as the sound libraries do; it is given the time before the call."""
        callback = _ffi.callback("ticker_fire", lambda _, now_ns: function(now_ns * 1e-9))
        with self._running(period_s, callback, _ffi.NULL):
            yield

    @contextmanager
    def _running(self, period_s: float, fire: Any, context: Any) -> Iterator[None]:
        thread = self._lib.ticker_start(round(period_s * 1e9), fire, context)
        if not thread:
            raise MemoryError("no thread could be started")
        try:
            yield
        finally:
            self._lib.ticker_stop(thread)
