"""A real Prometheus scrapes the installed command, and its alerts fire while a fault goes on."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..conftest import HANG_LIMIT_S, needs, starts_a_process

RULES = Path(__file__).parents[2] / "docs" / "howto" / "metrics" / "alerts.yml"


@contextmanager
def program(command: list[str], log: Path, **given: Any) -> Iterator[subprocess.Popen[str]]:
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, text=True, **given) as running:
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()


def wait_for(ask: Callable[[], Any], what: str, log: Path) -> Any:
    deadline_s = time.monotonic() + HANG_LIMIT_S
    while not (found := ask()):
        assert time.monotonic() < deadline_s, f"{what}\n{log.read_text()}"
        time.sleep(0.2)  # another program's state: there is no event for it
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@starts_a_process
def test_prometheus_shows_a_fault_and_the_alert_fires_and_both_end_with_it(tmp_path: Path) -> None:
    needs("prometheus")
    python = [sys.executable, "-m", "ravatar_audio"]
    api_port, web_port = free_port(), free_port()
    (tmp_path / "alerts.yml").write_text(RULES.read_text().replace("for: 15s", "for: 1s"))
    emulator = [*python, "emulator", "--port", str(api_port), "--wav-dir", str(tmp_path / "heard")]
    environment = os.environ | {"RAVATAR_API_URL": f"http://127.0.0.1:{api_port}", "RAVATAR_STATE_DIR": str(tmp_path)}
    live = [
        *python,
        "live",
        "--source",
        "synthetic:speech",
        "--metrics-prometheus",
        "0",
        "--outbox-ms",
        "512",
        "--renew",
    ]
    said = tmp_path / "live.log"

    def ask(path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{web_port}/api/v1/{path}", timeout=10) as answer:
                return json.load(answer)["data"]
        except (urllib.error.URLError, ConnectionError):
            return None

    def value(query: str) -> float | None:
        found = ask(f"query?query={urllib.request.quote(query)}")  # type: ignore[attr-defined]
        return float(found["result"][0]["value"][1]) if found and found["result"] else None

    def firing() -> list[str]:
        return [item["labels"]["alertname"] for item in (ask("alerts") or {"alerts": []})["alerts"]
                if item["state"] == "firing"]  # fmt: skip

    with program(emulator, tmp_path / "emulator.log") as platform:
        wait_for(lambda: "127.0.0.1" in (tmp_path / "emulator.log").read_text(), "emulator", tmp_path / "emulator.log")
        with program(live, said, env=environment):
            found = wait_for(lambda: re.search(r"http://127\.0\.0\.1:(\d+)/metrics", said.read_text()), "page", said)
            (tmp_path / "prometheus.yml").write_text(
                "global: {scrape_interval: 500ms, evaluation_interval: 500ms}\nrule_files: [alerts.yml]\n"
                f"scrape_configs: [{{job_name: r, static_configs: [{{targets: ['127.0.0.1:{found[1]}']}}]}}]\n"
            )
            server = [
                "prometheus",
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path}/db",
            ]
            server += [f"--web.listen-address=127.0.0.1:{web_port}"]
            log = tmp_path / "prometheus.log"
            with program(server, log):
                wait_for(lambda: value("ravatar_session_link_up") == 1.0, "the link is up", log)
                assert "RavatarLinkDown" not in firing()
                platform.kill()
                wait_for(lambda: value("ravatar_session_link_up") == 0.0, "the link is down", log)
                wait_for(lambda: "RavatarLinkDown" in firing(), "the alert fires", log)
                lost = 'ravatar_samples_lost_total{ravatar_cause="outbox"}'
                wait_for(lambda: (value(lost) or 0) > 16_000, "what is lost shows", log)
                wait_for(lambda: "RavatarSoundLost" in firing(), "that alert fires as well", log)
                with program(emulator, tmp_path / "again.log"):
                    wait_for(lambda: value("ravatar_session_link_up") == 1.0, "the link is back", log)
                    wait_for(lambda: "RavatarLinkDown" not in firing(), "the alert ends", log)


@starts_a_process
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    needs("promtool")
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 rules found" in done.stdout


@pytest.mark.parametrize("name", ["live", "kiosk"])
@starts_a_process
def test_the_help_has_the_options(name: str) -> None:
    command = [sys.executable, "-m", "ravatar_audio", name, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for option in ("--metrics-prometheus", "--metrics-otlp"):
        assert option in done.stdout


@starts_a_process
def test_the_kiosks_port_has_the_metrics_of_its_sessions(tmp_path: Path) -> None:
    port, taken, said = free_port(), socket.socket(), tmp_path / "kiosk.log"
    with taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "ravatar_audio", "kiosk", "--demo", "--port", str(port)]
        command += ["--metrics-prometheus", str(taken.getsockname()[1]), "--record", str(tmp_path / "r")]

        def page() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return str(answer.read().decode())
            except (urllib.error.URLError, ConnectionError):
                return ""

        environment = os.environ | {"RAVATAR_STATE_DIR": str(tmp_path)}
        with program(command, said, env=environment):
            wait_for(lambda: "ravatar_session_link_up 1.0" in page(), "a session is up", said)
            written = re.compile(r'ravatar_frames_total\{ravatar_state="written"\} [1-9]')
            wait_for(lambda: written.search(page()), "frames are written", said)
            wait_for(lambda: any(path.stat().st_size for path in (tmp_path / "r").glob("*.mcap")), "recorded", said)
    text = said.read_text()
    assert "Address already in use" in text, "a port that is taken is said, and ends nothing"
    assert "Traceback" not in text
