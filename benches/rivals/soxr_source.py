"""soxr as its author would build it for this machine: Debian's source, compiled with all that the processor has.

Debian's own build, like python-soxr's, is for any x86-64, which has SSE2 and no more; ours chooses when it starts.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from ..report.machine import Missing
from ..rig.packages import install

PACKAGE = "libsoxr"
FLAGS = "-O3 -march=native -DNDEBUG"  # -Ofast is no faster
OPTIONS = ("-DBUILD_TESTS=OFF", "-DBUILD_EXAMPLES=OFF", "-DWITH_LSR_BINDINGS=OFF")
LIMIT_S = 180


def build_soxr(folder: Path) -> Path:
    """The folder that has the shared library, for LD_LIBRARY_PATH; raises Missing where it cannot be had here."""
    install({"cmake": shutil.which("cmake") is not None, "dpkg-dev": shutil.which("dpkg-source") is not None})
    for program, package in (("apt-get", "apt"), ("cmake", "cmake"), ("dpkg-source", "dpkg-dev")):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not there: Debian's {package}")
    source = fetch(folder)
    built = folder / "built"
    compiled = ["cmake", "-S", str(source), "-B", str(built), f"-DCMAKE_C_FLAGS_RELEASE={FLAGS}", *OPTIONS]
    _run([*compiled, "-DCMAKE_BUILD_TYPE=Release"], folder)
    _run(["cmake", "--build", str(built), "-j2"], folder)
    return next(built.rglob("libsoxr.so")).parent


def fetch(folder: Path) -> Path:
    """Debian's source package, unpacked; the system's own lists stay as they are."""
    places = folder / "sources"
    places.mkdir()
    for directory in ("lists/partial", "cache/archives/partial"):
        (folder / directory).mkdir(parents=True)
    texts = {file: file.read_text(encoding="utf-8") for file in _lists()}
    for number, (file, text) in enumerate(texts.items()):
        (places / f"{number}{file.suffix}").write_text(of_sources(text, _codename()), encoding="utf-8")
    options = [f"Dir::Etc::SourceList={os.devnull}", f"Dir::Etc::SourceParts={places}"]
    options += [f"Dir::State::Lists={folder / 'lists'}", f"Dir::Cache={folder / 'cache'}"]
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    _run([*apt, "update"], folder)
    _run([*apt, "source", "--download-only", PACKAGE], folder)
    target = folder / "source"
    _run(["dpkg-source", "--no-check", "-x", str(next(folder.glob("*.dsc"))), str(target)], folder)
    return target


def of_sources(text: str, codename: str) -> str:
    """A list of package sources with Debian's binaries exchanged for its source packages, and no others' in it."""
    if "URIs:" in text:
        stanzas = [stanza for stanza in re.split(r"\n\s*\n", text) if _is_of(stanza, codename)]
        return "\n\n".join(re.sub(r"^Types:.*$", "Types: deb-src", stanza, flags=re.M) for stanza in stanzas) + "\n"
    lines = [line for line in text.splitlines() if re.match(rf"deb\s.*\s{codename}\s", line)]
    return "".join(re.sub(r"^deb\s", "deb-src ", line) + "\n" for line in lines)


def _is_of(stanza: str, codename: str) -> bool:
    suites = re.search(r"^Suites:(.*)$", stanza, re.M)
    return suites is not None and codename in suites[1].split()


def _lists() -> list[Path]:
    apt = Path("/etc/apt")
    return [file for file in (apt / "sources.list", *sorted(apt.glob("sources.list.d/*"))) if file.is_file()]


def _codename() -> str:
    found = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text(encoding="utf-8"), re.M)
    if found is None:
        raise Missing("this system's release is not known, so neither is whose source package to take")
    return found[1]


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise Missing(f"{command[0]} took more than {LIMIT_S} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Missing(f"{command[0]} failed: {said[-1] if said else f'exit code {done.returncode}'}")
