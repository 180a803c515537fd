"""The resampler alone, in floats and outside of the package: csrc/ as a shared library behind ctypes."""

import ctypes
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "csrc").rglob("rva_*.c"))
UNITS = [unit for unit in CORE if unit.stem.split("_")[1] in ("resample", "polyphase", "filter", "prototype", "kernel")]
CHUNK = 512  # RVA_RESAMPLE_CHUNK
PROFILES = ("balanced", "low_latency", "high")
PHASES = ("linear", "minimum")

Floats = NDArray[np.float32]


class Config(ctypes.Structure):
    """rva_config of csrc/core/rva.h."""

    _fields_ = [
        *[(name, ctypes.c_uint32) for name in ("rate_hz", "channels", "format", "channel_mask", "capacity_frames")],
        *[(name, ctypes.c_uint32) for name in ("profile", "phase", "options")],
        ("gain_db", ctypes.c_float),
        ("wake_fd", ctypes.c_int32),
    ]


class Resampler:
    """One stream through csrc/resample/rva_resample.h."""

    def __init__(self, library: ctypes.CDLL, rate_hz: int, profile: str, phase: str) -> None:
        self._library = library
        self._pointer = ctypes.c_void_p()
        self._outputs = ctypes.POINTER(ctypes.c_float)()
        self.rate_hz = rate_hz
        config = Config(rate_hz, 1, 1, 0, 8, PROFILES.index(profile), PHASES.index(phase), 0, 0.0, -1)
        code = library.rva_resample_open(ctypes.byref(config), ctypes.byref(self._pointer))
        if code:
            raise RuntimeError(f"rva_resample_open has returned {code}")

    @property
    def group_delay_s(self) -> float:
        return float(self._library.rva_resample_group_delay_s(self._pointer))

    @property
    def kernel(self) -> str:
        return str(self._library.rva_resample_kernel(self._pointer).decode())

    def feed(self, samples: ArrayLike) -> Floats:
        """Outputs that one block makes available."""
        block = np.ascontiguousarray(samples, np.float32)
        outputs = [np.empty(0, np.float32)]
        for start in range(0, len(block), CHUNK):
            part = block[start : start + CHUNK]
            ctypes.memmove(self._library.rva_resample_input(self._pointer), part.ctypes.data, part.nbytes)
            made = self._library.rva_resample_run(
                self._pointer, ctypes.c_size_t(len(part)), ctypes.byref(self._outputs)
            )
            outputs.append(np.ctypeslib.as_array(self._outputs, (made,)).copy())
        return np.concatenate(outputs)

    def finish(self) -> Floats:
        """The outputs that are left."""
        last = np.empty(2 * CHUNK + 512, np.float32)
        return last[: self._library.rva_resample_end(self._pointer, last.ctypes.data_as(ctypes.c_void_p))]

    def convert(self, samples: ArrayLike, cuts: Iterable[int] = ()) -> Floats:
        """A whole sound, cut before the given positions."""
        blocks = np.split(np.asarray(samples, np.float32), list(cuts))
        return np.concatenate([*map(self.feed, blocks), self.finish()])

    def close(self) -> None:
        self._library.rva_resample_close(self._pointer)


@contextmanager
def opened(
    library: ctypes.CDLL, rate_hz: int, profile: str = "balanced", phase: str = "linear", kernel: str = ""
) -> Iterator[Resampler]:
    """A resampler with the kernel of that name, or the fastest."""
    before = os.environ.get("RAVATAR_AUDIO_KERNEL")
    os.environ["RAVATAR_AUDIO_KERNEL"] = kernel or (before or "")
    try:
        resampler = Resampler(library, rate_hz, profile, phase)
    finally:
        if before is None:
            del os.environ["RAVATAR_AUDIO_KERNEL"]
        else:
            os.environ["RAVATAR_AUDIO_KERNEL"] = before
    try:
        yield resampler
    finally:
        resampler.close()


def build(folder: Path) -> ctypes.CDLL:
    """Compiles the units into a library; the flags are those of csrc/python/build_ffi.py."""
    path = folder / "core.so"
    flags = [
        "-std=c11",
        "-D_GNU_SOURCE",
        "-O3",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-shared",
        "-fPIC",
        f"-I{ROOT / 'csrc'}",
    ]
    subprocess.run([os.environ.get("CC", "cc"), *flags, *map(str, UNITS), "-o", str(path), "-lm"], check=True)
    library = ctypes.CDLL(str(path))
    library.rva_resample_input.restype = ctypes.c_void_p
    library.rva_resample_run.restype = ctypes.c_size_t
    library.rva_resample_end.restype = ctypes.c_size_t
    library.rva_resample_group_delay_s.restype = ctypes.c_double
    library.rva_resample_kernel.restype = ctypes.c_char_p
    return library
