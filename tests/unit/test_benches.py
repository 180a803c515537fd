"""The benches' harness: histograms, turns, progress, the JSON and its schema, and pictures from the JSON alone."""

import ast
import json
import math
import os
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.report import plots, results
from benches.report.distribution import Distribution
from benches.rig import harness
from benches.rig.harness import Missing, Report, interleave, percentile, running
from tests.conftest import ROOT, examples

BENCHES = ROOT / "benches"


def full_report() -> Report:
    """One of everything."""
    report = Report("example", "How good is it?")
    report.percentiles("ours", [1.0, 2.0, 3.0, 40.0], "us", {50: 5.0, 100: 30.0}, plot="hand-off")
    report.at_least("ratio", 2.5, "x", 2.0, repeats=[2.4, 2.5, 2.6])
    report.at_most("nothing", None, "ms", 1.0)
    report.series("memory", [0, 1, 2], {"resident": [3.0, math.nan, 3.1]}, x_label="time, s", y_label="MB", limit=4)
    report.stages("where", {"idle": {"block": 10, "filter": 3.4}, "busy": {"block": 10, "filter": 3.5}}, "ms")
    report.comparison("CPU", {"ours": 20.0, "usual": 90.0, "other": None}, "us", limit=25)
    report.note("a remark")
    report.lacks("other", "is not installed")
    return report


@examples(100)
@given(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=200), st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.99, 100.0]))
def test_a_histogram_tells_percentiles_to_a_thousandth(values: list[float], percent: float) -> None:
    made = Distribution.of("made", values, "us")
    exact = np.percentile(values, percent, method="inverted_cdf")
    assert made.percentile(percent) == pytest.approx(exact, rel=2e-3, abs=2e-3)
    again = Distribution.from_dict(json.loads(json.dumps(made.as_dict())))
    assert again.percentile(percent) == made.percentile(percent)
    assert again.max == max(values)


def test_values_may_come_with_their_counts() -> None:
    made = Distribution.of("made", {1.0: 98, 7.0: 2}, "ms")
    assert (made.count, made.max) == (100, 7.0)
    assert made.percentile(50) == pytest.approx(1.0, rel=1e-3)
    assert made.percentile(99) == pytest.approx(7.0, rel=1e-3)


def test_the_interval_of_a_percentile_holds_it_in_nineteen_of_twenty_runs() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        low, high = Distribution.of("made", rng.exponential(100, 500), "us").interval(90)
        held += low <= 100 * math.log(10) <= high
    assert held > 88


@pytest.mark.parametrize("values", [[math.nan], [math.inf]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Distribution.of("made", values, "us")


def test_no_values_have_no_percentiles() -> None:
    made = Distribution.of("made", [], "us")
    assert math.isnan(made.percentile(50))
    assert made.as_dict()["percentiles"] == {}


@examples(100)
@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0, 100))
def test_percentile_is_one_of_the_values(values: list[int], percent: float) -> None:
    assert percentile(values, percent) in values
    assert percentile(values, 0) == min(values)
    assert percentile(values, 100) == max(values)


def test_only_percentiles_that_the_count_supports_are_figures() -> None:
    report = Report("example")
    report.percentiles("few", range(50), "us")
    report.percentiles("many", range(1_000), "us")
    figures = [row.figure for row in report.rows]
    assert figures == [f"few, {p}" for p in ("p50", "p90", "max")] + [
        f"many, {p}" for p in ("p50", "p90", "p99", "p99.9", "max")
    ]


def test_each_contender_runs_in_each_round_and_none_always_begins() -> None:
    order: list[str] = []
    got = interleave({name: partial(order.append, name) for name in "abc"}, rounds=5, warm_up=1)
    assert {name: len(values) for name, values in got.items()} == {"a": 5, "b": 5, "c": 5}
    rounds = [order[at : at + 3] for at in range(0, 18, 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert {each[0] for each in rounds} == {"a", "b", "c"}


def test_progress_reaches_whoever_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv(harness.PROGRESS_FD, str(writer))
    interleave({"ours": lambda: 1}, rounds=3)
    harness.progress(2.0)
    os.close(writer)
    with os.fdopen(reader) as lines:
        assert lines.read().splitlines() == ["0.0000 ours", "0.2500 ours", "0.5000 ours", "0.7500 ours", "1.0000 "]


def test_the_json_is_what_the_schema_says(tmp_path: Path) -> None:
    data = results.check(full_report().as_dict())
    results.write(data, tmp_path / "example.json")
    assert results.read(tmp_path / "example.json") == data
    assert results.read_all(tmp_path) == {"example": data}
    rows = {row["figure"]: row["reached"] for row in data["rows"]}
    assert rows["ours, p50"] is True
    assert rows["ours, max"] is False
    assert rows["ratio"] is True
    assert rows["nothing"] is None
    assert data["series"][0]["lines"]["resident"] == [3.0, None, 3.1]
    assert {"python", "openssl", "load", "load_after"} <= set(data["machine"])
    assert "ravatar-audio" in data["machine"]["packages"]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"schema": 2}, "schema"),
        ({"rows": [{"figure": "x"}]}, "rows/0"),
        ({"more": 1}, "the top"),
        ({"bench": "../x"}, ""),
    ],
)
def test_what_is_not_a_benchs_json_is_refused_with_the_place(
    tmp_path: Path, change: dict[str, object], where: str
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(full_report().as_dict() | change))
    with pytest.raises(ValueError, match=f"x.json: not a bench's JSON, at .*{where}"):
        results.read(tmp_path / "x.json")


def test_an_empty_folder_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scripts/bench --json"):
        results.read_all(tmp_path)


def test_a_bench_that_cannot_run_here_says_why_and_does_not_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["example", "--quick", "--json", str(tmp_path / "example.json")])
    with running("example", "How long? And more.") as (report, options):
        report.at_most("before", 1.0, "us")
        assert options.quick
        raise Missing("needs a compiler: sudo apt-get install gcc")
    assert "missing: example: needs a compiler" in capsys.readouterr().out
    data = results.read(tmp_path / "example.json")
    assert (data["question"], data["quick"]) == ("How long?", True)
    assert data["command"] == "python -m benches.example --quick"


def test_pictures_are_made_from_the_json_alone(tmp_path: Path) -> None:
    data = json.loads(json.dumps(full_report().as_dict()))
    drawn = dict(plots.pictures(data))
    assert list(drawn) == ["where", "hand-off", "memory", "CPU"]
    for svg in drawn.values():
        assert svg.startswith("<svg")
        assert not re.search(r'(href|src)="(?!#)', svg), "nothing may be fetched"
    assert "missing" in drawn["CPU"]
    files = plots.draw_all(data, tmp_path)
    assert [file.name for file in files] == [
        "example-where.svg",
        "example-hand-off.svg",
        "example-memory.svg",
        "example-cpu.svg",
    ]
    assert [file.read_text() for file in files] == list(drawn.values()), "the same JSON makes the same pictures"


NEEDS_A_CHECKOUT = {"resample.py"}
"""It compiles the core's units in several ways; a wheel has not their source."""


@pytest.mark.parametrize("path", sorted(BENCHES.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCHES)))
def test_a_bench_finds_the_others_in_a_wheel_too(path: Path) -> None:
    """There they are ravatar_audio.benches, and there are no tests."""
    barred = {"benches"} if path.name in NEEDS_A_CHECKOUT else {"benches", "tests"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            assert str(node.module).split(".")[0] not in barred, f"{node.module}: import relatively, and no tests"
