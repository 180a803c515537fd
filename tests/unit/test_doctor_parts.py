"""What the doctor concludes from what it sees: when each thing is fine, when it is not, and what is to be done."""

import errno
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ravatar_audio.capture import Device
from ravatar_audio.capture.devices.holders import Holder
from ravatar_audio.capture.devices.permissions import Access
from ravatar_audio.capture.servers.connection import NO_LIBRARY
from ravatar_audio.capture.servers.sources import ServerAnswer, ServerSource
from ravatar_audio.capture.servers.status import Process, Server, Servers
from ravatar_audio.diagnosis import listening, machine, sound
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.errors import PermissionDeniedError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.native import Chain
from ravatar_audio.observe import board
from ravatar_audio.settings import Settings

BITS_NOW = {0: "under-voltage", 1: "ARM frequency capped", 2: "throttled", 3: "soft temperature limit active"}


@pytest.mark.parametrize("bit", range(20))
def test_each_bit_of_a_raspberry_pis_power_is_told(bit: int) -> None:
    power = board.parse_throttled(f"throttled={1 << bit:#x}")
    assert power is not None
    assert power.now == ((BITS_NOW[bit],) if bit < 4 else ())
    assert power.since_boot == ((BITS_NOW[bit - 16],) if bit >= 16 else ())
    expected = "warning" if bit in (0, 1, 2, 3, 16, 17, 18, 19) else "ok"
    assert machine.power_finding(power).status == expected
    assert ("power supply" in machine.power_finding(power).advice) == (bit in (0, 16))


def test_all_bits_at_once_and_none() -> None:
    everything = board.parse_throttled("throttled=0xf000f\n")
    assert everything is not None
    assert everything.now == everything.since_boot == tuple(BITS_NOW.values())
    assert board.parse_throttled("50005") == board.parse_throttled("throttled=0x50005"), "as the kernel's file has it"
    for nonsense in ("", "error=1", "VCHI initialization failed"):
        assert board.parse_throttled(nonsense) is None


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_a_firmware_whose_program_fails_or_hangs_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert board.ask_firmware() == "", "there is none"
    script = tmp_path / "vcgencmd"
    for text, said in (("echo throttled=0x0", "throttled=0x0\n"), ("exit 1", ""), ("exec sleep 60", "")):
        write(script, f"#!/bin/sh\n{text}\n")
        script.chmod(0o755)
        monkeypatch.setattr(board, "ANSWER_LIMIT_S", 0.05 if "sleep" in text else 10.0)
        assert board.ask_firmware() == said


def test_power_is_asked_of_whatever_tells_it_and_of_a_raspberry_pi_only(tmp_path: Path) -> None:
    def state() -> str:
        finding = machine.check_power(tmp_path, vcgencmd="")
        return finding.status if finding else "none"

    assert state() == "none"
    write(tmp_path / "proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0")
    assert state() == "skipped"
    write(tmp_path / "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    write(tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n")
    assert state() == "ok"
    write(tmp_path / "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert state() == "warning"
    write(tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
    assert state() == "ok", "the firmware knows more than the alarm"
    finding = machine.check_power(tmp_path / "nowhere", vcgencmd="throttled=0x0")
    assert finding is None


def test_priority_and_memory_say_what_to_allow() -> None:
    assert machine.check_priority(None, 0).status == "ok"
    refused = machine.check_priority("Operation not permitted", 0)
    assert (refused.status, refused.exit_code) == ("warning", 0)
    assert "RLIMIT_RTPRIO is 0" in refused.message
    assert "LimitRTPRIO=20" in refused.advice
    assert machine.check_priority(None, None).status == "skipped", "other systems have no such limit"
    assert machine.check_memory(None, is_asked_for=True).status == "ok"
    assert machine.check_memory("the limit is 8 MiB", is_asked_for=False).status == "ok"
    limited = machine.check_memory("the limit is 8 MiB", is_asked_for=True)
    assert limited.status == "warning"
    assert "8 MiB" in limited.message
    assert "LimitMEMLOCK=infinity" in limited.advice


GOOD = listening.SoundReport(
    name="Array",
    device="48000 Hz, 2 channels, int16",
    refusal="",
    backend="alsa",
    block_s=0.01,
    seconds=2.0,
    samples=2 * RATE_HZ,
    peak=3_277,
    energy=2 * RATE_HZ * 328**2,
    total=32_000 * 10,
    clipped=0,
    overruns=0,
    lost_samples=0,
    ring_dropped_samples=0,
    is_real_time=True,
    drift_ppm=12.0,
    drift_error_ppm=40.0,
)


def by_name(heard: listening.SoundReport) -> dict[str, Finding]:
    return {finding.name: finding for finding in listening.judge(heard)}


def test_a_good_microphone_is_fine_throughout_with_its_figures() -> None:
    found = by_name(GOOD)
    assert list(found) == ["capture", "audio thread", "level", "clipping", "DC offset", "losses", "clock drift"]
    assert {finding.status for finding in found.values()} == {"ok"}
    assert found["level"].message == "peak -20.0 dBFS, RMS -40.0 dBFS in 2 s"
    assert found["DC offset"].message == "+0.03 % of full scale"
    assert found["clock drift"].message.startswith("+12 ppm, give or take 40")
    assert "coarsely" in found["clock drift"].message, "two seconds say little about a clock, and that is said"
    assert "coarsely" not in by_name(replace(GOOD, seconds=60.0))["clock drift"].message


@pytest.mark.parametrize(
    ("backend", "is_real_time", "state", "said"),
    [
        ("alsa", True, "ok", "our own thread, at real-time priority 10"),
        (
            "portaudio",
            True,
            "ok",
            "PortAudio's thread, at real-time priority 10, which it has only while sound comes",
        ),
        ("alsa", False, "ok", "our own thread, without"),
        ("portaudio", False, "ok", "PortAudio's thread, without"),
        ("pyaudio", False, "warning", "a Python callback"),
    ],
)
def test_the_priority_of_the_thread_that_captured_is_told_by_its_backend(
    backend: str, is_real_time: bool, state: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    finding = by_name(replace(GOOD, backend=backend, is_real_time=is_real_time))["audio thread"]
    assert finding.status == state
    assert finding.message.startswith(said)


@pytest.mark.parametrize(
    ("changed", "name", "said", "advised"),
    [
        ({"peak": 0, "energy": 0}, "level", "digital silence", "muted"),
        ({"peak": 5, "energy": 32_000}, "level", "hardly anything", "gain"),
        ({"clipped": 7}, "clipping", "7 samples", "Lower"),
        ({"refusal": "it has no 96000 Hz"}, "constraints", "invalid_media_constraints: it has no 96000", "Leave rate"),
        ({"total": 32_000 * 1_000}, "DC offset", "+3.05 %", "--dc-block"),
        ({"total": -32_000 * 1_000}, "DC offset", "-3.05 %", "headroom"),
        ({"overruns": 2, "lost_samples": 1_600}, "losses", "2 overruns, 100 ms", "busy"),
        ({"ring_dropped_samples": 4_096}, "losses", "256 ms", "busy"),
        ({"drift_ppm": -900.0}, "clock drift", "-900 ppm", "rate"),
    ],
)
def test_each_fault_of_a_microphone_is_named_with_what_to_do(
    changed: dict[str, float], name: str, said: str, advised: str
) -> None:
    found = by_name(replace(GOOD, **changed))  # type: ignore[arg-type]
    assert found[name].status == "warning"
    assert said in found[name].message
    assert advised in found[name].advice
    assert {other.status for other in found.values() if other.name != name} == {"ok"}


def test_a_drift_within_its_uncertainty_is_no_fault_and_without_sound_there_is_none() -> None:
    assert by_name(replace(GOOD, drift_ppm=900.0, drift_error_ppm=500.0))["clock drift"].status == "ok"
    assert by_name(replace(GOOD, drift_error_ppm=math.inf))["clock drift"].status == "skipped"


def test_a_microphone_that_sends_nothing_is_a_problem() -> None:
    (finding,) = listening.judge(replace(GOOD, samples=0))
    assert (finding.status, finding.exit_code) == ("error", 3)
    assert "nothing came" in finding.message


def frames_of(ppm: float, seconds: float, *, jitter_s: float = 0.0, gap_after: int = -1) -> list[Frame]:
    """Frames of a device whose clock is fast by `ppm`, through the core."""
    frames: list[Frame] = []
    at_s, block = 1_000.0, 160
    with Chain(rate_hz=RATE_HZ, capacity_frames=4) as chain:
        for number in range(round(seconds * 100)):
            at_s += block / RATE_HZ / (1 + ppm * 1e-6)
            if number == gap_after:
                chain.note_loss(RATE_HZ // 2)
                at_s += 0.6  # more than the device admits
            chain.push(bytes(2 * block), at_s + jitter_s * (number % 7))
            frames.extend(chain.take_all())
    return frames


@pytest.mark.parametrize("ppm", [0.0, 80.0, -350.0, 3_000.0])
def test_the_clocks_drift_is_measured(ppm: float) -> None:
    measured, error = listening.clock_drift_ppm(frames_of(ppm, 3.0))
    assert abs(measured - ppm) < 1.0 + 1e-3 * abs(ppm)  # within a block the nominal rate is taken
    assert error < 1.0 + 0.02 * abs(ppm)


def test_the_drifts_uncertainty_covers_what_jitter_makes_of_it() -> None:
    measured, error = listening.clock_drift_ppm(frames_of(0.0, 2.5, jitter_s=1e-4))
    assert 1 < error < 1_000
    assert abs(measured) < 2 * error
    _, server = listening.clock_drift_ppm(frames_of(0.0, 2.5, jitter_s=1e-4), stamp_error_s=0.005)
    assert server > error + 2_000, "behind a sound server less can be told"
    _, better = listening.clock_drift_ppm(frames_of(0.0, 25.0, jitter_s=1e-4))
    assert better < error / 5, "listening longer tells it better"


def test_a_gap_does_not_count_as_drift() -> None:
    frames = frames_of(50.0, 5.0, gap_after=150)
    assert any(frame.discontinuity for frame in frames)
    assert abs(listening.clock_drift_ppm(frames)[0] - 50.0) < 1.0
    assert listening.clock_drift_ppm(frames[:2])[1] == math.inf
    assert frames[0].length_samples == FRAME_SAMPLES


ACCESS = Access(("pcmC1D0c",), (), "audio", "kiosk", ("kiosk",))
SOCKET = Path("/run/user/1000/pulse/native")
NONE = Servers((), (Server("PulseAudio", SOCKET, errno.ENOENT),))
PULSE = Servers((Process("pulseaudio", 9),), (Server("PulseAudio", SOCKET, 0),))
PIPEWIRE = Servers((Process("pipewire", 9),), (Server("PipeWire", SOCKET, 0),))
FORBIDDEN = Servers((Process("pulseaudio", 9),), (Server("PulseAudio", SOCKET, errno.EACCES),))
SOURCE = ServerSource(
    "usbmic", "USB microphone", "usb", "microphone", "", "", 48_000, 1, "int16", is_default=True, is_monitor=False,
    is_muted=False, is_suspended=False,
)  # fmt: skip


def answer(*sources: ServerSource, failure: str = "") -> ServerAnswer:
    return ServerAnswer("" if failure else "pulseaudio", sources, failure)


def test_forbidden_hardware_is_a_problem_unless_a_sound_server_serves() -> None:
    assert sound.check_access(ACCESS, NONE).status == "ok"
    locked = replace(ACCESS, forbidden=ACCESS.nodes)
    problem = sound.check_access(locked, NONE)
    assert (problem.status, problem.exit_code) == ("error", 3)
    assert problem.message.startswith("permission_denied: kiosk may not open pcmC1D0c")
    assert "usermod -aG audio kiosk" in problem.advice
    assert sound.check_access(locked, PULSE).status == "ok"
    assert sound.check_access(replace(ACCESS, nodes=()), FORBIDDEN).status == "error"
    assert sound.check_access(replace(ACCESS, nodes=()), NONE).status == "ok"


@pytest.mark.parametrize(
    ("servers", "answer", "state", "said"),
    [
        (NONE, answer(), "ok", "none answers"),
        (PULSE, answer(SOURCE), "ok", "PulseAudio (pid 9); default source usbmic"),
        (PULSE, answer(replace(SOURCE, is_suspended=True)), "ok", "usbmic, suspended"),
        (PULSE, answer(replace(SOURCE, is_muted=True)), "warning", "muted"),
        (PULSE, answer(replace(SOURCE, is_monitor=True)), "warning", "loudspeaker"),
        (PULSE, answer(), "warning", "no source, so no microphone"),
        (PULSE, answer(replace(SOURCE, is_monitor=True, is_default=False)), "warning", "no source, so no microphone"),
        (PULSE, answer(replace(SOURCE, is_default=False)), "warning", "no default source"),
        (PULSE, answer(failure=NO_LIBRARY), "warning", "libpulse.so.0 cannot be loaded, so"),
        (PULSE, answer(failure="no answer in 2 s"), "error", "connections, and that is all: no answer in 2 s"),
        (PIPEWIRE, answer(failure="Connection refused"), "ok", "PipeWire (pid 9)"),
        (FORBIDDEN, answer(), "warning", "no sound server answers, though PulseAudio (pid 9) runs"),
    ],
)
def test_a_sound_server_is_told_with_its_state(servers: Servers, answer: ServerAnswer, state: str, said: str) -> None:
    finding = sound.check_servers(servers, answer)
    assert finding.status == state
    assert said in finding.message
    assert bool(finding.advice) == (state != "ok")
    assert finding.exit_code == (3 if state == "error" else 0)


def test_another_users_sound_server_is_not_counted_as_this_ones() -> None:
    others = Process("pipewire", 10, "kiosk"), Process("pulseaudio", 11, "", "/run/user/2")
    said = sound.check_servers(replace(PULSE, processes=(*PULSE.processes, *others)), answer(SOURCE)).message
    assert "pid 9" in said
    assert "pid 10" not in said
    assert "pid 11" not in said, "of another session"


def test_a_refusal_by_the_privacy_settings_is_a_problem_of_permission() -> None:
    assert sound.check_privacy(None).status == "ok"
    finding = sound.check_privacy(PermissionDeniedError("the privacy settings refuse it"))
    assert (finding.status, finding.exit_code) == ("error", 3)
    assert finding.message.startswith("permission_denied: ")
    assert finding.advice


def test_devices_that_a_container_was_not_given_are_named() -> None:
    finding = sound.check_access(Access((), (), "", "root", (), missing=("pcmC1D0c",)), NONE)
    assert finding.status == "warning"
    assert "pcmC1D0c" in finding.message
    assert "--device /dev/snd" in finding.advice


@pytest.mark.parametrize("system", ["linux", "darwin", "win32", "freebsd14"])
def test_the_doctors_advice_about_levels_is_the_systems(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", system)
    shown = " ".join(
        finding.advice
        for heard in (replace(GOOD, peak=0), replace(GOOD, peak=4, energy=32_000), replace(GOOD, clipped=9))
        for finding in listening.judge(heard)
    )
    assert ("alsamixer" in shown) == (system in ("linux", "freebsd14"))
    assert ("System Settings, Sound, Input" in shown) == (system == "darwin")
    assert ("Settings, System, Sound, Input" in shown) == (system == "win32")


DEVICE = Device(None, "Array", "ALSA hardware", 2, 48_000, True, "hw:CARD=Array,DEV=0", "Array", "2886:0018")


def test_the_choice_of_device_and_backend_is_told_with_its_reason() -> None:
    hardware = sound.check_choice(DEVICE, Settings(device="array")).message
    assert "--device array is Array; backend alsa" in hardware
    assert "survives" in hardware
    other = sound.check_choice(replace(DEVICE, index=3), Settings()).message
    assert "the system's default is Array; backend portaudio" in other
    assert "as the settings say" in sound.check_choice(DEVICE, Settings(backend="pyaudio")).message
    assert sound.in_a_line(DEVICE, []) == "* Array [usb:2886:0018, alsa]: 48000 Hz; up to 2 channels"
    assert sound.in_a_line(replace(DEVICE, problem="media_in_use", is_default=False), []).endswith("media_in_use")
    server = replace(DEVICE, index=4, rates_hz=tuple(range(8_000, 18_000, 1_000)))
    assert "any rate from 8000 to 17000 Hz" in sound.in_a_line(server, [])


def test_who_has_the_device_is_told() -> None:
    assert sound.check_holders([]).status == "ok"
    finding = sound.check_holders([Holder(5, "arecord"), Holder(7, "pipewire")])
    assert finding.status == "warning"
    assert "arecord (pid 5), pipewire (pid 7) have it open" in finding.message
