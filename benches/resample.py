"""The resampler beside its peers: speed, bursts, cold caches, lag, noise and aliases. python -m benches.resample

The peers run in one C program (rivals/peers), with this project's core, pinned to one core in interleaved rounds of
200 calls of 10 ms mono; it is built here, with the peers whose headers are there. Missing Debian packages are installed
where that is allowed. Tones are measured through the core as the tests measure them.
"""

import json
import math
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import soxr

from ravatar_audio.choices import PROFILES
from ravatar_audio.converter import Converter

from . import resample_kernels, resample_quality, ring
from .resampler import UNITS
from .rig.harness import Missing, Report, median, needs_program, running
from .rig.packages import has_header, install

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benches" / "rivals" / "peers"
CORE = [*UNITS, ROOT / "csrc" / "core" / "rva_convert.c", ROOT / "csrc" / "core" / "rva_quantize.c"]
# What the contenders call it, Debian's package, a header of it, and how to link it.
LIBRARIES = {
    "SOXR": ("libsoxr-dev", "soxr.h", ["-lsoxr"]),
    "SPEEX": ("libspeexdsp-dev", "speex/speex_resampler.h", ["-lspeexdsp"]),
    "ZITA": ("libzita-resampler-dev", "zita-resampler/resampler.h", ["-lzita-resampler", "-lstdc++"]),
    "SAMPLERATE": ("libsamplerate0-dev", "samplerate.h", ["-lsamplerate"]),
    "SWRESAMPLE": ("libswresample-dev", "libswresample/swresample.h", ["-lswresample", "-lavutil"]),
}
OWN = ("balanced", "low_latency", "high", "balanced minimum")  # what the driver calls our profiles

Measured = dict[str, dict[str, Any]]


def build_driver(folder: Path, report: Report) -> Path:
    """Compiles the driver with the peers that are here and names the others."""
    if not (ROOT / "csrc").is_dir():
        raise Missing("needs the C sources: a checkout of the project")
    needs_program("cc", "gcc libc6-dev")
    install({package: has_header(header) for package, header, _ in LIBRARIES.values()})
    defines, links = [], []
    for name, (package, header, link) in LIBRARIES.items():
        if has_header(header):
            defines.append(f"-DHAVE_{name}")
            links += link
        else:
            report.lacks(f"the resampler of {package}", f"it is not installed: sudo apt-get install {package}")
    flags = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-D_GNU_SOURCE", f"-I{ROOT / 'csrc'}"]
    objects = []
    for unit in [*CORE, PEERS / "contenders.c", PEERS / "int16_path.c", PEERS / "resample_driver.c"]:
        objects.append(str(folder / f"{unit.stem}.o"))
        subprocess.run(["cc", "-std=gnu11", *flags, *defines, "-c", str(unit), "-o", objects[-1]], check=True)
    if "-DHAVE_ZITA" in defines:
        objects.append(str(folder / "zita.o"))
        subprocess.run(["c++", "-O3", "-c", str(PEERS / "zita.cc"), "-o", objects[-1]], check=True)
    program = folder / "resample_driver"
    subprocess.run(["cc", *objects, "-o", str(program), *links, "-lm"], check=True)
    return program


def drive(
    program: Path, rate_hz: int, input_format: str, rounds: int, cold_calls: int, soxr_folder: Path | None = None
) -> Measured:
    """What the driver says of each contender; soxr is the system's, or the one of a folder."""
    command = [str(program), str(rate_hz), input_format, str(rounds), str(cold_calls)]
    environment = dict(os.environ) if soxr_folder is None else os.environ | {"LD_LIBRARY_PATH": str(soxr_folder)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    measured: Measured = {}
    for row in map(json.loads, output.splitlines()):  # a contender has a line more when calls were made cold
        measured.setdefault(row.pop("name"), {}).update(row)
    return measured


def drive_cold(program: Path, input_format: str, processes: int, calls: int) -> Measured:
    """Calls with cold caches at 48 kHz, of several processes: where its memory comes to lie decides some per cent."""
    pooled: Measured = {}
    for _ in range(processes):
        for name, row in drive(program, 48_000, input_format, 1, calls).items():
            mine = pooled.setdefault(name, {})
            for figure in ("cold_means_ns", "cold_data_means_ns"):
                mine[figure] = mine.get(figure, []) + row.get(figure, [])
            mine["cold_p95s_ns"] = [*mine.get("cold_p95s_ns", []), row.get("cold_p95_ns", math.nan)]
    return pooled


def ratio(measured: Measured, figure: str, over: str, under: str) -> float | None:
    """One contender's figure over another's; None when one is missing."""
    a, b = (measured.get(name, {}).get(figure) for name in (over, under))
    return a / b if a and b else None


def paired(measured: Measured, figure: str, over: str, under: str, under_figure: str = "") -> list[float]:
    """Ratios of two contenders round by round, as both met the same machine in each; none when one is missing."""
    a, b = measured.get(over, {}).get(figure, ()), measured.get(under, {}).get(under_figure or figure, ())
    return [x / y for x, y in zip(a, b, strict=True)] if a and b else []


def speed(report: Report, program: Path, quick: bool) -> None:
    rounds, cold = (15, (1, 60)) if quick else (101, (4, 200))
    s48, f48 = drive(program, 48_000, "s16", rounds, 0), drive(program, 48_000, "f32", rounds, 0)
    s44, f96 = drive(program, 44_100, "s16", rounds, 0), drive(program, 96_000, "f32", rounds, 0)
    cold_s48, cold_f48 = drive_cold(program, "s16", *cold), drive_cold(program, "f32", *cold)
    for title, measured, goals in (
        ("int16 48 kHz", s48, (1.6, 2.5)),
        ("int16 44.1 kHz", s44, (1.1, 1.7)),
        ("float 48 kHz", f48, (1.2, 1.8)),
        ("float 96 kHz", f96, (1.7, None)),
    ):
        for profile, goal in zip(("balanced", "low_latency"), goals, strict=True):
            value = ratio(measured, "call_ns", "soxr HQ", profile)
            report.at_least(f"{title}, {profile}: times the speed of soxr HQ", value, "x", goal)
        value = measured["balanced"]["call_ns"]
        report.at_most(f"{title}, balanced: one call of 10 ms", value, "ns")
        report.at_most(f"{title}, soxr HQ: one call of 10 ms", measured.get("soxr HQ", {}).get("call_ns"), "ns")
        calls_us = {name: row["call_ns"] / 1e3 for name, row in measured.items() if "call_ns" in row}
        report.comparison(f"one call of 10 ms, {title}, mono", calls_us, "us", ours=OWN)
    for peer, goal in {
        "speexdsp q5": 6,
        "speexdsp q7": 10,
        "speexdsp q10": 25,
        "zita 48": 7,
        "libsamplerate MEDIUM": 60,
        "libswresample 64": 2.2,
    }.items():
        value = ratio(f48, "call_ns", peer, "balanced")
        report.at_least(f"float 48 kHz, balanced: times the speed of {peer}", value, "x", goal)
    own = f48["balanced"]
    report.at_most(
        "float 48 kHz, balanced: worst call over its median", own["worst_ns"] / own["burst_median_ns"], "x", 1.1
    )
    value = ratio(f48, "worst_ns", "balanced", "soxr HQ")
    report.at_most("float 48 kHz, balanced: worst call over soxr HQ's worst", value, "x", 1 / 3)
    for title, measured, goal in (("int16", cold_s48, 0.6), ("float", cold_f48, 0.7)):
        ratios = paired(measured, "cold_means_ns", "balanced", "soxr HQ")
        name = f"48 kHz {title}, cold caches: mean call over soxr HQ's"
        report.at_most(name, median(ratios) if ratios else None, "x", goal, ratios)
    ratios = paired(cold_s48, "cold_p95s_ns", "balanced", "soxr HQ")
    name = "48 kHz int16, cold caches: p95 over soxr HQ's"
    report.at_most(name, median(ratios) if ratios else None, "x", 0.45, ratios)
    cold_call(report, cold_s48)
    value = ratio(s48, "call_ns", "int16 multiplications", "balanced")
    report.at_most("48 kHz int16, multiplied as int16: one call over balanced's", value, "x")
    ratios = paired(cold_s48, "cold_means_ns", "int16 multiplications", "balanced")
    value = median(ratios) if ratios else None
    report.at_most(
        "48 kHz int16, multiplied as int16, cold caches: mean call over balanced's", value, "x", None, ratios
    )
    for profile, goal_ms in (("balanced", 3.9), ("low_latency", 2.2)):
        report.at_most(f"48 kHz, {profile}: longest lag", f48[profile]["lag_s"] * 1e3, "ms", goal_ms)
    report.at_most("48 kHz, soxr HQ: longest lag", f48.get("soxr HQ", {}).get("lag_s", math.nan) * 1e3, "ms")


def by_kernel(report: Report, program: Path, folder: Path, quick: bool) -> None:
    def calls_ns(soxr_folder: Path | None) -> dict[str, float]:
        measured = drive(program, 48_000, "s16", 15 if quick else 51, 0, soxr_folder)
        return {name: row["call_ns"] for name, row in measured.items()}

    resample_kernels.measure(report, folder, calls_ns)


def cold_call(report: Report, measured: Measured) -> None:
    """What a call with cold caches is made of: the least that any callback pays, data, and code."""
    cases: dict[str, dict[str, float]] = {}
    least_us = median(measured["a copy"]["cold_means_ns"]) / 1e3
    for name in ("balanced", "low_latency", "soxr HQ"):
        if name in measured:
            figures = ("cold_means_ns", "cold_data_means_ns")
            whole_us, data_us = (median(measured[name][figure]) / 1e3 for figure in figures)
            cases[name] = {
                "a block copied, nothing else": least_us,
                "data, with warm code": max(0.0, data_us - least_us),
                "code": max(0.0, whole_us - data_us),
            }
            report.at_most(f"48 kHz int16, cold caches, {name}: mean call", whole_us, "us")
            report.at_most(f"48 kHz int16, cold caches but warm code, {name}: mean call", data_us, "us")
    report.at_most("48 kHz int16, cold caches: a call that only copies the block", least_us, "us")
    if "soxr HQ" in measured:
        without_code = paired(measured, "cold_data_means_ns", "balanced", "soxr HQ", "cold_means_ns")
        report.at_most("48 kHz int16, cold caches: mean over soxr HQ's, were our code free", median(without_code), "x")
    report.stages("one call of 10 ms with cold caches, int16 48 kHz", cases, "us")


def timed(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of one call of each, interleaved."""
    took: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            began = perf_counter()
            for _ in range(20):
                call()
            took[name].append((perf_counter() - began) / 20)
    return {name: median(values) for name, values in took.items()}


def from_python(report: Report, quick: bool) -> None:
    samples = np.random.default_rng(1).integers(-9_000, 9_000, 480).astype(np.int16)
    data, stereo = samples.tobytes(), np.repeat(samples, 2).tobytes()
    stream = soxr.ResampleStream(48_000, 16_000, 1, dtype="int16", quality="HQ")
    with Converter(48_000) as converter, Converter(48_000, 2) as in_stereo:
        took = timed(
            {
                "own": lambda: converter.process(samples),
                "bytes": lambda: converter.process(data),
                "soxr": lambda: stream.resample_chunk(samples),
                "chain": lambda: in_stereo.process(stereo),
                "floor": lambda: in_stereo.process(b""),
            },
            60 if quick else 400,
        )
    report.at_least("one call from Python: times the speed of python-soxr's stream", took["soxr"] / took["own"], "x", 4)
    for name, key in {
        "one call from Python, numpy array": "own",
        "one call from Python, bytes": "bytes",
        "one call from Python, python-soxr's stream": "soxr",
        "one call from Python, of no sound: the interpreter's share": "floor",
    }.items():
        report.at_most(name, took[key] * 1e6, "us")
    report.at_most("chain at 48 kHz stereo int16, called from Python: share of 10 ms", took["chain"] / 1e-4, "%", 0.1)
    for profile, name in zip(PROFILES, ("", "low_latency, ", "high, "), strict=True):
        with Converter(48_000, profile=profile, phase="minimum") as converter:
            delay_ms = converter.group_delay_s * 1e3
        report.at_most(f"{name}minimum phase: group delay at 1 kHz", delay_ms, "ms", 0.2)


def main() -> None:
    with running("resample", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        program = build_driver(folder, report)
        speed(report, program, options.quick)
        by_kernel(report, program, folder, options.quick)
        from_python(report, options.quick)
        ring.measure(report, folder, options.quick)
        resample_quality.measure(report, folder, options.quick)


if __name__ == "__main__":
    main()
