"""The benches that answer a question by themselves: each does what it says, in small."""

import os
import random
import time
from pathlib import Path

import pytest
import trio
from websockets.sync.client import connect

from benches import (
    callback,
    latency,
    latency_measured,
    reconnect,
    resample_kernels,
    storm,
    streams,
    streams_asyncio,
    wakeup,
)
from benches.latency_measured import Measured, pooled
from benches.message import ENVELOPE
from benches.rig import kernels, sweep
from benches.rig.arrivals import running_arrivals
from benches.rig.floor import floor_program
from benches.rig.harness import Missing, Report
from benches.rig.pusher import Pusher
from benches.rig.sink import running_sink
from benches.rig.ticker import Ticker
from benches.rivals import soxr_source
from benches.rivals.baselines.ticket import tls_context
from ravatar_audio._core import lib
from ravatar_audio.errors import SettingsError
from ravatar_audio.native import Chain
from tests.conftest import IS_EMULATED

pytestmark = pytest.mark.skipif(IS_EMULATED, reason="no compiler under emulation, and nothing to time")


def test_every_way_of_waking_trio_is_measured_from_the_moment_that_the_thread_fired() -> None:
    answer = wakeup.child("idle", 2, 1)
    assert list(answer) == list(wakeup.WAYS)
    for way, latencies_s in answer.items():
        assert len(latencies_s) == 2, way
        assert all(0 < latency_s < 2.0 for latency_s in latencies_s), way


def test_the_floor_is_measured_with_nothing_but_the_wait() -> None:
    assert all(0 < latency_s < 2.0 for latency_s in trio.run(wakeup.floor, Ticker(), 2, 0.01))


def test_the_server_of_the_latency_bench_notes_each_message_when_it_has_come(tmp_path: Path) -> None:
    sent_s = []
    with running_arrivals(tmp_path / "stamps", secure=True) as server:
        tls = tls_context(server.url, server.ca_file)
        with connect(server.url, ssl=tls, compression=None, proxy=None, open_timeout=20) as socket:
            for size in (1, 11_000, 200_000):
                sent_s.append(time.monotonic())
                socket.send("x" * size)
        arrived_s = server.read_s()  # the Close has been answered, so all of it has been read
    assert [later - earlier > 0 for earlier, later in zip(sent_s, arrived_s, strict=True)] == [True] * 3
    assert arrived_s == sorted(arrived_s)
    assert arrived_s[-1] < time.monotonic()


def test_the_machines_own_share_is_measured_at_the_server_that_the_others_write_to(tmp_path: Path) -> None:
    affixes = ENVELOPE.audio_affixes()
    with floor_program() as program, running_arrivals(tmp_path / "stamps", secure=True) as server:
        times = program.paced_s(server.url, affixes, 3, 0.02)
        assert [ready <= awake <= made <= written for ready, awake, made, written in times] == [True] * 3
        assert program.cpu_s(server.url, affixes, 20) > 0
        arrived_s = server.read_s()  # the second connection was served, so all of the first one has been read
    assert [arrived > ready for (ready, *_), arrived in zip(times, arrived_s, strict=False)] == [True] * 3


def test_what_the_machine_trio_and_we_take_adds_up_to_the_whole() -> None:
    def run(contender: str, *times: float) -> Measured:
        return Measured(contender, [list(times)], 0, 0.0, 0.0)

    report = Report("latency")
    runs = {
        ("ours", "wss"): run("ours", 1.0, 1.01, 1.0102, 1.01025, 1.0104, 1.0106),
        ("large_pages", "wss"): run("large_pages", 1.0, 1.01, 1.0102, 1.01022, 1.0103, 1.0106),
        ("floor", "wss"): run("floor", 1.0, 1.00002, 1.000025, 1.00012, 1.0002),
    }
    latency.add_floors(report, runs, run("trio", 0.0, 0.00015, 0.00015))
    shares = report.all_stages[-1]["cases"]["ours"]
    assert sum(shares.values()) == pytest.approx(400.0)
    assert shares["from there to a task of trio"] == pytest.approx(130.0)
    assert shares["encode, in C"] == pytest.approx(5.0)


def test_stages_add_up_and_the_usual_conversion_is_left_out_of_the_comparison() -> None:
    ours = Measured("ours", [[1.0, 1.010, 1.012, 1.013, 1.016, 1.017]], 0, 0.003, 0.0)
    usual = Measured("usual", [[1.0, 1.002, 1.003, 1.004, 1.008, 1.007]], 0, 0.0, 0.0)
    assert ours.ready_to_written_s == pytest.approx([0.006])
    assert usual.ready_to_written_s == pytest.approx([0.007])  # 8 ms, 1 of them conversion
    assert [ours.stage_s(name)[0] for name in latency_measured.STAGES["ours"]] == pytest.approx(
        [0.010, 0.002, 0.001, 0.003, 0.001]
    )
    assert usual.stage_s("server") == [0.0]  # it was there before the call had returned
    assert usual.ready_to_server_s == pytest.approx([0.006])
    assert usual.ready_to_server_with_conversion_s == pytest.approx([0.007])
    assert ours.ready_to_server_with_conversion_s == ours.ready_to_server_s  # it was converted before it was ready


def test_contenders_are_compared_at_the_server_over_all_rounds_and_by_the_floor_of_the_same_run() -> None:
    """What the rival's call does after its last system call is not held against it."""

    def turn(contender: str, server_s: float, lost: int = 0) -> Measured:
        passed = {
            "ours": [0.0, 1.0, 1.0001, 1.0002, 1.0003],
            "usual": [1.0, 1.0001, 1.0002, 1.0003, 1.009],  # came back long after the server had it
            "floor": [1.0, 1.00005, 1.00006, 1.0001],
        }[contender]
        return Measured(contender, [[*passed, 1.0 + server_s]] * 10, lost, 0.0, 0.0)

    turns = {
        ("ours", "wss"): [turn("ours", 0.0004), turn("ours", 0.0006, lost=7)],
        ("usual", "wss"): [turn("usual", 0.0009), turn("usual", 0.0009)],
        ("floor", "wss"): [turn("floor", 0.0002), turn("floor", 0.0002)],
    }
    assert (len(pooled(turns["ours", "wss"]).times), pooled(turns["ours", "wss"]).lost_samples) == (20, 7)
    report = Report("latency")
    latency_measured.add_ratios(report, turns)
    rows = {row.figure: row for row in report.rows}
    to_usual = rows["ready to server, idle, wss, ours to usual, p50"]
    assert to_usual.value == pytest.approx(0.4 / 0.8)
    assert to_usual.repeats == pytest.approx((0.4 / 0.8, 0.6 / 0.8))
    assert rows["ready to server, idle, wss, ours to usual, p99"].reached is False
    assert rows["ready to server, idle, wss, ours to usual with its conversion, p50"].value == pytest.approx(4 / 9)
    over_floor = rows["ready to written, idle, wss, ours over the floor, p50"]
    assert over_floor.value == pytest.approx(3.0)
    assert over_floor.goal == 2.2
    del turns["floor", "wss"]
    without = Report("latency")
    latency_measured.add_ratios(without, turns)
    assert [row.figure for row in without.rows] == [row.figure for row in report.rows if "floor" not in row.figure]


def test_what_a_fault_cost_is_told_from_which_frames_came_and_when() -> None:
    heard = reconnect.Heard()
    began_s = time.monotonic() - 8.5 * 0.256
    for number, late_s, connection in ((0, 0.0, 1), (1, 0.0, 1), (4, 0.6, 2), (5, 0.344, 2), (6, 0.1, 2)):
        heard.frames.append((began_s + (number + 1) * 0.256 + late_s, number, connection))
    outcome = reconnect.judge(heard, began_s + 0.6, 1, 0.25)
    assert outcome.lost_samples == 2 * 4096  # numbers 2 and 3; number 7 may still be on its way
    assert outcome.late_samples == 4096
    assert outcome.latest_s == pytest.approx(0.6)
    assert outcome.again_s == pytest.approx(5 * 0.256 + 0.6 - 0.6)
    assert outcome.link_s == 0.25


def test_the_numbered_frames_tell_which_of_them_came() -> None:
    sound = reconnect.numbered_frames()
    assert [sound[8192 * number] for number in (0, 1, 200)] == [0, 1, 200]


def test_a_blocks_time_is_measured_hot_and_cold_for_any_settings() -> None:
    pusher = Pusher()
    for format in ("int24", "float32"):
        hot = pusher.durations_s(250, is_cold=False, rate_hz=48_000, channels=2, format=format)
        assert len(hot) == 250
        assert all(0 < took_s < 1.0 for took_s in hot)
    assert len(pusher.durations_s(2, is_cold=True, rate_hz=16_000)) == 2


def test_a_duration_of_the_core_counts_as_the_longest_that_its_bucket_can_hold() -> None:
    """So what is told of ours is never less than what it took."""
    begins_ns = [lib.rva_stream_bucket_ns(bucket) for bucket in range(lib.RVA_DURATION_BUCKETS)]
    durations_s = [(begin_ns * 1e-9, 1) for begin_ns in begins_ns]
    longest_s = 3.0 * durations_s[-1][0]
    told = callback.at_upper_ends(durations_s, longest_s)
    assert told[-1] == (longest_s, 1)
    assert [value for value, _ in told[:-1]] == pytest.approx([begin_s for begin_s, _ in durations_s[1:]])
    assert callback.at_upper_ends([(begins_ns[100] * 1e-9, 5)], begins_ns[100] * 1.01e-9) == [
        (begins_ns[100] * 1.01e-9, 5)
    ]  # no block took longer than the longest


def test_only_debians_own_lists_become_lists_of_source_packages() -> None:
    stanzas = "# a mirror\nTypes: deb\nURIs: http://a/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"
    others = "\nTypes: deb\nURIs: https://b\nSuites: nodistro\nComponents: main\n"
    made = soxr_source.of_sources(stanzas + others, "bookworm")
    assert made == stanzas.replace("Types: deb", "Types: deb-src")
    lines = "deb http://a/debian bookworm main\n# deb http://a bookworm main\ndeb http://c stable main\n"
    assert soxr_source.of_sources(lines, "bookworm") == "deb-src http://a/debian bookworm main\n"


def test_each_kernel_is_compared_with_soxr_of_the_same_run_and_what_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def build(folder: Path) -> Path:
        raise Missing("cmake is not there")

    def drive(soxr_folder: Path | None) -> dict[str, float]:
        slower = os.environ["RAVATAR_AUDIO_KERNEL"] == "portable"
        return {"balanced": 800.0 * (1 + slower), "high": 1600.0, "soxr HQ": 1200.0 if soxr_folder else 1600.0}

    def values(report: Report) -> dict[str, float | None]:
        return {row.figure: row.value for row in report.rows}

    monkeypatch.setattr(resample_kernels, "supported", lambda: ["portable", "sse2"])
    monkeypatch.setattr(resample_kernels, "build_soxr", build)
    report = Report("resample")
    resample_kernels.measure(report, tmp_path, drive)
    assert values(report)["int16 48 kHz, balanced, portable: times the speed of soxr HQ"] == 1.0
    assert values(report)["int16 48 kHz, balanced, sse2: times the speed of soxr HQ"] == 2.0
    assert [gap["why"] for gap in report.missing] == ["cmake is not there"]
    monkeypatch.setattr(resample_kernels, "build_soxr", lambda folder: folder)
    report = Report("resample")
    resample_kernels.measure(report, tmp_path, drive)
    name = "int16 48 kHz, high, sse2: times the speed of soxr HQ"
    assert (values(report)[name], values(report)[f"{name} built for this machine"]) == (1.0, 0.75)


def test_a_kernel_is_used_for_a_while_and_then_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVATAR_AUDIO_KERNEL", "portable")
    with kernels.using_kernel("no_such_kernel"), pytest.raises(SettingsError):
        Chain(rate_hz=48_000)
    with Chain(rate_hz=48_000) as chain:
        assert chain.kernel == "portable"


@pytest.mark.parametrize("limit", [0, 1, 7, 130, 999, 1_000, 1_480, 2_700, 7_999, 20_000])
@pytest.mark.parametrize("start", [500, 2_000])
def test_the_search_finds_the_most_streams_to_a_tenth_in_few_runs(limit: int, start: int) -> None:
    ran: list[int] = []

    def run(streams: int) -> dict[str, float]:
        ran.append(streams)
        return {"p99_ms": 9.0 if streams > limit else 4.9, "late_frames": 0, "cpu_us": 50.0}

    most, ceiling = sweep.most_streams(sweep.search(run, start, 8_000)), 8_000
    assert most <= min(limit, ceiling)
    assert most >= min(limit, ceiling) * 0.9 - 1
    assert max(ran) <= ceiling
    assert len(ran) <= 24
    assert max(ran.count(streams) for streams in ran) == (2 if limit < ceiling else 1)  # late ones have another chance


def test_frames_in_time_but_for_one_that_missed_its_period_do_not_count_and_a_count_may_fail_once() -> None:
    answers = iter([(9.0, 0), (1.0, 0), (1.0, 1), (1.0, 1)])

    def run(streams: int) -> dict[str, float]:
        p99_ms, late = next(answers, (9.0, 0))
        return {"p99_ms": p99_ms, "late_frames": late, "cpu_us": 50.0}

    curve = sweep.search(run, 1_000, 8_000)
    assert sweep.is_in_time(curve[1_000])
    assert not sweep.is_in_time(curve[1_500])
    assert sweep.most_streams(curve) == 1_000


def test_every_contender_is_searched_and_several_processes_are_told_together() -> None:
    def run(pipeline: str, streams: int, is_alone: bool) -> dict[str, float]:
        is_late = streams > (750 if not is_alone else {"sessions": 100, "picows": 4_000}.get(pipeline, 1_000))
        return {"p99_ms": 9.0 if is_late else 1.0, "late_frames": 0, "cpu_us": 50.0}

    report = Report("streams")
    sweep.search_all(report, run, quick=False)
    sweep.several(report, run, quick=False)
    rows = {row.figure: row for row in report.rows}
    for pipeline in sweep.STARTS:
        most = 100 if pipeline == "sessions" else 4_000 if pipeline == "picows" else 1_000
        row = rows[f"most streams on one core, {pipeline}"]
        assert row.value is not None
        assert 0.9 * most - 1 <= row.value <= most
        assert row.goal == (3_000 if pipeline in ("ours", "sessions") else None)
    processes = os.cpu_count() or 1
    assert rows[f"most streams on {processes} cores, ours"].value == 750 * processes


@pytest.mark.parametrize("contender", streams_asyncio.CONTENDERS)
def test_the_libraries_on_asyncio_send_every_frame_at_its_time(contender: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(contender)
    monkeypatch.setattr(streams_asyncio, "SETTLE_S", 0.05)
    with running_sink(secure=True, core=None) as (url, authority):
        made = streams.run_others(contender, 3, 0.512, url, authority)
    assert made.figures["frames"] == 6
    assert sum(made.late_ms.values()) == 6
    assert made.figures["cpu_us"] > 0
    assert 0 <= made.figures["p50_ms"] < 2_000


def test_the_busiest_window_of_a_storm_is_found_wherever_it_begins() -> None:
    assert storm.busiest([]) == 0
    assert storm.busiest([0.0, 0.049, 0.05, 0.099], 0.05) == 2
    assert storm.busiest([3.0, 1.0, 1.01, 1.02, 2.0]) == 3
    for seed in range(20):
        draw = random.Random(seed)
        times_s = [draw.random() for _ in range(100)]
        most = max(sum(begin <= time_s < begin + 0.05 for time_s in times_s) for begin in times_s)
        assert storm.busiest(times_s) == most


def test_a_storm_is_judged_by_what_the_platform_counted() -> None:
    report = Report("storm", "?")
    handshakes = [(100.0 + 0.5 * number, f"u{number}") for number in range(10)] + [(104.0, "u0"), (104.01, "u1")]
    starts = {f"u{number}": 1 for number in range(9)} | {"u9": 3}
    storm.judge(report, 10, 100.0, [0.01, 5.0], {"handshakes": handshakes, "starts": starts})
    rows = {row.figure: row for row in report.rows}
    assert (rows["clients that came back"].value, rows["clients that came back"].reached) == (10, True)
    assert rows["back after, max"].value == pytest.approx(4_500, rel=0.01)
    assert (rows["in the busiest 50 ms"].value, rows["in the busiest 50 ms"].reached) == (30.0, False)
    assert (rows["second slots taken"].value, rows["second slots taken"].reached) == (2, False)
    assert rows["WebSockets beyond one each"].value == 2
