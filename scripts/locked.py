"""Reads, checks and renews locked/: every package that this project's own commands install, by version and hash.

These are requirements files, which every pip reads; pylock.toml would name the index it was made with, and Debian 12's
pip does not read it. One version of each package serves all Pythons and systems. A layer holds what those that it
lies on do not: `scripts/setup test` installs build, run and test.

    python scripts/locked.py check             whether locked/ is what pyproject.toml asks for
    python scripts/locked.py renew UV          locked/ anew, by the uv at this path (scripts/lock)
    python scripts/locked.py only NAME...      the entries of these packages, to be installed alone
    python scripts/locked.py without NAME L... the entries of layers but for one package
    python scripts/locked.py versions LAYER... the same layers without hashes, for machines with builds of their own
    python scripts/locked.py asked LAYER...    what pyproject.toml asks for
"""

import datetime
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "locked"
BELOW = {
    "build": (),
    "run": ("build",),
    "test": ("build", "run"),
    "bench": ("build", "run", "test"),
    "release": ("build",),
    "coverage": ("build", "run", "test"),
    "docs": ("build", "run", "test"),
}
"""The layers, and those that each lies on."""

LAYERS = tuple(BELOW)
OLD_AFTER_DAYS = 60

Wanted = dict[str, list[str]]
"""The requirements of each layer, as pyproject.toml words them."""


class Entry(NamedTuple):
    """One package of a lock file."""

    name: str  # normalised: lower case, with dashes
    version: str
    text: str  # with marker and hashes, as pip reads it


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(pyproject: Path = ROOT / "pyproject.toml") -> Wanted:
    """What pyproject.toml asks for, by layer."""
    told = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project, groups = told["project"], told["dependency-groups"]
    extras = project["optional-dependencies"]
    layers = {
        "build": told["build-system"]["requires"],
        "run": project["dependencies"],
        "test": extras["test"] + extras["lint"],
        "bench": extras["bench"],
        "release": groups["release"],
        "coverage": groups["coverage"],
        "docs": groups["docs"],
    }
    for extra in set(extras) - {"test", "lint", "bench"}:  # what tests use is in `test` too, at one version
        layers["test"] = layers["test"] + extras[extra]
    return {layer: sorted(layers[layer]) for layer in LAYERS}


def digest(asked: Wanted) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def entries(text: str) -> list[Entry]:
    """The packages of a lock file's text, in its order."""
    pattern = r"^([A-Za-z0-9][\w.-]*)==([^ \\\n]+)[^\n]*(?:\n[ ]+--hash[^\n]*)+"
    matches = re.finditer(pattern, text, re.MULTILINE)
    return [Entry(normalised(match[1]), match[2], match[0].rstrip(" \\")) for match in matches]


def path(layer: str) -> Path:
    return FOLDER / f"{layer}.txt"


def locked() -> dict[str, list[Entry]]:
    return {layer: entries(path(layer).read_text(encoding="utf-8")) for layer in LAYERS}


def compile_layer(uv: str, requirements: list[str], constraints: Path | None) -> str:
    """The text that uv makes of these requirements: for all systems, and one version for Python 3.11 and later."""
    command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--no-emit-index-url", "--no-emit-find-links", "--python-version", "3.11", "--fork-strategy", "fewest"]
    command += ["--no-emit-package", "ravatar-audio"]
    if constraints:
        command += ["--constraints", str(constraints)]
    command += ["-"]
    run = subprocess.run(command, input="\n".join(requirements), text=True, capture_output=True, check=False, cwd=ROOT)
    if run.returncode:
        raise SystemExit(f"lock: uv could not resolve {', '.join(requirements)}:\n{run.stderr}")
    return run.stdout


def renew(uv: str) -> None:
    asked = wanted()
    together = [requirement for layer in LAYERS for requirement in asked[layer]]
    day = datetime.datetime.now(tz=datetime.UTC).date()
    with tempfile.TemporaryDirectory() as scratch:
        everything = Path(scratch, "everything.txt")
        everything.write_text(compile_layer(uv, together, None), encoding="utf-8")
        texts: dict[str, set[str]] = {}
        for layer in LAYERS:
            requirements = [requirement for each in (*BELOW[layer], layer) for requirement in asked[each]]
            here = {entry.text for entry in entries(compile_layer(uv, requirements, everything))}
            # A package may be wanted by a higher layer on more systems than by a lower one: then pip sees it twice,
            # with the same version and hashes, which it allows.
            texts[layer] = here.difference(*(texts[below] for below in BELOW[layer]))
            text = "\n".join(sorted(texts[layer]))
            header = f"# Locked on {day} by scripts/lock, from the requirements {digest(asked)} of pyproject.toml."
            path(layer).write_text(f"{header}\n{text}\n", encoding="utf-8")
    print(f"lock: {sum(map(len, texts.values()))} entries", file=sys.stderr)


def age_days(text: str) -> int:
    told = re.search(r"^# Locked on (\d{4}-\d\d-\d\d) ", text, re.MULTILINE)
    if not told:
        raise SystemExit("lock: a file in locked/ does not say when it was made; please run scripts/lock")
    return (datetime.datetime.now(tz=datetime.UTC).date() - datetime.date.fromisoformat(told[1])).days


def disagreements(asked: Wanted) -> list[str]:
    """What is wrong with locked/ as an answer to pyproject.toml; nothing where they agree."""
    wrong = []
    for layer in LAYERS:
        if not path(layer).exists():
            return [f"locked/{layer}.txt is missing"]
        text = path(layer).read_text(encoding="utf-8")
        if f"from the requirements {digest(asked)} of" not in text:
            wrong.append(f"locked/{layer}.txt was made from other requirements than pyproject.toml has now")
        if "://" in text:
            wrong.append(f"locked/{layer}.txt names an address")
        starts = re.findall(r"^[\w.-]+==\S+", text, re.MULTILINE)
        hashed = {entry.text.split()[0] for entry in entries(text)}
        if unhashed := sorted(set(starts) - hashed):
            wrong.append(f"locked/{layer}.txt has entries without a hash: {', '.join(unhashed)}")
    return wrong


def check() -> None:
    if wrong := disagreements(wanted()):
        raise SystemExit("".join(f"lock: {each}\n" for each in wrong) + "lock: please run scripts/lock")
    days = max(age_days(path(layer).read_text(encoding="utf-8")) for layer in LAYERS)
    advice = "; it is old: scripts/lock renews it" if days > OLD_AFTER_DAYS else ""
    print(f"lock: agrees with pyproject.toml, {days} days old{advice}", file=sys.stderr)


def only(names: list[str]) -> None:
    missing = {normalised(name) for name in names}
    for layer in locked().values():
        for entry in layer:
            if entry.name in missing:
                print(entry.text)
                missing.discard(entry.name)
    if missing:
        raise SystemExit(f"lock: not in locked/: {', '.join(sorted(missing))}")


def versions(layers: list[str]) -> None:
    for layer in layers:
        for entry in entries(path(layer).read_text(encoding="utf-8")):
            print(entry.text.splitlines()[0].rstrip(" \\"))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            check()
        case ["renew", uv]:
            renew(uv)
        case ["only", *names]:
            only(names)
        case ["without", name, *layers]:
            print("\n".join(entry.text for layer in layers for entry in locked()[layer] if entry.name != name))
        case ["asked", *layers]:
            print("\n".join(requirement for layer in layers for requirement in wanted()[layer]))
        case ["versions", *layers]:
            versions(layers)
        case _:
            raise SystemExit(__doc__)
