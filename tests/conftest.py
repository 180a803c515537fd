"""Fixtures that several rooms of the tests share."""

import os
import runpy
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.device.microphones import microphone_plugin, usb_microphone  # noqa: F401 - fixtures for every room

ROOT = Path(__file__).parent.parent
CORE_UNITS = sorted(path for path in (ROOT / "csrc").rglob("rva_*.c"))

for _name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):  # a developer's own must not stand between
    os.environ.pop(_name, None)
    os.environ.pop(_name.upper(), None)

CompileC = Callable[..., Path]

HANG_LIMIT_S = 600
"""For a process that might never end. A busy machine takes ten times what a quiet one does, and proves as much."""

IS_EMULATED = "RAVATAR_EMULATED" in os.environ
"""Under scripts/test-arm everything is some twenty times slower, and no subprocess can be started."""

starts_a_process = pytest.mark.skipif(IS_EMULATED, reason="an emulated Python cannot start another")


def examples(count: int) -> settings:
    """Settings of a property test with `count` examples; a twentieth of them under emulation."""
    return settings(max_examples=max(3, count // 20) if IS_EMULATED else count)


# A property holds or not, however long the machine takes to find out.
settings.register_profile("any machine", examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _signals_that_count() -> None:
    """Who runs tests may have been told to survive them (nohup, a shell's background), and so would their programs."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session")
def compile_c(tmp_path_factory: pytest.TempPathFactory) -> CompileC:
    """Builds tests/c/NAME.c with units of the core and gives the program's path: compile_c("ring_stress", *flags)."""

    if IS_EMULATED:
        pytest.skip("no compiler under emulation; scripts/test-arm cross-compiles")

    command = [os.environ.get("CC", "cc"), "-std=c11", "-D_GNU_SOURCE", "-g", f"-I{ROOT / 'csrc'}"]
    command += ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    for_atomics, libraries = runpy.run_path(str(ROOT / "csrc" / "python" / "build_ffi.py"))[
        "for_atomics"
    ]()  # as the build does
    command += for_atomics
    links = ["-lm", "-lpthread", "-ldl", *(f"-l{library}" for library in libraries)]
    objects: dict[tuple[Path, tuple[str, ...]], Path] = {}

    def compiled(unit: Path, flags: tuple[str, ...]) -> Path:
        """A unit's object file; each is built once for each set of flags, as the kernels take a while."""
        if (unit, flags) not in objects:
            target = tmp_path_factory.mktemp("objects") / f"{unit.stem}.o"
            subprocess.run([*command, *flags, "-c", unit, "-o", target], check=True)
            objects[unit, flags] = target
        return objects[unit, flags]

    def build(name: str, *flags: str, units: list[Path] | None = None) -> Path:
        flags = flags or ("-O2",)
        program = tmp_path_factory.mktemp("c") / Path(name).name
        parts = [compiled(unit, flags) for unit in (CORE_UNITS if units is None else units)]
        source = ROOT / "tests" / "c" / f"{name}.c"
        subprocess.run([*command, *flags, source, *parts, "-o", program, *links], check=True)
        return program

    return build


def needs(program: str) -> None:
    """Skip without a program of the system; in CI its absence is a failure, as a skipped proof proves nothing."""
    if shutil.which(program):
        return
    if os.environ.get("CI"):
        pytest.fail(f"{program} is not installed, and in CI it must be")
    pytest.skip(f"{program} is not installed")
