"""What a user sees, as pages that one can read: tests/golden/*.txt.

    GOLDEN=write scripts/test tests/cli/test_golden.py

writes them anew, to be looked at and committed. What differs from machine to machine or from run to run is replaced by
a word in capitals, or an N for a number.
"""

import difflib
import errno
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravatar_audio.capture import Device
from ravatar_audio.capture.devices.holders import Holder
from ravatar_audio.capture.devices.permissions import Access
from ravatar_audio.capture.devices.privacy import privacy_error
from ravatar_audio.capture.servers.connection import NO_LIBRARY
from ravatar_audio.capture.servers.sources import ServerAnswer
from ravatar_audio.capture.servers.status import Process, Server, Servers
from ravatar_audio.capture.streams.open_errors import of_servers, with_holders
from ravatar_audio.cli.devices import page
from ravatar_audio.cli.doctor import shown
from ravatar_audio.diagnosis import listening, machine, sound
from ravatar_audio.diagnosis.finding import failed
from ravatar_audio.errors import DeviceInUseError, DeviceNotFoundError
from ravatar_audio.observe import board
from tests.cli.test_commands import LIMIT_S, emulator
from tests.device.microphones import MakeMicrophones, Pcm
from tests.unit.test_channels import look as channels_look
from tests.unit.test_doctor_parts import GOOD, SOURCE
from tests.unit.test_doctor_parts import answer as answered

GOLDEN = Path(__file__).parent.parent / "golden"
OF_THIS_MACHINE = ("permission", "sound server", "audio thread", "priority", "memory", "power")


def assert_golden(name: str, text: str) -> None:
    """The page is what it was; GOLDEN=write makes it what it is."""
    path = GOLDEN / f"{name}.txt"
    text = text.rstrip() + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    changes = difflib.unified_diff(kept.splitlines(), text.splitlines(), "golden", "shown", lineterm="", n=1)
    assert kept == text, "\n".join([f"GOLDEN=write scripts/test {__file__} writes it anew", *changes])


def normalised(text: str, folder: Path) -> str:
    for pattern, word in (
        (re.escape(str(folder)), "FOLDER"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"\b[0-9a-f]{32}\b", "USER-ID"),
        (r"\(pid \d+\)", "(pid N)"),
        (r"\b\d+(\.\d+)? ms\b", "N ms"),
        (r"[+-]\d+ ppm, give or take \d+", "N ppm, give or take N"),
        (r"-0\.00 %", "+0.00 %"),
        (r"(?m)^\d\d:\d\d:\d\d\.\d+ .*\n", ""),  # the log
        (r"(?m)^.*dBFS, peak .*\n", ""),  # the meter
        (r"\{.*\}", "{THE SUMMARY}"),
    ):
        text = re.sub(pattern, word, text)
    return text


def of_any_machine(text: str) -> str:
    """Without what the doctor says about the machine that the test runs on."""
    lines: list[str] = []
    is_left_out = False
    for line in text.splitlines():
        name = next((name for name in OF_THIS_MACHINE if line[5:].startswith(f"{name} ")), None)
        is_left_out = name is not None or (is_left_out and line.startswith(" " * 20))
        if name and name != "power":  # which only a Raspberry Pi has
            lines.append(f"     {name:<15} OF THIS MACHINE")
        elif not is_left_out:
            lines.append(line)
    return "\n".join(lines)


def session(environment: Mapping[str, str], commands: Sequence[str | tuple[str, str]], folder: Path) -> str:
    """What a terminal shows for these commands, each with what is piped into it."""
    items = [(item, "") if isinstance(item, str) else item for item in commands]
    request = [{"words": words.split()[1:], "stdin": stdin} for words, stdin in items]
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.commands_child", json.dumps(request)],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    assert "Traceback" not in done.stdout
    parts = []
    for (words, _), answer in zip(items, answers, strict=True):
        ending = f"[exit code {answer['exit']}]\n" if answer["exit"] else ""
        parts.append(f"$ {words}\n{answer['shown'].rstrip()}\n{ending}")
    return normalised("\n".join(parts), folder)


def write_tone(path: Path) -> Path:
    at = np.arange(48_000)
    tone = np.round(16_384 * np.sin(2 * np.pi * 1_000 * at / 48_000)).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(tone.tobytes())
    return path


ARRAY = Device(
    index=None,
    name="ReSpeaker 4 Mic Array",
    host_api="ALSA hardware",
    channels=6,
    rate_hz=16_000,
    is_default=False,
    pcm="hw:CARD=Array,DEV=0",
    card_id="Array",
    usb_id="2886:0018",
    serial="4711",
    port="1-1.2",
    rates_hz=(16_000, 48_000),
    formats=("int16", "int24"),
)
BOARD = Device(None, "HDA Intel PCH", "ALSA hardware", 0, 0, False, "hw:CARD=PCH,DEV=0", "PCH", problem="media_in_use")
SERVED = replace(
    ARRAY,
    index=None,
    name="USB headset",
    host_api="PipeWire",
    pcm="",
    card_id="",
    usb_id="",
    serial="",
    port="",
    source="bluez_input.00_11_22_33_44_55.0",
    bus="bluetooth",
    form_factor="headset",
    profile="headset-head-unit",
    is_default=True,
)
MONITOR = replace(
    SERVED, name="Monitor of HDA", source="alsa_output.pci.monitor", bus="pci", is_monitor=True, is_default=False
)
PULSE = Device(
    4, "pulse", "ALSA", 32, 44_100, True, "pulse", rates_hz=tuple(range(8_000, 192_001, 8_000)), formats=("int16",)
)


def test_devices_as_a_user_sees_them() -> None:
    twin = replace(ARRAY, name="USB PnP Sound Device", card_id="Device", usb_id="0d8c:0014", serial="", port="1-1.3")
    other = replace(twin, card_id="Device_1", pcm="hw:CARD=Device_1,DEV=0", port="1-1.4")
    twin = replace(twin, pcm="hw:CARD=Device,DEV=0")
    assert_golden("devices", page([ARRAY, twin, other, BOARD, SERVED, MONITOR, replace(PULSE, is_default=False)]))


@pytest.mark.device
def test_the_doctor_of_a_healthy_machine(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    microphones = usb_microphone(Pcm("usbmic", channels=(1, 1), source=str(write_tone(tmp_path / "tone.wav"))))
    environment = microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path / "state")}
    with emulator(dict(environment), tmp_path / "heard") as (url, _):
        command = f"ravatar-audio doctor --api-url {url} --slot --device usbmic"
        assert_golden("doctor", of_any_machine(session(environment, [command], tmp_path)))


def test_everything_that_the_doctor_can_find_wrong_about_a_microphone() -> None:
    socket = Path("/run/user/1000/pulse/native")
    nothing = Servers((), (Server("PulseAudio", socket, errno.ENOENT),))
    forbidden = Servers((Process("pulseaudio", 812, "desk"),), (Server("PulseAudio", socket, errno.EACCES),))
    answering = Servers((Process("pipewire", 810), Process("pipewire-pulse", 812)), (Server("PulseAudio", socket, 0),))
    foreign = replace(nothing, processes=(Process("pipewire", 810, "desk", "/run/user/1001"),))
    elsewhere = replace(nothing, processes=(Process("pipewire", 810, "", "/run/user/1001"),), runtime_dir="/tmp/run")
    silent = replace(nothing, processes=(Process("pulseaudio", 812),))
    locked = Access(("pcmC1D0c",), ("pcmC1D0c",), "audio", "kiosk", ("kiosk", "video"))
    busy = DeviceInUseError("the device 'hw:CARD=Array,DEV=0' cannot be opened: Device or resource busy")
    refused = DeviceNotFoundError("the device 'default' cannot be opened: Connection refused", errno="ECONNREFUSED")
    array = replace(SOURCE, name="alsa_input.usb-Array")
    power = board.parse_throttled("throttled=0x50005")
    assert power
    findings = [
        sound.check_access(locked, nothing),
        sound.check_access(replace(locked, nodes=(), forbidden=()), forbidden),
        sound.check_access(Access((), (), "", "root", ("root",), missing=("pcmC1D0c",)), nothing),
        sound.check_privacy(privacy_error("win32", read_switch=lambda hive, path: "Deny")),
        sound.check_privacy(privacy_error("darwin", read_status=lambda: 2)),
        sound.check_servers(forbidden, ServerAnswer("")),
        sound.check_servers(foreign, ServerAnswer("")),
        sound.check_servers(elsewhere, ServerAnswer("")),
        sound.check_servers(silent, ServerAnswer("")),
        sound.check_servers(answering, answered(failure=NO_LIBRARY)),
        sound.check_servers(answering, answered(failure="no answer in 2 s")),
        sound.check_servers(answering, answered()),
        sound.check_servers(answering, answered(replace(array, is_suspended=True, is_muted=True))),
        sound.check_servers(answering, answered(replace(array, name="speaker.monitor", is_monitor=True))),
        failed("devices", of_servers(refused, nothing)),
        failed("devices", of_servers(refused, forbidden)),
        failed("devices", of_servers(refused, foreign)),
        failed("capture", with_holders(busy, [Holder(4711, "arecord")])),
        failed("capture", with_holders(busy, [Holder(810, "pipewire")])),
        sound.check_holders([Holder(4711, "arecord")]),
        *listening.judge(replace(GOOD, samples=0)),
        *(listening.judge_channels(channels_look(name)) for name in ("known array, all of it", "inverted")),
        listening.judge_level(replace(GOOD, peak=0)),
        listening.judge_level(replace(GOOD, peak=4, energy=32_000)),
        listening.judge_clipping(replace(GOOD, clipped=312)),
        listening.judge_offset(replace(GOOD, total=32_000 * 900)),
        listening.judge_losses(replace(GOOD, overruns=3, lost_samples=2_400)),
        listening.judge_drift(replace(GOOD, drift_ppm=-2_400.0)),
        machine.check_priority("Operation not permitted", 0),
        machine.check_memory("the limit of locked memory (RLIMIT_MEMLOCK) is 8388608 bytes", is_asked_for=True),
        machine.power_finding(power),
    ]
    assert_golden("doctor-problems", "\n".join(map(shown, findings)))


@pytest.mark.device
def test_errors_of_the_microphone_as_a_user_sees_them(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    microphones = usb_microphone(Pcm("usbmic", (44_100, 48_000)), Pcm("arraymic", (16_000,), (4, 4)), *map(Pcm, FAULTS))
    for name in FAULTS:
        microphones.control(name, FAULTS[name])
    environment = microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path / "state")}
    demo = "ravatar-audio demo --mic --seconds 1 --device"
    commands = [
        f"{demo} webcam",
        f"{demo} mic",
        f"{demo} 99",
        f"{demo} usb:2886:0018",
        *(f"{demo} {name}" for name in FAULTS),
        f"{demo} usbmic --rate 96000 --strict",
        f"{demo} usbmic --channels 3 --strict",
        f"{demo} alsa:usbmic --format int32 --strict",
        f"{demo} usbmic --rate 96000 --json",
        f"{demo} usbmic --channels-heard 5",
        f"{demo} usbmic --backend nonsense",
    ]
    assert_golden("errors-microphone", session(environment, commands, tmp_path))


FAULTS = {"busymic": "ebusy", "forbiddenmic": "eacces", "gonemic": "enodev"}


def test_errors_of_a_pipe_as_a_user_sees_them(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAVATAR_", "VITE_"))}
    environment = kept | {"RAVATAR_STATE_DIR": str(tmp_path / "state")}
    # A pipe with --endless is a live source: what came before the session is asked for is forgotten.
    slow_start = ("--fault", "startLiveSession delay=0.5 times=0")
    with emulator(environment, tmp_path / "heard", *slow_start) as (url, _):
        live = f"ravatar-audio live --api-url {url} --linger 0 --source -"
        commands = [(live, ""), (live, "fLaC\0\0"), (f"{live} --endless", "\0" * 3_201)]
        assert_golden("errors-pipe", session(environment, commands, tmp_path))
