"""Instruction counts under callgrind, against a checked-in baseline: what runs for each block, each frame and each
message may not grow unnoticed.

Counts are exact for one compiler and one kernel, whatever the machine does besides; with another compiler than the
baseline's they are only bounded. After a deliberate change: `python -m tests.unit.test_callback_cost` writes it anew.
"""

import json
import os
import re
import runpy
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.conftest import CORE_UNITS, HANG_LIMIT_S, ROOT, CompileC, needs

BASELINE = ROOT / "tests" / "golden" / "callback_cost.json"
TOLERANCE = 1.02
"""A changed count of this size is code generation; a new branch in the inner loop is more."""
SLACK = 8
"""Instructions that a short count may grow by: another order of the same work. A call or a loop is more."""
OTHER_COMPILER_TOLERANCE = 1.5
KERNELS = ("portable", "sse2", "avx2")
CASES = {
    "48000 mono int16": (48_000, 1, 1),
    "48000 stereo int16": (48_000, 2, 1),
    "44100 mono float32": (44_100, 1, 4),
    "96000 mono int24": (96_000, 1, 2),
}
PARTS = {"message": "a message of 8,192 bytes of sound", "ring": "a frame's hand-over"}
BLOCKS, TIMES = 200, 40


def compiler() -> str:
    return subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def dearest(program: Path, folder: Path, *arguments: object, at_least: int, kernel: str = "") -> int:
    """Instructions of the dearest of the program's dumps."""
    for old in folder.glob("counts*"):
        old.unlink()
    command = [
        "valgrind",
        "-q",
        "--tool=callgrind",
        "--collect-atstart=no",
        f"--callgrind-out-file={folder / 'counts'}",
    ]
    environment = os.environ | {"RAVATAR_AUDIO_KERNEL": kernel}
    subprocess.run(
        [*command, str(program), *map(str, arguments)],
        env=environment,
        capture_output=True,
        check=True,
        timeout=HANG_LIMIT_S,
    )
    found = [re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE) for path in folder.glob("counts.*")]
    counts = [int(match[1]) for match in found if match]
    assert len(counts) >= at_least
    return max(counts)


def worst_block(program: Path, folder: Path, kernel: str, case: str) -> int:
    """Instructions of the dearest of BLOCKS pushes of 10 ms each."""
    return dearest(program, folder, *CASES[case], BLOCKS, at_least=BLOCKS, kernel=kernel)


def optimisation() -> list[str]:
    """The flags that the product is built with, as far as they change code."""
    flags: list[str] = runpy.run_path(str(ROOT / "csrc" / "python" / "build_ffi.py"))["FLAGS"]
    return [flag for flag in flags if flag == "-O3" or flag.startswith("-fno-")]


def supported(kernel: str) -> bool:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return kernel == "portable" or f" {kernel} " in flags


def limit(baseline: dict[str, str], before: int) -> float:
    """What a count may be now."""
    return max(before * (TOLERANCE if baseline["compiler"] == compiler() else OTHER_COMPILER_TOLERANCE), before + SLACK)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_worst_block_costs_no_more_than_it_did(compile_c: CompileC, tmp_path: Path, kernel: str) -> None:
    needs("valgrind")
    if not supported(kernel):
        pytest.skip(f"this processor has no {kernel}")
    baseline = json.loads(BASELINE.read_text())
    program = compile_c("callback_cost", *optimisation())
    for case in CASES:
        counted, before = worst_block(program, tmp_path, kernel, case), baseline[kernel][case]
        assert counted <= limit(baseline, before), f"{kernel}, {case}: {counted} instructions, {before} before"


@pytest.mark.parametrize("part", PARTS)
def test_a_message_and_a_hand_over_cost_no_more_than_they_did(compile_c: CompileC, tmp_path: Path, part: str) -> None:
    needs("valgrind")
    baseline = json.loads(BASELINE.read_text())
    program = compile_c("parts_cost", *optimisation())
    counted, before = dearest(program, tmp_path, part, TIMES, at_least=TIMES), baseline["parts"][part]
    assert counted <= limit(baseline, before), f"{PARTS[part]}: {counted} instructions, {before} before"


def write_baseline() -> None:
    """Count everything with this machine's compiler and keep it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        flags = ["-std=c11", "-D_GNU_SOURCE", "-g", *optimisation(), f"-I{ROOT / 'csrc'}"]
        for name in ("callback_cost", "parts_cost"):
            sources = [ROOT / "tests" / "c" / f"{name}.c", *CORE_UNITS]
            subprocess.run(["cc", *flags, *sources, "-o", folder / name, "-lm", "-lpthread", "-ldl"], check=True)
        counts: dict[str, object] = {"compiler": compiler()}
        for kernel in KERNELS:
            counts[kernel] = {case: worst_block(folder / "callback_cost", folder, kernel, case) for case in CASES}
        counts["parts"] = {part: dearest(folder / "parts_cost", folder, part, TIMES, at_least=TIMES) for part in PARTS}
    BASELINE.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    write_baseline()
