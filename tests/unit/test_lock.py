"""locked/: what this project's commands install is what pyproject.toml asks for, with hashes, whatever the index."""

import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from tests.conftest import ROOT, starts_a_process

TOOL = SimpleNamespace(**runpy.run_path(str(ROOT / "scripts" / "locked.py")))
LINUX = {"sys_platform": "linux", "os_name": "posix", "platform_system": "Linux", "implementation_name": "cpython"}
MACHINES = [
    LINUX | {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for machine in ("x86_64", "aarch64", "armv7l")
]


def pinned(layers: tuple[str, ...], machine: dict[str, str]) -> dict[str, str]:
    """Name and version of what these layers install on such a machine."""
    found: dict[str, str] = {}
    for layer in layers:
        for entry in TOOL.locked()[layer]:
            first = entry.text.splitlines()[0].rstrip(" \\")
            marker = first.partition(";")[2].strip()
            if not marker or Marker(marker).evaluate(machine):
                assert found.get(entry.name, entry.version) == entry.version, f"{entry.name} at two versions"
                found[entry.name] = entry.version
    return found


@pytest.mark.parametrize("machine", MACHINES, ids=lambda each: f"{each['python_version']}-{each['platform_machine']}")
@pytest.mark.parametrize("layer", TOOL.LAYERS)
def test_what_pyproject_asks_for_is_locked_at_a_version_that_it_allows(layer: str, machine: dict[str, str]) -> None:
    found = pinned((*TOOL.BELOW[layer], layer), machine)
    for text in TOOL.wanted()[layer]:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            version = found.get(TOOL.normalised(requirement.name))
            assert version, f"{text} is not locked"
            assert requirement.specifier.contains(version, prereleases=True), f"{text}, but locked is {version}"


def test_the_lock_agrees_with_pyproject() -> None:
    assert TOOL.disagreements(TOOL.wanted()) == []


def test_every_entry_has_hashes_and_none_has_an_address() -> None:
    for layer, found in TOOL.locked().items():
        assert found, layer
        text = TOOL.path(layer).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
        assert len(lines) == len(found)
        assert all("--hash=sha256:" in entry.text for entry in found)
        assert "://" not in text


@starts_a_process
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"pyproject.toml": ('"trio>=', '"trio>=99,>=')}, "other requirements than pyproject.toml has now"),
        ({"locked/run.txt": (r"(?s)(trio==[^\n]*?) \\\n.*?(?=\n\w)", r"\1")}, "entries without a hash: trio=="),
        ({"locked/run.txt": (r"\A", "--index-url https://index.invalid/simple\n")}, "names an address"),
        ({"locked/run.txt": (r"# Locked on \S+", "# Locked")}, "does not say when it was made"),
    ],
)
def test_a_lock_that_disagrees_is_refused_and_says_why(
    tmp_path: Path, change: dict[str, tuple[str, str]], complaint: str
) -> None:
    result = check_changed(tmp_path, change)
    assert result.returncode == 1
    assert complaint in result.stderr


@starts_a_process
@pytest.mark.parametrize(("day", "is_old"), [("2020-01-01", True), ("2999-01-01", False)])
def test_an_old_lock_is_told_but_refuses_nothing(tmp_path: Path, day: str, is_old: bool) -> None:
    dated = {f"locked/{layer}.txt": (r"# Locked on \S+", f"# Locked on {day}") for layer in TOOL.LAYERS}
    result = check_changed(tmp_path, dated)
    assert result.returncode == 0, result.stderr
    assert ("it is old: scripts/lock renews it" in result.stderr) == is_old


def check_changed(tmp_path: Path, change: dict[str, tuple[str, str]]) -> subprocess.CompletedProcess[str]:
    """`locked.py check` in a copy of the tree, in which a pattern of some files was replaced."""
    names = ["pyproject.toml", "scripts/locked.py", *(f"locked/{layer}.txt" for layer in TOOL.LAYERS)]
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        if name in change:
            text, count = re.subn(*change[name], text, count=1)
            assert count == 1, name
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = [sys.executable, str(tmp_path / "scripts" / "locked.py"), "check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)
