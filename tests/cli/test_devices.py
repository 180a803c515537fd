"""The commands with microphones, and with what can be wrong about them."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benches.rig.virtual_microphone import write_wav
from tests.cli.test_commands import emulator, run
from tests.device.microphones import MakeMicrophones, Pcm
from tests.unit.test_channels import RATE_HZ, xvf3000

pytestmark = pytest.mark.device


@pytest.fixture
def environment(usb_microphone: MakeMicrophones, tmp_path: Path) -> dict[str, str]:
    microphones = usb_microphone(Pcm("usbmic", (44_100, 48_000)), Pcm("arraymic", (16_000,), (4, 4)), Pcm("busymic"))
    microphones.control("busymic", "ebusy")
    return microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path)}


def test_devices_are_listed_for_people_and_for_programs(environment: dict[str, str]) -> None:
    listed = json.loads(run(environment, "devices", "--json").stdout)
    by_name = {item["name"]: item for item in listed}
    assert by_name["usbmic"]["channels"] == 2
    assert by_name["arraymic"]["rate_hz"] == 16_000
    assert (by_name["arraymic"]["backend"], by_name["arraymic"]["selector"]) == ("portaudio", "arraymic")
    assert sum(item["is_default"] for item in listed) == 1
    shown = run(environment, "devices")
    assert shown.stderr == "", "the sound libraries' chatter is not shown"
    assert by_name["usbmic"]["rates_hz"] == [44_100, 48_000]
    assert "select    --device arraymic" in shown.stdout
    assert "offers    16000 Hz; up to 4 channels; int16" in shown.stdout


def test_no_device_at_all_is_said_and_is_no_failure_of_the_listing(tmp_path: Path) -> None:
    configuration = tmp_path / "asound.conf"
    configuration.write_text("pcm.!default { type hw card 99 }\n")
    environment = {"PATH": "/usr/bin:/bin", "ALSA_CONFIG_PATH": str(configuration), "JACK_NO_START_SERVER": "1"}
    listed = run(environment, "devices", "--json")
    assert listed.returncode == 0
    assert json.loads(listed.stdout) == []
    assert "No microphone was found" in run(environment, "devices").stderr


def test_the_demo_takes_the_microphone(environment: dict[str, str], tmp_path: Path) -> None:
    arguments = ["demo", "--mic", "--device", "array", "--seconds", "2", "--json", "--wav-dir", str(tmp_path / "heard")]
    began_s = time.monotonic()
    result = run(environment, *arguments)
    took_s = time.monotonic() - began_s
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["samples_lost"] == 0
    assert 31_000 < summary["samples_captured"] == summary["samples_received"] < 16_000 * took_s


def test_what_happens_to_the_microphone_is_in_the_json_lines(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    microphones = usb_microphone(Pcm("usbmic", (48_000,)))
    environment = microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path / "state")}
    with emulator(environment, tmp_path / "heard") as (url, _):
        arguments = [
            "live",
            "--api-url",
            url,
            "--backend",
            "alsa",
            "--device",
            "alsa:usbmic",
            "--mode",
            "open",
            "--json",
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "ravatar_audio", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as live:
            assert live.stdout is not None

            def until(kind: str) -> dict[str, object]:
                assert live.stdout is not None
                for text in live.stdout:
                    line: dict[str, object] = json.loads(text)
                    if line.get("kind") == kind:
                        return line
                pytest.fail(f"no {kind}")

            try:
                assert until("no_constraints")["position_samples"] == 0
                until("started")
                microphones.control("usbmic", "unplug")
                assert "ended the stream" in str(until("reopening")["message"])
                microphones.control("usbmic", "ok")
                assert until("reopened")["event"] == "CaptureEvent"
            finally:
                live.terminate()
            assert live.wait(60) == 143


def test_without_portaudio_and_hardware_the_command_says_what_to_install(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "pyaudio.py").write_text('raise ImportError("libportaudio.so.2: cannot open shared object file")\n')
    shadowed = environment | {"PYTHONPATH": f"{tmp_path}:{environment['PYTHONPATH']}"}
    for arguments in (["devices"], ["demo", "--mic"]):
        result = run(shadowed, *arguments)
        assert result.returncode == 3
        assert "libportaudio2" in result.stderr
    assert run(shadowed, "demo", "--seconds", "0.5").returncode == 0, "without a microphone it is not needed"


@pytest.fixture
def array_environment(usb_microphone: MakeMicrophones, tmp_path: Path) -> dict[str, str]:
    """A six-channel array with the loudspeaker in its last channel, and a microphone of one channel as the default."""
    wav = write_wav(tmp_path / "array.wav", RATE_HZ, np.stack(xvf3000(), axis=1))
    array = Pcm("array", (RATE_HZ,), (6, 6), source=str(wav))
    microphones = usb_microphone(Pcm("mono", (RATE_HZ,), (1, 1)), array)
    return microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path)}


def test_devices_shows_each_channel_of_an_array_and_the_one_that_repeats_the_loudspeaker(
    array_environment: dict[str, str],
) -> None:
    shown = run(array_environment, "devices")
    assert shown.stderr == ""
    assert re.search(r"heard +channel 0\n +sound +channel 0: -2\d dBFS", shown.stdout)
    assert re.search(r"channel 5: -1\d dBFS, .*: playback\?\n", shown.stdout)
    listed = {item["name"]: item for item in json.loads(run(array_environment, "devices", "--json").stdout)}
    assert [channel["number"] for channel in listed["array"]["listened"]["channels"]] == list(range(6))
    assert listed["array"]["listened"]["heard"] == listed["array"]["listened"]["advised"] == [0]
    assert listed["mono"]["listened"] is None
    unheard = run(array_environment, "devices", "--listen", "0").stdout
    assert "array (ALSA)" in unheard
    assert not re.search(r"^ +sound +", unheard, re.MULTILINE)


@pytest.mark.parametrize("backend", ["alsa", "portaudio"])
@pytest.mark.parametrize(
    ("heard", "state"), [("auto", "fine"), ("all", "warning"), ("5", "warning"), ("0,1", "warning")]
)
def test_the_doctor_says_which_channel_of_an_array_to_hear(
    array_environment: dict[str, str], backend: str, heard: str, state: str
) -> None:
    device = "alsa:array" if backend == "alsa" else "array"
    result = run(array_environment, "doctor", "--no-platform", "--json", "--device", device, "--channels-heard", heard)
    found = {item["name"]: item for item in json.loads(result.stdout)["findings"]}
    assert found["channels"]["state"] == state
    assert found["channels"]["text"].count("dBFS") == 6
    assert ("--channels-heard 0" in found["channels"]["advice"]) == (state == "warning")
