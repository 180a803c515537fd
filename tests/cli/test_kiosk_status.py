"""`ravatar-audio kiosk status`, against the page's server and what may be in its place."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result

from ravatar_audio.cli.kiosk import command
from ravatar_audio.errors import RavatarError, UnreachableError
from ravatar_audio.kiosk.machine import Phase, Snapshot, Trouble
from ravatar_audio.kiosk.server import KioskServer
from ravatar_audio.kiosk.texts import load_texts

FINE = Snapshot(Phase.READY, None, None, None, "ptt", False, -20.4, ())


@asynccontextmanager
async def kiosk(snapshot: Snapshot, file: Path) -> AsyncIterator[None]:
    server = KioskServer(snapshot.as_plain, lambda: None, lambda _: None, load_texts("en"))
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        await trio.Path(file).write_text(server.address + "\n", encoding="ascii")
        yield
        nursery.cancel_scope.cancel()


async def asked(file: Path, *options: str) -> Result:
    call = partial(CliRunner().invoke, command, ["status", "--address-file", str(file), *options])
    return await trio.to_thread.run_sync(call)


async def test_a_kiosk_that_is_well_says_so(tmp_path: Path) -> None:
    async with kiosk(FINE, file := tmp_path / "address"):
        told = await asked(file)
        as_json = await asked(file, "--json")
    assert (told.exit_code, told.output) == (0, "phase: ready\nmicrophone: -20 dBFS\n")
    assert json.loads(as_json.output) == json.loads(json.dumps(FINE.as_plain()))


@pytest.mark.parametrize(
    ("trouble", "code"),
    [(Trouble.SETTINGS, 2), (Trouble.MICROPHONE, 3), (Trouble.NETWORK, 4), (Trouble.CLOCK, 4)]
    + [(each, 5) for each in (Trouble.BUSY, Trouble.PAYMENT, Trouble.ACCOUNT, Trouble.SESSION, Trouble.PLATFORM)],
)
async def test_the_exit_code_is_that_of_what_is_wrong(trouble: Trouble, code: int, tmp_path: Path) -> None:
    waiting = replace(FINE, phase=Phase.WAITING, trouble=trouble, code="why", retry_in_s=3.6, level_dbfs=None)
    async with kiosk(waiting, file := tmp_path / "address"):
        told = await asked(file)
    assert told.exit_code == code
    assert told.output.splitlines()[1:] == [f"trouble: {trouble} (why)", "next attempt: in 4 s", "microphone: nothing"]


def test_every_trouble_has_an_exit_code() -> None:
    covered = {Trouble.SETTINGS, Trouble.MICROPHONE, Trouble.NETWORK, Trouble.CLOCK, Trouble.BUSY, Trouble.PAYMENT}
    assert covered | {Trouble.ACCOUNT, Trouble.SESSION, Trouble.PLATFORM} == set(Trouble)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (None, UnreachableError),
        ("http://127.0.0.1:1/secret/", UnreachableError),
        ("", UnreachableError),
        ("http://[", UnreachableError),
    ],
)
def test_no_kiosk_is_an_error_with_advice(content: str | None, kind: type[RavatarError], tmp_path: Path) -> None:
    file = tmp_path / "address"
    if content is not None:
        file.write_text(content, encoding="ascii")
    told = CliRunner().invoke(command, ["status", "--address-file", str(file)])
    assert isinstance(told.exception, kind)
    assert "secret" not in told.exception.message
    assert "systemctl status" in told.exception.advice


async def test_an_address_of_an_earlier_start_is_refused(tmp_path: Path) -> None:
    async with kiosk(FINE, file := tmp_path / "address"):
        file.write_text(file.read_text().rstrip("/\n") + "x/", encoding="ascii")
        told = await asked(file)
    assert isinstance(told.exception, RavatarError)
    assert "403" in told.exception.message
