"""The core's inner loops by instruction set, as RAVATAR_AUDIO_KERNEL names them."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from ravatar_audio.errors import SettingsError
from ravatar_audio.native import Chain

KERNELS = ("portable", "sse2", "avx2", "avx512", "neon")


def supported() -> list[str]:
    """Those that this processor can run."""
    found = []
    for name in KERNELS:
        with using_kernel(name), contextlib.suppress(SettingsError), Chain(rate_hz=48_000):
            found.append(name)
    return found


@contextmanager
def using_kernel(name: str | None) -> Iterator[None]:
    """Chains and processes that are begun meanwhile have this kernel; None: what the environment says."""
    before = os.environ.get("RAVATAR_AUDIO_KERNEL")
    if name is not None:
        os.environ["RAVATAR_AUDIO_KERNEL"] = name
    try:
        yield
    finally:
        if before is not None:
            os.environ["RAVATAR_AUDIO_KERNEL"] = before
        elif name is not None:
            del os.environ["RAVATAR_AUDIO_KERNEL"]
