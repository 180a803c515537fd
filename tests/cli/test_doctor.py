"""The doctor: each thing that can be wrong is found, named, and answered with what to do."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.diagnosis.platform import forbids_framing
from tests.cli.test_commands import LIMIT_S, emulator, environment, run  # noqa: F401 - a fixture
from tests.device.microphones import MakeMicrophones, Pcm
from tests.device.servers import SoundServer, pulse_server  # noqa: F401 - a fixture


def examine(environment: dict[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:  # noqa: F811
    result = run(environment, "doctor", "--json", *arguments)
    answer = json.loads(result.stdout)
    assert answer["exit_code"] == result.returncode
    return result.returncode, {item["name"]: item for item in answer["findings"]}


def test_a_healthy_platform_is_fine_throughout(environment: dict[str, str], tmp_path: Path) -> None:  # noqa: F811
    with emulator(environment, tmp_path / "heard", "--slots", "1") as (url, _):
        for _ in range(2):  # the slot is given back
            code, found = examine(environment, "--api-url", url, "--no-mic", "--slot")
            assert code == 0
            assert {item["state"] for item in found.values()} == {"fine"}, found
    expected = ["settings", "name", "address", "TLS and HTTP", "clock", "token", "connection data", "WebSocket"]
    assert list(found) == [*expected, "live slot", "streaming page"]


@pytest.mark.parametrize(
    ("fault", "failing", "code"),
    [
        ("jwt status=500 times=9", "token", 5),
        ("connection status=402 times=9", "connection data", 5),
        ("startLiveSession status=503 times=9", "live slot", 5),
        ("socket status=403 times=9", "WebSocket", 5),
    ],
)
@pytest.mark.row("meet no JWT", "meet no connection data", "meet a refused WebSocket", "meet 402")
def test_the_first_problem_is_named_and_the_rest_skipped(
    environment: dict[str, str],  # noqa: F811
    tmp_path: Path,
    fault: str,
    failing: str,
    code: int,
) -> None:
    with emulator(environment, tmp_path / "heard", "--fault", fault) as (url, _):
        exit_code, found = examine(environment, "--api-url", url, "--no-mic", "--slot")
    states = [item["state"] for item in found.values()]
    at = list(found).index(failing)
    assert states == ["fine"] * at + ["problem"] + ["skipped"] * (len(states) - at - 1)
    assert found[failing]["advice"]
    assert exit_code == code


def test_an_address_that_refuses_and_a_name_that_is_unknown(environment: dict[str, str]) -> None:  # noqa: F811
    code, found = examine(environment, "--api-url", "http://127.0.0.1:9", "--no-mic")
    assert (code, found["address"]["state"]) == (4, "problem")
    code, found = examine(environment, "--api-url", "http://nowhere.invalid", "--no-mic")
    assert (code, found["name"]["state"]) == (4, "problem")


@pytest.mark.device
def test_the_microphone_is_listened_to(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    microphones = usb_microphone(Pcm("usbmic"), Pcm("busymic"))
    microphones.control("busymic", "ebusy")
    configured = microphones.environment | {"RAVATAR_STATE_DIR": str(tmp_path)}
    _, found = examine(configured, "--no-platform", "--device", "usbmic", "--rate", "96000")
    assert found["constraints"]["state"] == "warning"
    assert "it has 48000 Hz" in found["constraints"]["text"]
    assert "usbmic: 48000 Hz" in found["capture"]["text"]
    assert found["losses"]["text"] == "no overrun, nothing lost in 2 s"
    assert found["DC offset"]["state"] == "warning", "a ramp is never below zero"
    drift_ppm, error_ppm = map(float, re.findall(r"[+-]?\d+", found["clock drift"]["text"])[:2])
    assert abs(drift_ppm) < 500 + error_ppm, "the microphone's clock is the system's"
    code, found = examine(configured, "--no-platform", "--device", "busymic")
    assert (code, found["microphone"]["state"]) == (3, "problem")
    assert found["microphone"]["text"].startswith("media_in_use")
    assert found["capture"]["state"] == "skipped"


@pytest.mark.device
def test_a_sound_server_that_hangs_does_not_hang_the_doctor(
    pulse_server: SoundServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    configured = pulse_server.environment | {"RAVATAR_STATE_DIR": str(tmp_path / "state")}
    pulse_server.pause()
    code, found = examine(configured, "--no-platform")
    assert code == 6, "the process is ended by force"
    assert found["sound server"]["state"] == found["devices"]["state"] == "problem"
    assert "takes connections, and that is all: no answer in 2 s" in found["sound server"]["text"]
    assert found["microphone"]["state"] == "skipped"


@pytest.mark.device
def test_a_sound_server_of_another_session_is_told_as_such(
    pulse_server: SoundServer,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "own").mkdir()
    kept = {name: value for name, value in pulse_server.environment.items() if not name.startswith("PULSE_")}
    configured = kept | {"RAVATAR_STATE_DIR": str(tmp_path / "state"), "XDG_RUNTIME_DIR": str(tmp_path / "own")}
    _, found = examine(configured | {"PIPEWIRE_RUNTIME_DIR": str(tmp_path / "own")}, "--no-platform")
    assert "in another session of this user" in found["sound server"]["text"]
    assert "another session" in found["devices"]["text"]
    assert "XDG_RUNTIME_DIR=" in found["sound server"]["advice"]


FORBID = """\
set -e
mount -t tmpfs none "$1"
mknod -m 666 "$1/null" c 1 3
mknod -m 666 "$1/urandom" c 1 9
mkdir -m 1777 "$1/shm"
mkdir "$1/snd"
mknod -m 660 "$1/snd/pcmC1D0c" c 116 24
chgrp audio "$1/snd/pcmC1D0c"
mount --bind "$1" /dev
echo ready
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$2" -m ravatar_audio doctor --no-platform --json
"""


def test_a_user_who_may_not_open_the_microphones_is_told_which_group_may(tmp_path: Path) -> None:
    """With the real kernel's permissions: a /dev of the test's own, and a user who is in no group."""
    (tmp_path / "dev").mkdir()
    bare = {"PATH": os.environ["PATH"], "RAVATAR_STATE_DIR": "/dev/shm/state", "HOME": "/dev/shm"}
    command = ["unshare", "-m", "sh", "-c", FORBID, "sh", str(tmp_path / "dev"), sys.executable]
    result = subprocess.run(command, env=bare, cwd="/", capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if not result.stdout.startswith("ready") or "Permission denied" in result.stderr:
        pytest.skip(f"this user cannot make a /dev of its own, or nobody cannot run this Python: {result.stderr}")
    answer = json.loads(result.stdout.removeprefix("ready\n"))
    found = {item["name"]: item for item in answer["findings"]}
    assert result.returncode == answer["exit_code"] == 3
    assert found["permission"]["state"] == found["devices"]["state"] == "problem"
    assert found["permission"]["text"].startswith("permission_denied: nobody may not open pcmC1D0c")
    assert "usermod -aG audio nobody" in found["permission"]["advice"]
    assert found["priority"]["state"] == "warning", "nor may it take a real-time priority"


@pytest.mark.parametrize(
    ("headers", "forbidden_by"),
    [
        ({}, ""),
        ({"X-Frame-Options": "DENY"}, "X-Frame-Options DENY"),
        ({"x-frame-options": "sameorigin"}, "X-Frame-Options sameorigin"),
        ({"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"}, "frame-ancestors 'none'"),
        ({"Content-Security-Policy": "frame-ancestors *", "X-Frame-Options": "DENY"}, ""),
        ({"Content-Security-Policy": "default-src 'self'"}, ""),
    ],
)
@pytest.mark.row("meet a black streaming page")
def test_who_forbids_framing(headers: dict[str, str], forbidden_by: str) -> None:
    assert forbids_framing(headers) == forbidden_by
