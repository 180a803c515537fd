"""What to do about each error of the microphone, on each system; docs/troubleshooting.md says the same.

`python -m tests.unit.test_media_advice` writes the page's table anew.
"""

import re
import sys
from pathlib import Path

import pytest

from ravatar_audio.errors import (
    ConstraintsError,
    DeviceInUseError,
    DeviceNotFoundError,
    MediaAbortedError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
KINDS: tuple[type[MediaError], ...] = (
    PermissionDeniedError,
    DeviceNotFoundError,
    DeviceInUseError,
    ConstraintsError,
    RecorderError,
    MediaAbortedError,
)
TABLE = re.compile(r"(<!-- table: media -->\n).*?(<!-- end -->)", re.DOTALL)


def table() -> str:
    rows = [["code", *SYSTEMS.values()], ["---"] * 4]
    rows += [[f"`{kind.code}`", *(kind.advice_on(system) for system in SYSTEMS)] for kind in KINDS]
    none = "No error: nothing was asked for, and the device's own rate, channels and format are taken"
    rows.append(["`no_constraints`", none, "the same", "the same"])
    cells = [[cell.rstrip(".").replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def test_the_page_says_what_the_errors_advise() -> None:
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found
    assert found[0] == f"<!-- table: media -->\n{table()}<!-- end -->"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.code))
def test_an_error_advises_for_the_system_that_it_happens_on(
    kind: type[MediaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    for system in (*SYSTEMS, "freebsd14"):
        monkeypatch.setattr(sys, "platform", system)
        assert kind("it failed").advice == kind.advice_on(system)
        assert kind("it failed", advice="Do this.").advice == "Do this."
    assert kind.advice_on("freebsd14") == kind.default_advice


@pytest.mark.parametrize(
    ("kind", "system", "named"),
    [
        (PermissionDeniedError, "linux", "usermod -aG audio"),
        (PermissionDeniedError, "darwin", "Privacy & Security"),
        (PermissionDeniedError, "win32", "desktop apps"),
        (DeviceNotFoundError, "linux", "arecord -l"),
        (DeviceInUseError, "linux", "fuser"),
        (DeviceInUseError, "win32", "exclusive mode"),
        (RecorderError, "linux", "systemctl --user restart"),
        (RecorderError, "darwin", "coreaudiod"),
        (RecorderError, "win32", "Audiosrv"),
        (MediaAbortedError, "linux", "dmesg"),
    ],
)
def test_the_advice_names_a_group_a_service_or_a_command(kind: type[MediaError], system: str, named: str) -> None:
    assert named in kind.advice_on(system)


def test_an_error_that_is_told_more_keeps_its_kind_and_the_hosts_codes() -> None:
    error = DeviceInUseError("it is busy", portaudio_code=-9985)
    more = error.replaced(message="arecord has it", details={"errno": "EBUSY"})
    assert (type(more), more.message, more.advice) == (DeviceInUseError, "arecord has it", error.advice)
    assert more.details == {"portaudio_code": -9985, "errno": "EBUSY"}


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda found: f"{found[1]}{table()}{found[2]}", text), encoding="utf-8")
