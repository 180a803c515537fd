"""The audio thread on a real stream: the interpreter cannot make it lose sound; it neither allocates nor locks."""

from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.capture.host.memory_lock import why_memory_cannot_be_locked
from ravatar_audio.diagnosis.machine import why_no_priority
from tests.device.microphones import MakeMicrophones, Pcm, build_shared, run_child
from tests.device.test_microphone import CHILD, assert_nothing_lost

pytestmark = pytest.mark.device

SECONDS = 12.0


def test_python_code_that_holds_the_interpreter_costs_us_nothing_and_a_python_callback_most(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    def capture(backends: dict[str, str], seconds: float) -> dict[str, Any]:
        # The Python callback is away for longer than a microphone may be silent.
        streams = [
            {"name": name, "device": f"alsa:{name}" if backend == "alsa" else name, "backend": backend, "reopen_s": 10}
            for name, backend in backends.items()
        ]
        request = {"folder": str(tmp_path), "seconds": seconds, "streams": streams, "hold": True}
        return run_child(usb_microphone(*map(Pcm, backends)), CHILD, request, limit_s=SECONDS + 60)

    ours = capture({"core": "portaudio", "thread": "alsa"}, SECONDS)
    theirs = capture({"callback": "pyaudio"}, SECONDS / 2)
    for answer, seconds in ((ours, SECONDS), (theirs, SECONDS / 2)):
        holds_s = answer["holds_s"]
        assert sum(holds_s) > 0.6 * seconds, "the interpreter was held for too little of the time to prove anything"
        assert max(holds_s) > 0.15
    for name, heard in ours["streams"].items():
        assert_nothing_lost(heard, (tmp_path / f"{name}.pcm").read_bytes(), SECONDS)
    heard = theirs["streams"]["callback"]
    assert heard["backend"] == "pyaudio"
    lost = 1 - heard["device_samples"] / (heard["elapsed_s"] * heard["rate_hz"])
    assert lost > 0.5, f"the Python callback lost only {lost:.0%}: this test would not see a fault"


def test_the_callback_neither_allocates_nor_locks(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    trap = build_shared(
        Path(__file__).with_name("trap.c"), tmp_path / "trap.so", "-Wl,--no-as-needed", "-lportaudio", "-ldl"
    )
    answer = run_child(
        usb_microphone(), "tests.device.trap_child", {"trap": str(trap)}, limit_s=60, LD_PRELOAD=str(trap)
    )
    assert answer["springs"] == [2, 2], "the trap does not work"
    assert answer["callbacks"] > 150
    assert answer["dropped"] > 0
    assert (answer["allocations"], answer["locks"]) == (0, 0)
    if answer["may_hurry"]:
        usual, urgent = max(answer["priorities"]), min(answer["priorities"])
        assert answer["priorities"].count(urgent) == 1, "PortAudio's thread, and no other, goes first"
        assert urgent <= -11 < usual


@pytest.mark.parametrize("backend", ["alsa", "portaudio"])
def test_the_audio_thread_is_a_real_time_one_where_the_limits_allow_it_and_the_statistics_say_so(
    usb_microphone: MakeMicrophones, tmp_path: Path, backend: str
) -> None:
    if why := why_no_priority():
        pytest.skip(f"no real-time priority: {why}")
    stream = {"name": "rt", "device": "alsa:usbmic" if backend == "alsa" else "usbmic", "backend": backend}
    request = {"folder": str(tmp_path), "seconds": 1.0, "streams": [stream]}
    heard = run_child(usb_microphone(), CHILD, request, limit_s=60)["streams"]["rt"]
    assert heard["backend"] == backend
    assert heard["is_real_time"]


def test_memory_is_locked_when_that_is_asked_for(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    if why := why_memory_cannot_be_locked():
        pytest.skip(why)
    stream = {"name": "locked", "device": "alsa:usbmic", "lock_memory": True}
    request = {"folder": str(tmp_path), "seconds": 1.0, "streams": [stream]}
    heard = run_child(usb_microphone(), CHILD, request, limit_s=60)
    assert heard["locked_kib"] > 10_000
    assert_nothing_lost(heard["streams"]["locked"], (tmp_path / "locked.pcm").read_bytes(), 1.0)
