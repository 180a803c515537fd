"""The build: one wheel for every CPython, and what is said when something is missing."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import IS_EMULATED, ROOT

pytestmark = pytest.mark.skipif(IS_EMULATED, reason="starts subprocesses")


def run_builder(tmp_path: Path, compiler: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "compiler"
    script.write_text(f"#!/bin/sh\n{compiler}\n")
    script.chmod(0o755)
    return subprocess.run(
        [sys.executable, ROOT / "csrc" / "build_ffi.py", tmp_path / "core.c"],
        env=os.environ | {"CC": str(script)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("compiler", "missing"),
    [("exit 1", "no compiler works"), ("! grep -q portaudio probe.c", "portaudio.h is missing")],
)
def test_what_is_missing_is_named_with_the_command_that_installs_it(
    tmp_path: Path, compiler: str, missing: str
) -> None:
    result = run_builder(tmp_path, compiler)
    assert result.returncode == 1
    assert missing in result.stderr
    assert "sudo apt-get install gcc libc6-dev portaudio19-dev" in result.stderr
    assert "Traceback" not in result.stderr
    assert run_builder(tmp_path, "exit 0").returncode == 0


def test_one_wheel_serves_every_python_and_links_to_nothing_but_the_c_library(tmp_path: Path) -> None:
    source = tmp_path / "source"
    made = shutil.ignore_patterns(".*", "build", "*.so", "*.o", "*.egg-info", "__pycache__", "_core.c")
    shutil.copytree(ROOT, source, ignore=made)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=source, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "-cp311-abi3-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        assert "ravatar_audio/py.typed" in archive.namelist()
        extension = archive.extract("ravatar_audio/_core.abi3.so", tmp_path)
    needed = subprocess.run(["objdump", "-p", extension], capture_output=True, text=True, check=True).stdout
    libraries = {line.split()[1].split(".so")[0] for line in needed.splitlines() if "NEEDED" in line}
    assert libraries <= {"libc", "libm", "libpthread", "libdl", "ld-linux-aarch64"}
