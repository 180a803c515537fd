"""Metrics: every counter has a name or a reason, every name stands in docs/howto/metrics.md, and sums are right."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import CaptureStatistics
from ravatar_audio.errors import PaymentRequiredError
from ravatar_audio.observe import board
from ravatar_audio.observe.histogram import Distribution
from ravatar_audio.observe.metrics.provider import Provider
from ravatar_audio.observe.metrics.readings import Key, Readings
from ravatar_audio.observe.metrics.service import read_board
from ravatar_audio.observe.metrics.table import LEFT_OUT, METRICS, SHOWN, VALUES, Metric, MetricKind
from ravatar_audio.processing import VoiceStatistics
from ravatar_audio.session import LinkLost, LinkUp, LiveStatistics, TurnAnswered
from ravatar_audio.settings import Settings
from ravatar_audio.turns import GateStatistics, TurnEvent, TurnEventKind

from ..conftest import needs, starts_a_process
from ..frames import make_frame

DOCS = Path(__file__).parents[2] / "docs" / "howto"
PAGE = DOCS / "metrics.md"
SOURCES = {"live": LiveStatistics, "gate": GateStatistics, "capture": CaptureStatistics, "voice": VoiceStatistics}


def page_of_everything() -> str:
    """The Prometheus text with a value for each metric."""
    values: dict[Key, float] = {
        (metric.name, value): 1.0
        for metric in METRICS
        if metric.kind is not MetricKind.HISTOGRAM
        for value in (VALUES.get(metric.name, ("x",)) if metric.attribute else (None,))
    }
    provider = Provider(lambda: values)
    for metric in METRICS:
        if metric.kind is MetricKind.HISTOGRAM:
            provider.record(metric.name, 0.3)
    try:
        return provider.prometheus_text().decode()
    finally:
        provider.close()


def prometheus_names() -> dict[str, str]:
    """By OpenTelemetry's: the families of the page, told apart by their help."""
    found = dict(re.findall(r"^# HELP (\S+) (.*)$", page_of_everything(), re.MULTILINE))
    by_text = {text: name for name, text in found.items()}
    return {metric.name: by_text[metric.text] for metric in METRICS}


def row(metric: Metric, prometheus: str) -> str:
    values = ": " + ", ".join(VALUES[metric.name]) if metric.name in VALUES else ""
    attribute = f"`{metric.attribute}`{values}" if metric.attribute else ""
    return f"| `{metric.name}` | `{prometheus}` | {metric.kind} | {metric.unit} | {attribute} | {metric.text} |"


def test_each_counter_of_the_statistics_has_a_metric_or_a_reason_why_not() -> None:
    shown = {f"{item.source}.{item.field.partition('.')[0]}" for item in SHOWN}
    fields = {f"{name}.{field.name}" for name, kind in SOURCES.items() for field in dataclasses.fields(kind)}
    assert fields - shown - set(LEFT_OUT) == set(), "give them a metric in observe/metrics/table.py, or a reason"
    assert (shown | set(LEFT_OUT)) - fields == set()
    assert shown & set(LEFT_OUT) == set()


def test_names_are_unique_and_by_the_conventions_and_what_is_shown_is_in_the_table() -> None:
    by_name = {metric.name: metric for metric in METRICS}
    assert len(by_name) == len(METRICS)
    assert len({metric.text for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"[a-z][a-z0-9]*([._][a-z0-9]+)+", metric.name)
        assert not metric.name.endswith(("total", "count", "seconds", metric.unit.strip("{}"))), metric.name
        assert bool(metric.bounds) == (metric.kind is MetricKind.HISTOGRAM)
    for item in SHOWN:
        metric = by_name[item.metric]
        assert (item.value is None) == (metric.attribute is None), item
        assert item.value is None or item.value in VALUES[item.metric], item


def test_the_page_of_the_docs_has_every_name_as_the_code_has_it() -> None:
    """METRICS_PAGE=write makes the table anew."""
    names = prometheus_names()
    rows = "\n".join(row(metric, names[metric.name]) for metric in METRICS)
    text = PAGE.read_text(encoding="utf-8")
    table = re.search(r"(?<=\n\| --- \| --- \| --- \| --- \| --- \| --- \|\n).*?(?=\n\n)", text, re.DOTALL)
    assert table is not None
    if os.environ.get("METRICS_PAGE") == "write":
        PAGE.write_text(text[: table.start()] + rows + text[table.end() :], encoding="utf-8")
        return
    assert table[0] == rows


def expressions() -> list[str]:
    dashboard = json.loads((DOCS / "metrics" / "dashboard.json").read_text(encoding="utf-8"))
    drawn = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = re.findall(r"expr: (.*)", (DOCS / "metrics" / "alerts.yml").read_text(encoding="utf-8"))
    assert len(drawn) > 10
    assert len(rules) >= 10
    return drawn + rules


def test_the_dashboard_and_the_alerts_ask_for_names_and_labels_that_exist() -> None:
    page = page_of_everything()
    series = set(re.findall(r"^([a-z_A-Z]+)(?:\{| )", page, re.MULTILINE))
    labels = set(re.findall(r'[{,](\w+)="', page)) | {"instance"}
    for expression in expressions():
        asked = set(re.findall(r"\b(?:ravatar|hw)_\w+", expression))
        assert asked - series - labels == set(), expression


@starts_a_process
def test_prometheus_own_checker_takes_the_page() -> None:
    needs("promtool")
    done = subprocess.run(["promtool", "check", "metrics"], input=page_of_everything(), capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr  # 3: remarks about style, which are read below
    remarks = [line for line in done.stderr.splitlines() if line.strip()]
    assert all("dB" in line for line in remarks), "the decibel is the only unit that Prometheus has no base unit for"


class Session:
    """A session with the counters that the test wants."""

    def __init__(self, **given: object) -> None:
        empty = {field.name: 0 for field in dataclasses.fields(LiveStatistics)}
        empty |= {"dropped_samples": {"outbox": 0, "in_flight": 0, "refused": 0}}  # type: ignore[dict-item]
        empty |= {"age_newest": Distribution(), "age_oldest": Distribution()}  # type: ignore[dict-item]
        self.values = {**empty, **given}
        self.is_linked = True

    def observed(self) -> Mapping[str, object]:
        return {"live": LiveStatistics(**self.values)}  # type: ignore[arg-type]

    def redact(self, text: str) -> str:
        return text


def test_counters_go_on_over_sessions_that_end_and_queues_do_not() -> None:
    readings = Readings(lambda name, value: None)
    first, second = Session(taken_samples=100, pending_samples=7), Session(taken_samples=20, pending_samples=1)
    hears = [readings.for_session(), readings.for_session()]
    assert readings.snapshot()["ravatar.samples", "taken"] == 0
    hears[0].begun(first)
    hears[1].begun(second)
    both = readings.snapshot()
    assert (both["ravatar.samples", "taken"], both["ravatar.queue", "outbox"], both["ravatar.sessions", None]) == (
        120,
        8,
        2,
    )
    hears[0].ended(first)
    hears[0].ended(first)  # leaving twice counts once
    first.values["taken_samples"] = 999
    second.is_linked = False
    after = readings.snapshot()
    assert (after["ravatar.samples", "taken"], after["ravatar.queue", "outbox"]) == (120, 1)
    assert (after["ravatar.sessions", None], after["ravatar.session.link.up", None]) == (1, 0)
    hears[1].ended(second)
    assert readings.snapshot()["ravatar.samples", "taken"] == 120


def test_the_wait_for_an_answer_is_the_sessions_own_measure() -> None:
    recorded: list[tuple[str, float]] = []
    hears = (readings := Readings(lambda name, value: recorded.append((name, value)))).for_session()
    hears.happened(TurnEvent(TurnEventKind.ENDED, 5_000, 0, sound_samples=4_096))
    hears.happened(Reply(text="hello"))
    hears.happened(TurnAnswered(0.75, 0))
    assert recorded == [("ravatar.turn.sound", 0.256), ("ravatar.reply.latency", 0.75)]
    assert readings.snapshot()["ravatar.replies", None] == 1


def test_events_and_failures_are_counted_by_what_they_are() -> None:
    recorded: dict[str, float] = {}
    hears = (readings := Readings(recorded.__setitem__)).for_session()
    hears.happened(LinkUp(1, 0.25))
    hears.happened(LinkLost("gone", 1.0, 1.0, close_code=1011))
    hears.happened(LinkLost("gone", 1.0, 1.0, status=503))
    hears.happened(LinkLost("gone", 1.0, 1.0))
    hears.failed(PaymentRequiredError("no"))
    hears.failed(ValueError("no"))
    hears.captured(make_frame(3))
    hears.written(make_frame(0), 0, False)
    hears.written(make_frame(0), 0, True)
    values = readings.snapshot()
    assert [values["ravatar.session.link.losses", code] for code in ("1011", "503", "none")] == [1, 1, 1]
    assert values["ravatar.session.failures", PaymentRequiredError.code] == 1
    assert values["ravatar.session.failures", "_OTHER"] == 1
    assert values["ravatar.frames", "written"] == 1, "a repeat is counted by the statistics"
    assert recorded["ravatar.session.handshake"] == 0.25
    assert 0 <= recorded["ravatar.frame.headroom"] <= 120


def test_temperatures_are_read_from_the_kernels_zones(tmp_path: Path) -> None:
    for number, (name, text) in enumerate([("cpu-thermal", "48312"), ("gpu", "51000"), ("gpu", "50000"), ("bad", "?")]):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{name}\n")
        (zone / "temp").write_text(f"{text}\n")
    assert board.read_temperatures(tmp_path) == {"cpu-thermal": 48.312, "gpu": 51.0}
    assert board.read_temperatures(tmp_path / "nowhere") == {}


def test_a_pi_says_what_its_power_lacks_and_another_machine_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "read_temperatures", lambda: {"cpu-thermal": 81.5})
    monkeypatch.setattr(board, "read_power", lambda: board.parse_throttled("throttled=0x50005"))
    values = read_board(True)
    assert values["hw.temperature", "cpu-thermal"] == 81.5
    said = {kind: value for (name, kind), value in values.items() if name == "ravatar.machine.throttled"}
    assert said == {
        "under-voltage": 1.0,
        "ARM frequency capped": 0.0,
        "throttled": 1.0,
        "soft temperature limit active": 0.0,
    }
    assert set(read_board(False)) == {("hw.temperature", "cpu-thermal")}


@starts_a_process
@pytest.mark.parametrize("missing", ["opentelemetry", "prometheus_client"])
def test_without_the_extra_the_error_says_what_to_install(missing: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from ravatar_audio.cli import main\n"
        "main(['live', '--source', 'synthetic:tone', '--metrics-prometheus', '0'])\n"
    )
    environment = os.environ | {"RAVATAR_STATE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "ravatar-audio[metrics]" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_to_push_to_is_checked() -> None:
    assert Settings(metrics_otlp="HTTP://Collector:4318/v1/metrics").metrics_otlp == "http://collector:4318/v1/metrics"
    for bad in ("collector:4318", "http://user:secret@collector:4318/", "ftp://collector", ""):
        with pytest.raises(ValueError, match="metrics_otlp") as caught:
            Settings(metrics_otlp=bad)
        assert "secret" not in str(caught.value)
