"""The resampler by instruction set, beside soxr as Debian builds it and as its author would for this machine.

The like of soxr HQ, whose stop band is at -120 dB, is the profile `high`; `balanced` is what sessions use.
"""

from collections.abc import Callable
from pathlib import Path

from .rig.harness import Missing, Report, progress
from .rig.kernels import supported, using_kernel
from .rivals.soxr_source import build_soxr

PROFILES = ("balanced", "high")
BUILDS = {"": "soxr HQ", "native": "soxr HQ built for this machine"}
GOALS = {("balanced", "sse2", ""): 1.3}
"""Of our speed over soxr HQ's: kiosks have processors without AVX."""

Drive = Callable[[Path | None], dict[str, float]]
"""ns of one call of 10 ms by contender, with the soxr of a folder, or the system's."""


def measure(report: Report, folder: Path, drive: Drive) -> None:
    """Each kernel that this processor has, against each build of soxr."""
    builds: dict[str, Path | None] = {"": None}
    try:
        builds["native"] = build_soxr(folder)
    except Missing as missing:
        report.lacks(BUILDS["native"], str(missing))
    for kernel in supported():
        progress(0.5, kernel)
        for build, place in builds.items():
            with using_kernel(kernel):
                add_rows(report, kernel, build, drive(place))


def add_rows(report: Report, kernel: str, build: str, calls_ns: dict[str, float]) -> None:
    """One kernel against one build, both of the same run."""
    soxr_ns = calls_ns.get("soxr HQ")
    for profile in PROFILES:
        times = soxr_ns / calls_ns[profile] if soxr_ns else None
        name = f"int16 48 kHz, {profile}, {kernel}: times the speed of {BUILDS[build]}"
        report.at_least(name, times, "x", GOALS.get((profile, kernel, build)))
        if not build:
            report.at_most(f"int16 48 kHz, {profile}, {kernel}: one call of 10 ms", calls_ns[profile], "ns")
    if build and kernel == supported()[-1]:
        report.at_most(f"int16 48 kHz, {BUILDS[build]}: one call of 10 ms", soxr_ns, "ns")
