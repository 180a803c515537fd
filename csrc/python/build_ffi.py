"""The cffi builder of ravatar_audio._core (API mode, limited API).

The cdef is the marked region of rva.h and of the headers listed in PUBLIC, so nothing is declared twice. There is no
`extern "Python"` in it: the interpreter cannot be called from the audio thread. Run as a script it writes the C source.
"""

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parent.parent
PUBLIC = [
    "core/rva.h",
    "wire/rva_message.h",
    "streams/rva_stream.h",
    "streams/rva_fed.h",
    "streams/rva_portaudio.h",
    "streams/rva_alsa.h",
    "streams/rva_pulse.h",
    "os/rva_host.h",
    "os/rva_quiet.h",
    "voice/rva_vad.h",
    "voice/rva_echo.h",
    "voice/rva_gain.h",
]
UNITS = sorted(CSRC.rglob("rva_*.c"))
FLAGS = [
    "-std=c11",
    "-D_GNU_SOURCE",
    "-O3",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-DPy_LIMITED_API=0x030b0000",  # cffi's own choice of it has no buffer protocol yet
    f"-ffile-prefix-map={CSRC.parent}=.",  # the same file wherever it is built
]
ARMV6K = "-march=armv6k+fp"
INSTALL_HINT = """\
ravatar-audio needs a C compiler and PortAudio's headers to be built, and {missing}.
  Debian, Ubuntu, Raspberry Pi OS:  sudo apt-get install gcc libc6-dev portaudio19-dev
  Fedora:                           sudo dnf install gcc portaudio-devel
  Arch:                             sudo pacman -S gcc portaudio
  macOS:                            xcode-select --install && brew install portaudio"""


def cdef() -> str:
    """The declarations between the marks of the public headers."""
    regions = []
    for name in PUBLIC:
        text = (CSRC / name).read_text(encoding="utf-8")
        regions.append(text.split("/* --- cdef begin --- */")[1].split("/* --- cdef end --- */")[0])
    return "\n".join(regions)


def include_directories() -> list[str]:
    """Where this builder looks for headers beyond the compiler's own places."""
    homebrew = ["/opt/homebrew/include", "/usr/local/include"] if sys.platform == "darwin" else []
    return [str(CSRC), *(path for path in homebrew if Path(path).is_dir())]


def compiles(source: str, *extra: str) -> bool:
    """Whether the compiler that will build the core takes `source`, with `extra` flags behind the usual ones."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    flags = shlex.split(os.environ.get("CFLAGS", "")) + [f"-I{path}" for path in include_directories()]
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "probe.c").write_text(source, encoding="utf-8")
        command = [*compiler, *flags, *extra, "-c", "probe.c"]
        try:
            return subprocess.run(command, cwd=scratch, check=False, capture_output=True).returncode == 0
        except OSError:
            return False


def check_prerequisites() -> None:
    """Stop with what to install when the compiler or portaudio.h is missing, before pages of compiler output."""
    for header, missing in {"stdio.h": "no compiler works", "portaudio.h": "portaudio.h is missing"}.items():
        if not compiles(f"#include <{header}>\nint main(void) {{ return 0; }}\n"):
            raise SystemExit(INSTALL_HINT.format(missing=missing))


def for_atomics() -> tuple[list[str], list[str]]:
    """The flags and the libraries that this compiler needs for atomics of eight bytes: mostly none.

    Raspberry Pi OS of 32 bits compiles for plain ARMv6, which has no such instruction. ARMv6K does, and so do all
    processors that this system runs on, the first one's ARM1176 included. What has none at all gets libatomic, which
    may take a lock.
    """
    lock_free = '_Static_assert(__atomic_always_lock_free(8, 0), "eight bytes at once");\n'
    for flags in ([], [ARMV6K]):
        if compiles(lock_free, *flags):
            return flags, []
    return [], ["atomic"]


def make() -> FFI:
    """The builder object that setuptools asks for."""
    check_prerequisites()
    flags, libraries = for_atomics()
    builder = FFI()
    builder.cdef(cdef() + "int rva_python_install(void);")
    # setuptools wants paths relative to the project's root, where it runs us.
    builder.set_source(
        "ravatar_audio._core",
        "#include <stdlib.h>\n"  # for alloca(), which cffi's code uses and with its 1.17 nothing declares
        + "".join(f'#include "{name}"\n' for name in [*PUBLIC, "python/rva_python.h"]),
        sources=[str(path.relative_to(CSRC.parent)) for path in UNITS],
        depends=[str(path.relative_to(CSRC.parent)) for path in sorted(CSRC.rglob("*.h"))],
        include_dirs=include_directories(),
        extra_compile_args=[*FLAGS, *flags],
        libraries=["m", *libraries] if os.name == "posix" else [],
        py_limited_api=True,
    )
    return builder


ffi = make()

if __name__ == "__main__":
    ffi.emit_c_code(sys.argv[1] if len(sys.argv) > 1 else "_core.c")
