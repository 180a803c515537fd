"""Proofs about the core that are run, not argued: races, memory errors, system calls, the ring's algorithm."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import HANG_LIMIT_S, ROOT, CompileC, needs

RING = [ROOT / "csrc" / "core" / "rva_ring.c"]
SANITIZERS = {
    "thread": ["-O1", "-fsanitize=thread"],
    "memory": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


@pytest.mark.parametrize("sanitizer", SANITIZERS)
@pytest.mark.parametrize("capacity", [1, 3, 8])
def test_two_threads_on_the_ring_lose_and_tear_nothing(compile_c: CompileC, sanitizer: str, capacity: int) -> None:
    program = compile_c("ring_stress", *SANITIZERS[sanitizer], units=RING)
    result = subprocess.run(
        [program, "200000", str(capacity)], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_pusher_taker_flusher_and_reader_of_statistics_do_not_race(compile_c: CompileC, sanitizer: str) -> None:
    program = compile_c("chain_stress", *SANITIZERS[sanitizer])
    result = subprocess.run([program, "5000"], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_audio_thread_makes_no_system_call_but_the_wake_up(compile_c: CompileC) -> None:
    program = compile_c("chain_sandbox")
    result = subprocess.run([program], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_sandbox_would_have_caught_an_allocation(compile_c: CompileC) -> None:
    result = subprocess.run(
        [compile_c("chain_sandbox"), "misbehave"], capture_output=True, timeout=HANG_LIMIT_S, check=False
    )
    assert result.returncode == -signal.SIGSYS


def test_what_the_fuzzer_found_stays_found(compile_c: CompileC) -> None:
    """The corpus of scripts/fuzz, replayed: same output however the input is cut, conservation, no memory error."""
    program = compile_c("../fuzz/chain_fuzz", "-DREPLAY", *SANITIZERS["memory"])
    corpus = sorted((ROOT / "tests" / "fuzz" / "corpus").iterdir())
    assert len(corpus) > 20
    result = subprocess.run([program, *corpus], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("flags", [["-O3"], SANITIZERS["memory"]], ids=["fast", "memory"])
def test_kernels_agree_and_cutting_does_not_matter_in_c(compile_c: CompileC, flags: list[str]) -> None:
    program = compile_c("resample_check", *flags)
    result = subprocess.run([program, "portable"], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("flags", [["-O3"], SANITIZERS["memory"]], ids=["fast", "memory"])
def test_the_canceller_gives_the_same_bits_by_every_kernel_and_cut_in_c(compile_c: CompileC, flags: list[str]) -> None:
    program = compile_c("echo_check", *flags)
    result = subprocess.run([program, "portable"], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("flags", [["-O2"], SANITIZERS["memory"]], ids=["fast", "memory"])
def test_gaps_behind_a_server_are_told_by_when_its_blocks_arrive(compile_c: CompileC, flags: list[str]) -> None:
    """Made-up arrivals: sound that is only late is never told as lost, what is lost is told once, to within a block."""
    program = compile_c("gap_check", *flags)
    result = subprocess.run([program], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr[-4_000:]


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_what_a_sound_server_does_to_a_stream_is_told_once_and_no_monitor_is_heard(
    compile_c: CompileC, sanitizer: str
) -> None:
    """A made-up libpulse: holes, overflows, moves and ends in every order, also those that a real server seldom has."""
    program = compile_c("pulse_check", *SANITIZERS[sanitizer])
    result = subprocess.run([program], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    assert result.returncode == 0, result.stdout + result.stderr[-4_000:]


def test_libpulses_types_are_declared_as_its_headers_have_them(compile_c: CompileC) -> None:
    if not Path("/usr/include/pulse/pulseaudio.h").exists():
        if os.environ.get("CI"):
            pytest.fail("libpulse's headers are missing: sudo apt-get install libpulse-dev")
        pytest.skip("libpulse's headers are missing")
    programs = [compile_c("pulse_abi", *flags, units=[]) for flags in (["-O0", "-DOURS"], ["-O0"])]
    ours, theirs = (
        subprocess.run([program], capture_output=True, text=True, check=True).stdout for program in programs
    )
    assert ours == theirs
    assert len(ours.splitlines()) > 40


@pytest.mark.parametrize("what", ["overruns", "alternates", "closes", "signals"])
def test_the_capture_thread_never_spins_and_takes_no_signals(compile_c: CompileC, what: str) -> None:
    result = subprocess.run(
        [compile_c("alsa_thread"), what], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_audio_thread_has_its_priority_only_while_sound_comes(compile_c: CompileC) -> None:
    program = compile_c("watch_priority")
    result = subprocess.run([program], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False)
    if result.returncode == 77:
        pytest.skip("the limits allow no real-time priority here")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_gap_costs_the_audio_thread_no_page_fault(compile_c: CompileC) -> None:
    result = subprocess.run(
        [compile_c("gap_faults")], capture_output=True, text=True, timeout=HANG_LIMIT_S, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def check_model(folder: Path, *defines: str) -> str:
    needs("spin")
    subprocess.run(["spin", *defines, "-a", ROOT / "tests" / "model" / "ring.pml"], cwd=folder, check=True)
    subprocess.run(["cc", "-O1", "-w", "-DSAFETY", "-o", "pan", "pan.c"], cwd=folder, check=True)
    return subprocess.run(["./pan", "-m100000"], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("defines", [("-DCAPACITY=1",), ("-DCAPACITY=2",), ("-DCAPACITY=3", "-DFRAMES=9")])
def test_the_rings_algorithm_holds_in_every_interleaving(tmp_path: Path, defines: tuple[str, ...]) -> None:
    output = check_model(tmp_path, *defines)
    assert "errors: 0" in output
    assert "max search depth too small" not in output


@pytest.mark.parametrize("broken", ["RELAXED_COMMIT", "RELAXED_RELEASE", "NO_SPARE_SLOT"])
def test_the_model_finds_what_would_be_wrong(tmp_path: Path, broken: str) -> None:
    assert "assertion violated" in check_model(tmp_path, f"-D{broken}")
