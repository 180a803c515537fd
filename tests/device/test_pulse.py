"""Behind a sound server: its microphone is found, and a tone comes through with its level and nothing else."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravatar_audio.capture.servers.sources import ask_server
from tests.device.microphones import run_child
from tests.device.servers import RATE_HZ, SoundServer, served
from tests.device.test_microphone import CHILD, spectrum_dbfs
from tests.device.watched import Watched

pytestmark = pytest.mark.device

STOPPED_S = 60 if os.environ.get("RAVATAR_TEST_ROUNDS") else 4


def test_a_tone_comes_through_a_sound_server(pulse_server: SoundServer, tmp_path: Path) -> None:
    pulse_server.unplug()
    pulse_server.plug(48_000, 2)
    # Made within the server, at half of full scale: a player is a process of its own, and stumbles under load.
    assert pulse_server.command("load-module", "module-sine", "frequency=1000", "sink=speaker").returncode == 0
    streams = [
        {"name": "server", "device": "usbmic", "rate_hz": 48_000, "channels": 2, "channels_heard": [0]},
        {"name": "default", "rate_hz": 44_100, "channels": 1, "format": "float32"},
        {"name": "its own rate", "channels": 1},
    ]
    answer = run_child(pulse_server, CHILD, {"folder": str(tmp_path), "seconds": 5.0, "streams": streams}, limit_s=60)
    assert answer["streams"]["its own rate"]["rate_hz"] == 48_000, "the source's, not PortAudio's default"
    for name, heard in answer["streams"].items():
        assert heard["backend"] == "pulse", name
        assert heard["ring_dropped_samples"] == heard["pending_samples"] == heard["device_overruns"] == 0, name
        assert heard["device_samples"] > 4 * heard["rate_hz"]
        levels, _ = spectrum_dbfs((tmp_path / f"{name}.pcm").read_bytes())
        assert abs(levels[1_000] - 20 * math.log10(0.5)) < 0.05, name
        assert np.max(np.delete(levels, range(998, 1_003))) < -80, name


@pytest.mark.parametrize(("name", "keeps_time"), [("pulse_server", True), ("pipewire_server", False)])
def test_which_servers_capture_times_are_believed(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str, keeps_time: bool
) -> None:
    for key, value in request.getfixturevalue(name).environment.items():
        monkeypatch.setenv(key, value)
    assert ask_server().keeps_time is keeps_time


def refused(server: SoundServer, *, as_nobody: bool = False) -> dict[str, Any]:
    request = {"microphone": {"device": "usbmic"}, "control": "", "steps": [], "limit_s": 20, "as_nobody": as_nobody}
    return run_child(server, "tests.device.fault_child", request, limit_s=40)


@pytest.mark.parametrize("name", ["pulse_server", "pipewire_server"])
@pytest.mark.fault("permission refused", "pulse", "pipewire")
def test_a_server_of_somebody_else_is_told_as_such(name: str, request: pytest.FixtureRequest) -> None:
    server: SoundServer = request.getfixturevalue(name)
    runtime = server.socket.parent
    runtime.chmod(0)  # for whoever is not root
    try:
        answer = refused(server, as_nobody=True)
    finally:
        runtime.chmod(0o700)
    assert answer["error"] == "permission_denied", answer
    assert str(server.socket) in answer["message"]
    assert answer["advice"]


def test_a_source_that_the_server_lost_and_a_server_that_is_gone_are_told_apart(pulse_server: SoundServer) -> None:
    assert pulse_server.command("unload-module", "module-remap-source").returncode == 0
    lost = refused(pulse_server)
    assert lost["error"] == "no_specified_media_found"
    assert "no such source" in lost["message"]
    assert "ravatar-audio devices" in lost["advice"]
    assert "'portaudio_code': -9999, 'host_code': -5" in lost["details"], "the libraries' codes are kept"
    pulse_server.kill()
    gone = refused(pulse_server)
    assert gone["error"] == "no_specified_media_found"
    assert "no sound server answers" in gone["message"]
    assert "pulseaudio --start" in gone["advice"]
    assert "ECONNREFUSED" in gone["details"]


@pytest.mark.parametrize("name", ["pulse_hardware", "pipewire_hardware"])
def test_a_server_that_is_stopped_holds_up_no_call_of_ours(request: pytest.FixtureRequest, name: str) -> None:
    server: SoundServer = request.getfixturevalue(name)
    command = [sys.executable, "-m", "tests.device.stopped_child", str(STOPPED_S)]
    with subprocess.Popen(command, env=server.environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "hears\n"
        server.pause()
        try:
            answer = json.loads(process.stdout.readline())
        finally:
            server.go_on()
    assert {"stalled", "reopening"} <= set(answer["events"])
    print(answer["longest_s"])
    assert all(longest_s < 0.010 for longest_s in answer["longest_s"].values()), answer["longest_s"]


def test_a_microphone_that_a_server_serves_needs_no_pyaudio(pulse_server: SoundServer) -> None:
    """Nor does the list of devices; as where PortAudio is not installed."""
    code = (
        "import sys, trio; sys.modules['pyaudio'] = None\n"
        "from ravatar_audio import capture\n"
        "listed = [device.selector for device in capture.list_devices()]\n"
        "async def main():\n"
        "    async with capture.Microphone() as microphone:\n"
        "        print(listed, microphone.backend, (await microphone.__anext__()).length_samples)\n"
        "trio.run(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=pulse_server.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "['pulse:usbmic', 'pulse:speaker.monitor'] pulse 4096\n", done.stderr


@pytest.mark.parametrize("name", ["pulse_server", "pipewire_server"])
def test_sources_are_listed_by_names_that_last(request: pytest.FixtureRequest, name: str) -> None:
    server: SoundServer = request.getfixturevalue(name)
    command = [sys.executable, "-m", "ravatar_audio", "devices", "--json"]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=60, check=True)
    devices = {device["source"]: device for device in json.loads(done.stdout) if device["source"]}
    microphone, monitor = devices["usbmic"], devices["speaker.monitor"]
    assert microphone["selector"] == "pulse:usbmic"
    assert (microphone["backend"], microphone["rate_hz"]) == ("pulse", RATE_HZ)
    assert microphone["host_api"] == ("PulseAudio" if name == "pulse_server" else "PipeWire")
    assert (microphone["is_default"], microphone["is_monitor"]) == (True, False)
    assert (monitor["is_default"], monitor["is_monitor"]) == (False, True)


def test_a_stream_that_the_server_moves_is_told_once(pulse_server: SoundServer) -> None:
    with Watched(pulse_server, device="usbmic") as watched:
        watched.until("frames")
        (output,) = pulse_server.streams()
        assert pulse_server.command("move-source-output", output, "speaker.monitor").returncode == 0
        told = watched.until("event", "source_changed")
        assert told["message"].endswith("from 'usbmic' to 'speaker.monitor'")
        watched.until("frames")
        assert pulse_server.command("move-source-output", output, "usbmic").returncode == 0
        assert watched.until("event", "source_changed")["message"].endswith("from 'speaker.monitor' to 'usbmic'")
        watched.until("frames")
        watched.finish()
    assert watched.count("source_changed") == 2


def test_the_doctor_tells_a_muted_source_of_a_running_server(pulse_server: SoundServer, tmp_path: Path) -> None:
    assert pulse_server.command("set-source-mute", "@DEFAULT_SOURCE@", "1").returncode == 0
    done = subprocess.run(
        [sys.executable, "-m", "ravatar_audio", "doctor", "--no-platform", "--json"],
        env={**pulse_server.environment, "RAVATAR_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = {item["name"]: item for item in json.loads(done.stdout)["findings"]}
    server, level = found["sound server"], found["level"]
    assert (server["state"], level["state"]) == ("warning", "warning")
    assert f"PulseAudio at {pulse_server.folder}/pulse/native answers" in server["text"]
    assert "default source usbmic" in server["text"]
    assert server["text"].endswith("muted")
    assert "set-source-mute" in server["advice"]
    assert level["text"].startswith("digital silence")
    assert found["microphone"]["text"].startswith(
        "the system's default is Remapped Monitor of Null Output; backend pulse"
    )


def test_a_server_that_does_not_start_leaves_no_process_behind(tmp_path: Path) -> None:
    class Broken(SoundServer):
        programs = ()

        def commands(self) -> list[tuple[list[str], str]]:
            runs = f"echo $$ > {tmp_path}/pid; touch {self.folder}/first; exec sleep 1000"
            return [(["sh", "-c", runs], "first"), (["false"], "second")]

    with pytest.raises(AssertionError):
        next(served(Broken, tmp_path / "broken", Broken))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text(encoding="ascii")), 0)
