"""What is made of the benches' JSON: the comparison of two runs, the page, the README's table, the sum of a run."""

import json
import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from benches import compare, readme, suite
from benches.report import page as report_page
from benches.report import results
from benches.report.questions import BY_NAME, SUITE
from benches.report.results import Report
from benches.rig import one
from ravatar_audio.cli import cli
from tests.conftest import ROOT

Run = dict[str, dict[str, Any]]


def run_of(add: Callable[[Report], object], bench: str = "example") -> Run:
    """A run of one bench, through JSON."""
    made = Report(bench, "How good is it?")
    add(made)
    data: dict[str, Any] = json.loads(json.dumps(results.check(made.as_dict())))
    return {bench: data}


def verdicts(base: Callable[[Report], object], head: Callable[[Report], object]) -> dict[str, str]:
    return {change.figure: change.verdict for change in compare.changes(run_of(base), run_of(head))}


def with_repeats(value: float, spread: float, *, large_is_good: bool = False) -> Callable[[Report], object]:
    repeats = [value + spread * offset for offset in (-1, -0.5, 0, 0.5, 1)]

    def add(made: Report) -> None:
        (made.at_least if large_is_good else made.at_most)("figure", value, "us", repeats=repeats)

    return add


@pytest.mark.parametrize(
    ("base", "head", "spread", "large_is_good", "verdict"),
    [
        (100, 130, 1, False, "worse"),
        (100, 70, 1, False, "better"),
        (100, 130, 40, False, "same"),
        (100, 105, 0.1, False, "same"),
        (100, 70, 1, True, "worse"),
        (100, 130, 1, True, "better"),
        (0, 5, 0, False, "worse"),
    ],
)
def test_only_a_move_beyond_noise_and_floor_counts(
    base: float, head: float, spread: float, large_is_good: bool, verdict: str
) -> None:
    found = verdicts(
        with_repeats(base, spread, large_is_good=large_is_good), with_repeats(head, spread, large_is_good=large_is_good)
    )
    assert found == {"figure": verdict}


def test_a_figure_without_repeats_is_shown_and_never_counts() -> None:
    assert verdicts(lambda r: r.at_most("once", 1, "s"), lambda r: r.at_most("once", 3, "s")) == {"once": "moved"}


def test_the_same_code_twice_is_no_regression_and_a_slower_tail_is_one() -> None:
    rng = np.random.default_rng(3)

    def delays(scale: float, tail: float = 1.0) -> Callable[[Report], object]:
        values = rng.lognormal(0, 0.4, 5_000) * scale
        values[:100] *= tail
        return lambda made: made.percentiles("delay", values.tolist(), "ms")

    assert verdicts(delays(1), delays(1)) == {"delay, p50": "same", "delay, p99": "same"}
    assert verdicts(delays(1), delays(1.3)) == {"delay, p50": "worse", "delay, p99": "worse"}
    assert verdicts(delays(1), delays(1, tail=8)) == {"delay, p50": "same", "delay, p99": "worse"}


def place(folder: Path, run: Run) -> Path:
    for bench, data in run.items():
        results.write(data, folder / f"{bench}.json")
    return folder


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, ["bench", *map(str, words)])


def test_compare_exits_with_one_when_something_became_worse(tmp_path: Path) -> None:
    base = place(tmp_path / "base", run_of(with_repeats(100, 1)))
    head = place(tmp_path / "head", run_of(with_repeats(130, 1)))
    worse = invoke("compare", base, head)
    assert worse.exit_code == 1
    assert "+30.0 %  example: figure: 100 → 130 us" in worse.output
    assert invoke("compare", base / "example.json", base).exit_code == 0
    (tmp_path / "none").mkdir()
    nothing = invoke("compare", base, tmp_path / "none")
    assert nothing.exit_code == 2
    assert "no bench's JSON" in nothing.output


class Links(HTMLParser):
    """What a page would fetch or run, and whether its elements are closed in order."""

    VOID = frozenset({"meta", "link", "img", "br", "hr", "input", "path", "use", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.outside.append(tag)
        self.outside += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "xlink:href")
                         and not (value or "").startswith("#")]  # fmt: skip
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def everything(made: Report) -> None:
    made.percentiles("<ours>", [1.0, 2.0, 40.0], "us", {50: 5.0, 100: 30.0}, plot="hand-off")
    made.at_least("loss", -98.5, "dB", -100)
    made.stages("where", {"idle": {"block": 10, "filter": 3.4}}, "ms")
    made.lacks("other", "is not installed & so on")


def test_the_page_holds_everything_and_fetches_nothing(tmp_path: Path) -> None:
    page = report_page.write_page(place(tmp_path, run_of(everything))).read_text()
    links = Links()
    links.feed(page)
    assert links.outside == []
    assert links.open == []
    assert page.count("<svg") == 2
    assert "&lt;ours&gt;, max" in page
    assert "is not installed &amp; so on" in page
    assert "@import" not in page
    assert "url(" not in page.replace("url(#", "")


def test_the_page_puts_goals_that_were_not_reached_first(tmp_path: Path) -> None:
    page = report_page.write_page(place(tmp_path, run_of(everything))).read_text()
    assert "<b>2 of 3</b>" in page
    assert page.index("Not reached") < page.index("All goals") < page.index('id="example"')


@pytest.mark.parametrize(
    ("value", "goal", "goal_is", "share"),
    [(5, 10, "at_most", 0.5), (20, 10, "at_most", 2.0), (20, 10, "at_least", 0.5), (-98.5, -98, "at_most", 0.99492)],
)
def test_the_bar_of_a_goal_is_full_when_all_that_is_allowed_is_used(
    value: float, goal: float, goal_is: str, share: float
) -> None:
    row = {"value": value, "goal": goal, "goal_is": goal_is}
    assert report_page.Goal("example", row).share == pytest.approx(share, rel=1e-3)


def test_the_sum_of_a_run_names_what_was_not_reached() -> None:
    (data,) = run_of(everything).values()
    lines = suite.summary([data]).splitlines()
    assert re.match(r"example +2/3 ", lines[1])
    assert "NOT reached: <ours>, max: 40 us (goal ≤ 30)" in lines[1]
    assert "missing: other" in lines[-1]


def test_every_file_that_is_a_bench_is_in_the_suite() -> None:
    for file in (ROOT / "benches").glob("*.py"):
        is_bench = re.search(rf'(running|arguments)\("{file.stem}"', file.read_text())
        assert bool(is_bench) == (file.stem in (*SUITE, *BY_NAME)), file.name


def test_the_list_has_a_question_for_each_bench() -> None:
    lines = invoke("--list").output.splitlines()
    assert [line.split()[0] for line in lines] == suite.available()
    assert all(len(line.split()) > 3 for line in lines)


def test_what_there_is_not_is_told_with_what_there_is() -> None:
    result = invoke("nonsense")
    assert result.exit_code == 2
    assert "there is no bench nonsense; there are: callback" in result.output


def test_a_bench_that_breaks_down_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def run_one(name: str, words: Sequence[str], **more: object) -> str | None:
        if name == "ring":
            return "exit code 1, OSError"
        results.write(run_of(everything, name)[name], Path(words[-1]))
        return None

    monkeypatch.setattr(suite, "run_one", run_one)
    monkeypatch.setattr(suite, "SUITE", ("ring", "turn"))
    with pytest.raises(SystemExit) as end:
        suite.run([], quick=True, json_dir=tmp_path, plot_dir=None)
    assert end.value.code == 1
    told = capfd.readouterr()
    assert "turn" in told.out
    assert "ring broke down: exit code 1, OSError" in told.err


def test_a_package_that_is_missing_is_named_with_its_command() -> None:
    assert one.reason("trustme") == "needs a package that is not installed: pip install trustme"
    assert "in a checkout" in one.reason("tests")


@pytest.mark.parametrize("name", readme.DOCUMENTS)
def test_the_documents_tell_the_figures_of_the_run_that_is_kept(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text == readme.rendered(text, *readme.kept(ROOT)), "run: python -m benches.readme"
    assert readme.MARKS.search(text)


def test_every_picture_that_a_document_shows_is_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in readme.PICTURE.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / "figures" / f"{name}.svg").exists(), f"{page.name}: {name}"


def test_a_line_of_the_readme_shows_its_figures_goal_and_command() -> None:
    def add(made: Report) -> None:
        made.at_most("ready to written, idle, wss, ours, p50", 300.4, "us", 320)
        made.at_most("ready to written, idle, wss, ours, p99", 512.0, "us", 450)

    table = "".join(readme.goals(run_of(add, "latency"), {}))
    line = "| 300 / 512 µs | ≤ 320 / 450 | **not reached** | `python -m benches.latency` |"
    assert line in table
    assert "| one live wss stream: CPU | - |  | **not measured** | `python -m benches.footprint` |" in table
    half = "".join(readme.goals(run_of(lambda made: made.at_most("wss_ours", 20.0, "us", 25), "message"), {}))
    assert "| 20 µs | ≤ 25 | **not all measured** | `python -m benches.message` |" in half
    assert "footprint: CPU, ours, wss" in readme.lacking(run_of(add, "latency"))


def test_a_goal_that_one_machine_meets_and_another_does_not_is_shown_with_both() -> None:
    def on(cpu: str, kernel: str, value: float) -> dict[str, dict[str, Any]]:
        made = run_of(lambda report: report.at_most("wss_ours_to_floor", value, "ratio", 1.35), "message")
        made["message"]["machine"] |= {"cpu": cpu, "kernel": kernel, "load": 0.25}
        return made

    first, slower, alike = on("Old", "sse2", 1.2), on("New", "avx2", 1.5), on("New", "avx2", 1.3)
    assert "| 1.2 | ≤ 1.35 | reached; 1.5 and **not reached** on New (avx2) |" in "".join(readme.goals(first, slower))
    assert "| 1.5 | ≤ 1.35 | **not reached**; 1.2 and reached on Old (sse2) |" in "".join(readme.goals(slower, first))
    table = "".join(readme.goals(first, alike))
    assert "| 1.2 | ≤ 1.35 | reached |" in table
    assert "\nMeasured on Old (sse2), " in table
    assert "\nCompared with New (avx2), " in table
    assert ", load 0.2 to 0.2, quick" in table or ", load 0.2 to 0.2." in table


def test_the_second_run_is_kept_beside_the_first(tmp_path: Path) -> None:
    readme.keep(run_of(everything), tmp_path)
    readme.keep_second(run_of(everything, "other"), tmp_path)
    run, second = readme.kept(tmp_path)
    assert (list(run), list(second)) == (["example"], ["other"])


def test_keeping_a_run_keeps_what_documents_show(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("![x](figures/example-where.svg)")
    readme.keep(run_of(everything), tmp_path)
    kept = sorted(file.name for file in (tmp_path / "docs" / "figures").iterdir())
    assert kept == ["example-where.svg", "example.json"]
    data = results.read(tmp_path / "docs" / "figures" / "example.json")
    assert [row["figure"] for row in data["rows"]] == ["<ours>, p50", "<ours>, max", "loss"]
    assert data["distributions"] == []
