"""The pure parts of a load run: what is drawn, who comes when, which addresses, what is required, what it takes."""

import itertools
import random
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.errors import SettingsError
from ravatar_audio.load import Draw, LoadPlan, Requirement, Schedule, Workload, demand
from ravatar_audio.load.machine_clock import ClockOffset, ClockReading
from ravatar_audio.load.targets import check_targets
from ravatar_audio.load.workload import MODES
from ravatar_audio.observe.histogram import Histogram

# Draws and workloads.


@pytest.mark.parametrize(
    ("told", "mean_s"),
    [
        (3.0, 3.0),
        (0, 0.0),
        ({"constant": 2}, 2.0),
        ({"uniform": [1, 5]}, 3.0),
        ({"exponential": 4.0}, 4.0),
        ({"normal": [4, 0.5]}, 4.0),
        ({"lognormal": [4, 0.0]}, 4.0),
        ({"exponential": 4.0, "least": 100}, 100.0),
        ({"uniform": [10, 20], "most": 1}, 1.0),
    ],
)
def test_a_draw_is_what_the_file_says(told: Any, mean_s: float) -> None:
    draw = Draw.parse("x", told)
    assert draw.mean_s() == pytest.approx(mean_s, rel=0.1)
    assert Draw.parse("x", draw.as_dict()) == draw
    again = [[draw.draw(random.Random(seed)) for seed in range(20)] for _ in range(2)]
    assert again[0] == again[1], "the same seed gives the same"


@pytest.mark.parametrize(
    "told",
    [
        "3", True, None, [1], {}, {"uniform": [1]}, {"uniform": [5, 1]}, {"zipf": 2}, {"exponential": -1}, -1,
        {"uniform": [1, 2], "exponential": 3}, {"constant": 1, "least": 5, "most": 2}, 1e9, float("nan"),
        {"constant": True},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_draw_is_refused_by_the_fields_name(told: Any) -> None:
    with pytest.raises(SettingsError, match=r"speech\.pause_s"):
        Draw.parse("speech.pause_s", told)


FULL = """
[clients]
open = 1
ptt = 2
vad = 1
chat = 0.5
[arrivals]
process = "poisson"
seed = 7
[speech]
files = ["said.wav"]
synthetic = 2
length_s = 2
pause_s = {exponential = 3, least = 1}
lead_s = 0
[sessions]
hold_s = {uniform = [20, 40]}
away_s = 5
connect_s = 9
slot_wait_s = 1
reconnect_limit_s = 8
linger_s = 2
[chat]
text = "Hello?"
[settings]
width = 640
"""


def test_a_workload_is_read_and_goes_through_json_unchanged(tmp_path: Path) -> None:
    (tmp_path / "said.wav").write_bytes(b"RIFF")
    (tmp_path / "load.toml").write_text(FULL)
    workload = Workload.load(tmp_path / "load.toml")
    assert (workload.process, workload.seed, workload.text, workload.connect_s) == ("poisson", 7, "Hello?", 9)
    assert workload.files == (("said.wav", b"RIFF"),)
    assert Workload.from_dict(workload.as_dict()) == workload
    assert Workload.from_dict(Workload().as_dict()) == Workload()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[client]\nopen = 1", "Did you mean clients"),
        ("[clients]\nopne = 1", r"Did you mean clients\.open"),
        ("clients = 3", "it is a table"),
        ("[clients]\nopen = 0", "no share above 0"),
        ("[clients]\nopen = -1", r"clients\.open"),
        ("[arrivals]\nprocess = 'burst'", "even, poisson"),
        ("[speech]\nfiles = ['gone.wav']", r"gone\.wav"),
        ("[speech]\nfiles = 'a.wav'", "list of paths"),
        ("[speech]\nsynthetic = 0", r"speech\.synthetic"),
        ("[sessions]\nhold_s = 'long'", r"sessions\.hold_s"),
        ("[sessions]\nlinger_s = -1", r"sessions\.linger_s"),
        ("[chat]\ntext = ''", r"chat\.text"),
        ("[speech", "no TOML"),
    ],
)
def test_a_workload_that_says_something_else_is_refused(text: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "load.toml").write_text(text)
    with pytest.raises(SettingsError) as raised:
        Workload.load(tmp_path / "load.toml")
    import re

    assert re.search(named, f"{raised.value.message} {raised.value.advice}")


# The schedule.


@given(
    clients=st.integers(1, 60),
    ramp=st.floats(0.5, 100),
    length_s=st.floats(2, 100),
    step=st.integers(1, 7),
    process=st.sampled_from(["even", "poisson"]),
    hold=st.none() | st.floats(1, 20),
    seed=st.integers(0, 1_000),
)
def test_shares_are_the_whole_schedule_whatever_their_number(
    clients: int, ramp: float, length_s: float, step: int, process: str, hold: float | None, seed: int
) -> None:
    workload = Workload(
        shares={"open": 1, "ptt": 2, "chat": 1},
        process=process,
        seed=seed,
        hold_s=None if hold is None else Draw("exponential", (hold,)),
        away_s=Draw("uniform", (0.0, 2.0)),
    )
    schedule = Schedule(workload, clients, ramp, length_s)
    whole = list(schedule.visits())
    parts = [visit for first in range(step) for visit in schedule.visits(first, step)]
    assert sorted(parts) == whole, "one machine or seven: the same clients at the same times"
    assert {visit.number for visit in whole} == set(range(clients))
    arrivals_s = schedule.arrivals_s()
    for visit in whole:
        assert arrivals_s[visit.number] <= visit.due_s
        assert visit.due_s + visit.hold_s <= arrivals_s[visit.number] + length_s + 1e-6
    assert len({(visit.number, visit.turn) for visit in whole}) == len(whole)
    modes = Counter(schedule.modes())
    assert all(abs(modes[mode] - clients * workload.shares.get(mode, 0) / 4) <= 1 for mode in MODES)


def test_arrivals_are_at_the_ramps_rate() -> None:
    even = Schedule(Workload(), 1_000, 50.0, 60.0).arrivals_s()
    assert even[-1] == pytest.approx(999 / 50)
    poisson = Schedule(Workload(process="poisson"), 10_000, 50.0, 60.0).arrivals_s()
    assert poisson == sorted(poisson)
    assert poisson[-1] == pytest.approx(200, rel=0.05)
    gaps = [later - earlier for earlier, later in itertools.pairwise(poisson)]
    assert sum(gap < 0.02 for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.03), "exponential gaps"


def test_ten_thousand_clients_on_paper() -> None:
    need = demand(Schedule(Workload(), 10_000, 100.0, 60.0))
    assert need.peak_clients == pytest.approx(6_000, rel=0.02), "those of the first minute have gone when the last come"
    assert need.peak_messages_per_s == pytest.approx(need.peak_clients / 0.256, rel=0.01)
    assert need.cores * 0.6 >= need.peak_cpu_cores > (need.cores - 1) * 0.6
    together = demand(Schedule(Workload(), 10_000, 1_000.0, 60.0))
    assert together.peak_clients == 10_000
    assert together.peak_cpu_cores > 10_000 / 0.256 * 120e-6
    assert together.ports > 28_232, "one address is not enough"
    assert "peak clients" in "\n".join(together.lines())


# Addresses.

NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "inside": ["10.1.2.3"],
    "mixed": ["10.1.2.3", "93.184.216.34"],
    "outside": ["93.184.216.34"],
    "hidden": ["::ffff:93.184.216.34"],
}


def resolve(host: str) -> list[str]:
    if host == "gone":
        raise OSError("unknown")
    return NAMES.get(host, [host])


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8642", "https://127.9.9.9", "http://[::1]:80", "wss://inside/ws", "http://192.168.1.1",
        "http://172.31.255.255", "http://[fd00::1]", "http://[fe80::1%25eth0]", "http://100.64.0.1", "http://0.0.0.0:1",
    ],
)  # fmt: skip
def test_near_addresses_may_be_loaded(url: str) -> None:
    check_targets([url], resolve=resolve)


@pytest.mark.parametrize(
    "url",
    [
        "http://outside", "http://mixed", "https://93.184.216.34", "http://hidden", "http://gone", "http://172.32.0.1",
        "http://[2606:2800:220:1::1]", "http://192.0.2.1", "http://11.0.0.1", "http://198.51.100.7", "http://",
    ],
)  # fmt: skip
def test_others_may_not_unless_they_are_named(url: str) -> None:
    with pytest.raises(SettingsError) as raised:
        check_targets(["http://localhost", url], resolve=resolve)
    assert "may" in f"{raised.value.message} {raised.value.advice}"


def test_what_is_named_is_allowed_and_nothing_beside_it() -> None:
    check_targets(["https://Outside:8443/x"], ["OUTSIDE"], resolve=resolve)
    with pytest.raises(SettingsError, match="outside"):
        check_targets(["https://outside"], ["out"], resolve=resolve)
    with pytest.raises(SettingsError, match=r"203\.0\.113\.9"):
        LoadPlan({"api_url": "http://203.0.113.9"}, 1, 1, 1).check_targets()
    with pytest.raises(SettingsError, match=r"203\.0\.113\.9"):
        LoadPlan({"api_url": "http://localhost", "ws_url": "ws://203.0.113.9/x"}, 1, 1, 1).check_targets()


# Requirements.


def histogram(*values_s: float) -> Histogram:
    made = Histogram()
    for value_s in values_s:
        made.record(value_s)
    return made


TIMES = {"first_reply": histogram(*[0.1] * 98, 0.5, 2.0)}
COUNTS = {"started": 200, "errors": 3, "replies": 100, "lost_workers": 0}


@pytest.mark.parametrize(
    ("text", "is_met"),
    [
        ("p50(first_reply) < 800ms", True),
        ("p99(first_reply)<0.4s", False),
        ("p99(first_reply) <= 600ms", True),
        ("p99.9(first_reply) < 1s", False),
        ("max(first_reply) < 3s", True),
        ("max ( first_reply ) < 900000us", False),
        ("count(first_reply) == 100", True),
        ("count(first_reply) > 100", False),
        ("errors < 2%", True),
        ("errors < 1.4%", False),
        ("errors == 3", True),
        ("lost_workers == 0", True),
        ("failed == 0", True),
        ("replies >= 101", False),
        ("p99(reconnect) < 100s", False),
    ],
)
def test_a_requirement_is_judged_by_the_runs_figures(text: str, is_met: bool) -> None:
    verdict = Requirement.parse(text).judge(TIMES, COUNTS)
    assert verdict.is_met is is_met, verdict.shown


@pytest.mark.parametrize(
    "text",
    [
        "", "p99", "p99(first_reply)", "p99(first_reply) < 800", "p99(first_replies) < 1s", "p100(first_reply) < 1s",
        "errors < 5ms", "replies < 5%", "mistakes < 1", "count(first_reply) < 1s", "p99(first_reply) << 1s",
        "p99(first_reply) < -1s", "p99(first_reply) < 1s; errors < 1",
    ],
)  # fmt: skip
def test_what_is_no_requirement_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        Requirement.parse(text)


# Clocks.


@given(
    offset_s=st.floats(-100, 100),
    delays_s=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=9),
)
def test_a_clocks_offset_is_within_its_uncertainty(offset_s: float, delays_s: list[tuple[float, float]]) -> None:
    readings = [
        ClockReading(sent_s := 1_000.0 * number, sent_s + there_s + back_s, sent_s + there_s + offset_s)
        for number, (there_s, back_s) in enumerate(delays_s)
    ]
    told = ClockOffset.best_of(readings)
    assert abs(told.offset_s - offset_s) <= told.uncertainty_s + 1e-6
    assert told.uncertainty_s == pytest.approx(min(sum(pair) for pair in delays_s) / 2, abs=1e-6)


# The page.


def test_the_page_names_every_field_phase_count_and_option() -> None:
    import click

    from ravatar_audio.cli.load import command
    from ravatar_audio.load.requirements import COUNTS as KNOWN
    from ravatar_audio.load.tally import PHASES
    from ravatar_audio.load.workload import _FIELDS

    page = (Path(__file__).parents[2] / "docs" / "howto" / "load.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (*PHASES, *KNOWN))
    example = page.partition("```toml\n")[2].partition("```")[0]
    told = tomllib.loads(example)
    assert {table: set(values) for table, values in told.items()} == {
        table: known if known is not None else {"width"} for table, known in _FIELDS.items()
    }
    assert Workload.parse(told).shares == {"open": 5, "ptt": 2, "vad": 2, "chat": 1}
    shown = {option.opts[-1] for option in command.params if isinstance(option, click.Option)}
    unnamed = {option for option in shown if option not in page} - {"--quiet", "--ws-url", "--ca-file", "--settings"}
    assert not unnamed


@pytest.mark.parametrize(
    "text", [f"[speech]\nlength_s = {'1' * 5_000}", "a = " + "[" * 20_000], ids=["digits", "nesting"]
)
def test_a_workload_that_python_cannot_read_is_a_settings_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "workload.toml").write_text(text)
    with pytest.raises(SettingsError, match="is no TOML"):
        Workload.load(tmp_path / "workload.toml")


def test_a_workload_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "workload.toml").write_text("[clients]\nopen = 5\n", encoding="utf-8-sig")
    assert Workload.load(tmp_path / "workload.toml").shares["open"] == 5
