"""What the state folder keeps: a user id that is this machine's, and pauses between starts that are refused."""

import errno
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing

from ravatar_audio.errors import (
    GatewayTimeoutError,
    PaymentRequiredError,
    RavatarError,
    SessionExpiredError,
    SettingsError,
    UnreachableError,
)
from ravatar_audio.session import machine
from ravatar_audio.session.machine import stable_user_id
from ravatar_audio.session.start_pauses import FORGOTTEN_AFTER_S, LONGEST_S, StartPauses
from ravatar_audio.settings import USER_ID, Settings
from tests.conftest import starts_a_process


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Be a machine with this id, or with none."""
    path = tmp_path / "machine-id"
    monkeypatch.setattr(machine, "MACHINE_IDS", (tmp_path / "nothing", path))
    monkeypatch.setattr(machine, "BOARD_SERIAL", tmp_path / "serial")

    def become(name: str | None) -> None:
        path.unlink(missing_ok=True)
        if name is not None:
            path.write_text(name + "\n")

    return become


def test_a_copy_of_the_disk_in_another_machine_makes_an_id_of_its_own(tmp_path: Path, become: object) -> None:
    assert callable(become)
    settings = Settings(state_dir=str(tmp_path / "state"))
    become("one")
    first = stable_user_id(settings)
    assert stable_user_id(settings) == first
    assert "one" not in (tmp_path / "state" / "user_id").read_text()
    become("two")
    second = stable_user_id(settings)
    assert second != first
    assert stable_user_id(settings) == second


@pytest.mark.parametrize("name", [None, "", "uninitialized"])
def test_where_the_machine_has_no_id_the_one_that_is_kept_stays(
    tmp_path: Path, become: object, name: str | None
) -> None:
    assert callable(become)
    settings = Settings(state_dir=str(tmp_path / "state"))
    become("one")
    first = stable_user_id(settings)
    become(name)
    assert stable_user_id(settings) == first


def test_an_id_that_is_older_than_the_marks_is_kept_and_marked(tmp_path: Path, become: object) -> None:
    assert callable(become)
    (tmp_path / "user_id").write_text("an-old-id\n")
    settings = Settings(state_dir=str(tmp_path))
    become("one")
    assert stable_user_id(settings) == "an-old-id"
    become("two")
    assert stable_user_id(settings) != "an-old-id"


def test_a_board_with_another_serial_number_is_another_machine(tmp_path: Path, become: object) -> None:
    assert callable(become)
    settings = Settings(state_dir=str(tmp_path / "state"))
    become("one")
    (tmp_path / "serial").write_bytes(b"10000000abcdef01\0")
    first = stable_user_id(settings)
    (tmp_path / "serial").write_bytes(b"10000000abcdef02\0")
    assert stable_user_id(settings) != first


def test_on_a_read_only_disk_the_machines_own_id_serves(
    tmp_path: Path, become: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same id at each start, another on another machine. tests/kiosk boots from such a disk."""
    assert callable(become)

    def refuse(path: Path, text: bytes) -> NoReturn:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(machine, "draft_beside", refuse)
    settings = Settings(state_dir=str(tmp_path / "state"))
    become("one")
    first = stable_user_id(settings)
    assert USER_ID.fullmatch(first)
    assert stable_user_id(settings) == first
    become("two")
    assert stable_user_id(settings) not in (first, "")
    become(None)
    with pytest.raises(SettingsError, match="no user id can be kept"):
        stable_user_id(settings)


def test_a_user_without_a_home_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(SettingsError, match="no home folder") as caught:
        stable_user_id(Settings())
    assert "RAVATAR_STATE_DIR" in caught.value.advice
    assert stable_user_id(Settings(user_id="u")) == "u"


@starts_a_process
@pytest.mark.parametrize("line", ["live --source synthetic:tone --user-id u --seconds 1", "doctor --no-mic"])
def test_no_command_ends_in_a_traceback_without_a_home(line: str) -> None:
    program = (
        "import pathlib, sys\n"
        "def no_home(): raise RuntimeError('no home')\n"
        "pathlib.Path.home = no_home\n"
        "from ravatar_audio.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split(), "--api-url", "http://127.0.0.1:9"],
        env={"PATH": "/usr/bin:/bin", "RAVATAR_REQUEST_TIMEOUT_MS": "500"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode in (2, 4)


def waited_s(settings: Settings) -> float:
    """How long the next start waits, in an unreal time."""

    async def wait() -> float:
        await StartPauses(settings).wait()
        return trio.current_time()

    clock = trio.testing.MockClock(autojump_threshold=0.0)
    began_s = clock.current_time()
    return trio.run(wait, clock=clock) - began_s


def test_starts_that_are_refused_are_further_and_further_apart_up_to_minutes(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    found = []
    for _ in range(12):
        StartPauses(settings).note_failure(PaymentRequiredError("POST /jwt answered 402"))
        found.append(waited_s(settings))
    assert 0.3 < found[0] <= 1
    assert all(LONGEST_S / 2 - 2 < pause_s <= LONGEST_S for pause_s in found[-3:])
    assert 86_400 / (sum(found[-3:]) / 3) < 1_000, "a day's requests"


@pytest.mark.parametrize(
    ("error", "expected_s"),
    [
        (PaymentRequiredError("402", retry_after_s=120.0), 120.0),
        (PaymentRequiredError("402", retry_after_s=1e9), LONGEST_S),
        (GatewayTimeoutError("504", retry_after_s=40.0), 40.0),
        (UnreachableError("no network"), 0.0),
        (SettingsError("bad"), 0.0),
    ],
)
def test_what_counts_and_for_how_long(tmp_path: Path, error: RavatarError, expected_s: float) -> None:
    settings = Settings(state_dir=str(tmp_path))
    StartPauses(settings).note_failure(error)
    assert waited_s(settings) == pytest.approx(expected_s, abs=2)


def test_a_start_that_has_worked_begins_the_count_anew(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    for _ in range(8):
        StartPauses(settings).note_failure(PaymentRequiredError("402"))
    pauses = StartPauses(settings)
    pauses.note_begun()
    assert waited_s(settings) == 0
    pauses.note_failure(SessionExpiredError("the platform ended it"))
    assert waited_s(settings) == 0
    pauses.note_failure(PaymentRequiredError("402"))
    assert waited_s(settings) <= 1


@pytest.mark.parametrize("content", [b"", b"[]", b"\0\0", b'{"until_s": "x"}', b'{"until_s": 1e300}'])
def test_a_damaged_file_is_no_reason_to_wait(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "refused").write_bytes(content)
    assert waited_s(Settings(state_dir=str(tmp_path))) == 0


def test_a_clock_that_was_wrong_makes_no_start_wait_for_longer_than_the_limit(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    fields = {"api_url": settings.api_url, "failures": 3, "code": "busy"}
    (tmp_path / "refused").write_text(json.dumps(fields | {"until_s": time.time() + 1e6}))
    assert waited_s(settings) == pytest.approx(LONGEST_S, abs=1)
    (tmp_path / "refused").write_text(json.dumps(fields | {"until_s": time.time() - FORGOTTEN_AFTER_S - 1}))
    assert waited_s(settings) == 0
