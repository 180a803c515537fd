"""How long does a block of sound take from one thread to another? Our ring beside PortAudio's and JACK's.

Blocks of 960 bytes (10 ms of 48 kHz int16), through rings that hold at least eight of them, in one C program
(rivals/peers) that is compiled here: as fast as two threads on two cores can, on one thread, and at a pace at which
only the push counts. Blocks are written and read in place; PortAudio's and JACK's by copies too, as most use
them. PortAudio's ring comes from its static library, JACK's from its shared one; missing packages are installed where
that is allowed.
"""

import json
import subprocess
import tempfile
from pathlib import Path

from .rig.harness import Missing, Report, median, needs_program, running
from .rig.packages import has_header, install

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("PortAudio", "JACK", "PortAudio in place", "JACK in place")
GOALS = {"PortAudio in place": 1.8, "JACK in place": 1.35}
"""Of our speed over theirs, who work in place as we do; their copying interfaces are shown beside them."""
FLOOR = "bare hand-off"  # the block's lines and a flag, which no ring can do without
FIGURES = {
    "two_threads_ns": "between two threads, per block",
    "one_thread_ns": "on one thread, push and take",
    "paced_push_ns": "push, a block every 50 us",
}


def portaudio_archive() -> str | None:
    """Where libportaudio.a is, or None."""
    found = subprocess.run(["cc", "-print-file-name=libportaudio.a"], capture_output=True, text=True, check=True)
    path = found.stdout.strip()
    return path if Path(path).is_absolute() else None


def build_driver(folder: Path, report: Report) -> Path:
    """Compile the driver with the rings that are here, and name the others."""
    if not (ROOT / "csrc").is_dir():
        raise Missing("needs the C sources: a checkout of the project")
    needs_program("cc", "gcc libc6-dev")
    install({"portaudio19-dev": portaudio_archive() is not None, "libjack-jackd2-dev": has_header("jack/ringbuffer.h")})
    defines, links = [], []
    archive = portaudio_archive()
    if archive:
        defines.append("-DHAVE_PORTAUDIO")
        links.append(archive)
    else:
        report.lacks("PortAudio's ring", "libportaudio.a is not there: sudo apt-get install portaudio19-dev")
    if has_header("jack/ringbuffer.h"):
        defines.append("-DHAVE_JACK")
        links.append("-ljack")
    else:
        report.lacks("JACK's ring", "its header is not there: sudo apt-get install libjack-jackd2-dev")
    program = folder / "ring_driver"
    sources = [ROOT / "benches" / "rivals" / "peers" / "ring_driver.c", ROOT / "csrc" / "core" / "rva_ring.c"]
    flags = ["-std=gnu11", "-O3", "-D_GNU_SOURCE", f"-I{ROOT / 'csrc'}"]
    subprocess.run(["cc", *flags, *defines, *map(str, sources), "-o", program, *links, "-lpthread"], check=True)
    return program


def measure(report: Report, folder: Path, is_quick: bool) -> None:
    """All figures; resample.py has them in its own table too."""
    program = build_driver(folder, report)
    output = subprocess.run([program, "20" if is_quick else "200"], capture_output=True, text=True, check=True).stdout
    kept: dict[str, dict[str, list[float]]] = {}
    for line in output.splitlines():
        row = json.loads(line)
        ring = kept.setdefault(row.pop("name"), {})
        for figure, value in row.items():
            ring.setdefault(figure, []).append(value)
    if "two_threads_ns" not in kept["ours"]:
        report.lacks("ring between two threads", "this process may use one core only")
    for figure, text in FIGURES.items():
        took_ns = {name: median(ring[figure]) for name, ring in kept.items() if figure in ring}
        if not took_ns:
            continue
        for name in PEERS:
            if name in took_ns:
                times = took_ns[name] / took_ns["ours"]
                is_goal = figure == "two_threads_ns"
                report.at_least(
                    f"ring {text}: times the speed of {name}'s", times, "x", GOALS.get(name) if is_goal else None
                )
                floor = took_ns[name] / took_ns[FLOOR]
                if is_goal:
                    report.at_least(f"ring {text}: the most that any ring could be over {name}'s", floor, "x")
        report.at_most(f"ring {text}: over the bare hand-off's time", took_ns["ours"] / took_ns[FLOOR], "x")
        for name, value in took_ns.items():
            report.at_most(f"ring {text}: {name}", value, "ns")
        report.comparison(f"ring, 960-byte blocks, {text}", {**took_ns}, "ns")


def main() -> None:
    with running("ring", __doc__) as (report, options), tempfile.TemporaryDirectory() as scratch:
        measure(report, Path(scratch), options.quick)


if __name__ == "__main__":
    main()
