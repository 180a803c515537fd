"""What to do about each error of the microphone, on each system; docs/howto/troubleshooting.md says the same.

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

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "troubleshooting.md"
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
    none = "No error, but an event: nothing was asked for, and the device's own rate, channels and format are taken"
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


CONCRETE: dict[type[MediaError], dict[str, tuple[str, ...]]] = {
    PermissionDeniedError: {
        "linux": ("usermod -aG audio USER", "SupplementaryGroups=audio", "--group-add audio"),
        "darwin": ("System Settings, Privacy & Security, Microphone", "'tccutil reset Microphone'"),
        "win32": ("'start ms-settings:privacy-microphone'", "'Let desktop apps access your microphone'"),
    },
    DeviceNotFoundError: {
        "linux": ("'ravatar-audio devices'", "'arecord -l'"),
        "darwin": ("'ravatar-audio devices'", "'system_profiler SPAudioDataType'"),
        "win32": ("'ravatar-audio devices'", "'start ms-settings:sound'", "'mmsys.cpl'"),
    },
    DeviceInUseError: {
        "linux": ("'sudo fuser -v /dev/snd/*'", "--device default"),
        "darwin": ("Control Center",),
        "win32": ("'mmsys.cpl', Recording, Properties, Advanced, Exclusive Mode",),
    },
    ConstraintsError: {
        "linux": ("'strict'", "'ravatar-audio devices'"),
        "darwin": ("'strict'", "'Audio MIDI Setup'"),
        "win32": ("'strict'", "Settings, System, Sound, Input"),
    },
    RecorderError: {
        "linux": (
            "'sudo dmesg | tail'",
            "systemctl --user restart wireplumber pipewire pipewire-pulse",
            "pulseaudio -k",
        ),
        "darwin": ("sudo killall coreaudiod",),  # launchctl kickstart is refused from macOS 14.4 on
        "win32": ("Restart-Service Audiosrv", "administrator"),
    },
    MediaAbortedError: {
        "linux": ("'sudo dmesg | tail'", "'vcgencmd get_throttled'"),
        "darwin": ("'system_profiler SPAudioDataType'",),
        "win32": ("'devmgmt.msc'", "Power Management"),
    },
}
"""Per code and system: the groups, services, commands and settings pages that the advice must name."""


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.code))
def test_the_advice_names_the_group_service_command_or_page(kind: type[MediaError], system: str) -> None:
    advice = kind.advice_on(system)
    for named in CONCRETE[kind][system]:
        assert named in advice
    assert advice.endswith(".")
    assert len(advice) < 300, "short enough for a kiosk's screen"


def test_an_error_that_is_told_more_keeps_its_kind_and_the_hosts_codes() -> None:
    error = DeviceInUseError("it is busy", portaudio_code=-9985)
    more = error.replaced(message="arecord has it", details={"errno": "EBUSY"})
    assert (type(more), more.message, more.advice) == (DeviceInUseError, "arecord has it", error.advice)
    assert more.details == {"portaudio_code": -9985, "errno": "EBUSY"}


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda found: f"{found[1]}{table()}{found[2]}", text), encoding="utf-8")
