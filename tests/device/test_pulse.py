"""Behind a sound server: its microphone is found, and a tone comes through with its level and nothing else."""

import json
import math
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from tests.device.microphones import HasEnvironment, run_child
from tests.device.pulse import PulseServer
from tests.device.test_microphone import CHILD, spectrum_dbfs

pytestmark = pytest.mark.device


def test_a_tone_comes_through_a_sound_server(pulse_server: PulseServer, tmp_path: Path) -> None:
    # Made within the server, at half of full scale: a player is a process of its own, and stumbles under load.
    assert pulse_server.command("load-module", "module-sine", "frequency=1000", "sink=speaker").returncode == 0
    streams = [
        {"name": "server", "device": "usbmic", "rate_hz": 48_000, "channels": 2, "heard": [0]},
        {"name": "default", "rate_hz": 44_100, "channels": 1, "format": "float32"},
        {"name": "its own rate", "channels": 1},
    ]
    answer = run_child(pulse_server, CHILD, {"folder": str(tmp_path), "seconds": 5.0, "streams": streams}, limit_s=60)
    assert answer["streams"]["its own rate"]["rate_hz"] == 48_000, "the source's, not PortAudio's default"
    for name, heard in answer["streams"].items():
        assert heard["backend"] == "portaudio", name
        assert heard["ring_dropped_samples"] == heard["pending_samples"] == heard["device_overruns"] == 0, name
        assert heard["device_samples"] > 4 * heard["rate_hz"]
        levels, _ = spectrum_dbfs((tmp_path / f"{name}.pcm").read_bytes())
        assert abs(levels[1_000] - 20 * math.log10(0.5)) < 0.05, name
        assert np.max(np.delete(levels, range(998, 1_003))) < -80, name


class Watched:
    """A running watch_child, whose lines are waited for."""

    def __init__(self, system: HasEnvironment, **microphone: Any) -> None:
        command = [sys.executable, "-m", "tests.device.watch_child", json.dumps(microphone)]
        self.process = subprocess.Popen(
            command,
            env=system.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.process.kill()
            self._reader.join()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def until(self, key: str, value: object = None) -> dict[str, Any]:
        """The next line that has this key, with this value if one is given."""
        while True:
            line = self._lines.get(timeout=30)
            assert line is not None, f"it ended without {key!r}: {self.seen}"
            self.seen.append(line)
            if key in line and value in (None, line[key]):
                return line

    def finish(self) -> dict[str, Any]:
        """End it; its last line."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        last = self.until("counts")
        assert self.process.wait(20) == 0
        return last


def test_a_sound_server_that_dies_and_comes_back_is_recovered_from(pulse_server: PulseServer) -> None:
    with Watched(pulse_server, device="usbmic") as watched:
        for _ in range(2):
            watched.until("frames")
            pulse_server.kill()
            watched.until("event", "reopening")
            pulse_server.start()
            watched.until("event", "reopened")
        watched.until("frames")
        last = watched.finish()
    captured, delivered, dropped, pending = last["counts"]
    assert captured == delivered + dropped + pending
    assert last["lost"] > 2 * 1_000, "the time without a server is counted as lost"


def test_a_suspended_source_is_noticed_and_comes_back(pulse_server: PulseServer) -> None:
    with Watched(pulse_server, device="usbmic", reopen_s=20) as watched:
        watched.until("frames")
        assert pulse_server.command("suspend-source", "usbmic", "1").returncode == 0
        watched.until("event", "stalled")
        assert pulse_server.command("suspend-source", "usbmic", "0").returncode == 0
        watched.until("event", "recovered")
        watched.until("frames")
        watched.finish()


def refused(pulse_server: PulseServer) -> dict[str, Any]:
    request = {"microphone": {"device": "usbmic"}, "control": "", "steps": [], "limit_s": 20}
    return run_child(pulse_server, "tests.device.fault_child", request, limit_s=40)


def test_a_source_that_the_server_lost_and_a_server_that_is_gone_are_told_apart(pulse_server: PulseServer) -> None:
    assert pulse_server.command("unload-module", "module-remap-source").returncode == 0
    lost = refused(pulse_server)
    assert lost["error"] == "no_specified_media_found"
    assert "no such source" in lost["message"]
    assert "pactl list short sources" in lost["advice"]
    assert "'portaudio_code': -9999, 'host_code': -5" in lost["details"], "the libraries' codes are kept"
    pulse_server.kill()
    gone = refused(pulse_server)
    assert gone["error"] == "no_specified_media_found"
    assert "no sound server answers" in gone["message"]
    assert "pulseaudio --start" in gone["advice"]
    assert "ECONNREFUSED" in gone["details"]


def test_a_stream_that_the_server_moves_is_told_once(pulse_server: PulseServer) -> None:
    with Watched(pulse_server, device="usbmic") as watched:
        watched.until("frames")
        output = next(
            line.split("\t")[0]
            for line in pulse_server.command("list", "short", "source-outputs").stdout.splitlines()
            if "ALSA" in line or ("\t" in line and line.split("\t")[2] != "-")
        )
        assert pulse_server.command("move-source-output", output, "speaker.monitor").returncode == 0
        told = watched.until("event", "source_changed")
        assert told["message"].endswith("from 'usbmic' to 'speaker.monitor'")
        watched.until("frames")
        assert pulse_server.command("move-source-output", output, "usbmic").returncode == 0
        assert watched.until("event", "source_changed")["message"].endswith("from 'speaker.monitor' to 'usbmic'")
        watched.until("frames")
        watched.finish()
    assert [line["event"] for line in watched.seen if "event" in line].count("source_changed") == 2


def test_a_source_that_goes_while_another_is_there_is_told_and_sound_goes_on(pulse_server: PulseServer) -> None:
    module = pulse_server.module("module-remap-source")
    with Watched(pulse_server, device="usbmic") as watched:
        watched.until("frames")
        assert pulse_server.command("unload-module", module).returncode == 0
        assert "speaker.monitor" in watched.until("event", "source_changed")["message"]
        watched.until("frames")
        last = watched.finish()
    captured, delivered, dropped, pending = last["counts"]
    assert captured == delivered + dropped + pending


def test_the_only_source_going_is_an_unplug_and_its_return_is_recovered_from(pulse_server: PulseServer) -> None:
    assert pulse_server.command("load-module", "module-null-sink", "sink_name=other").returncode == 0
    with Watched(pulse_server, device="usbmic", reopen_s=0.5) as watched:
        watched.until("frames")
        modules = [pulse_server.module("module-remap-source"), *pulse_server.modules("module-null-sink")]
        for module in modules:
            assert pulse_server.command("unload-module", module).returncode == 0
        watched.until("event", "reopening")
        sink = ("module-null-sink", "sink_name=speaker", "norewinds=1", "rate=48000", "channels=2", "format=s16le")
        assert pulse_server.command("load-module", *sink).returncode == 0
        remap = ("module-remap-source", "master=speaker.monitor", "source_name=usbmic")
        assert pulse_server.command("load-module", *remap).returncode == 0
        watched.until("event", "reopened")
        watched.until("frames")
        last = watched.finish()
    captured, delivered, dropped, pending = last["counts"]
    assert captured == delivered + dropped + pending
    assert last["lost"] > 1_000


def test_the_doctor_tells_a_muted_source_of_a_running_server(pulse_server: PulseServer, tmp_path: Path) -> None:
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
    assert found["microphone"]["text"].startswith("the system's default is default; backend portaudio")
