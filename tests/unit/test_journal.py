"""The log in systemd's journal: what arrives at its socket, in its own format."""

import io
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ravatar_audio.observe.journal import FIELDS, JournalHandler, entry, is_journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.settimeout(5.0)
        yield listener


@pytest.fixture
def handler(journal: socket.socket) -> Iterator[JournalHandler]:
    handler = JournalHandler(journal.getsockname())
    yield handler
    handler.close()


def record(text: str, level: int = logging.WARNING, **fields: str) -> logging.LogRecord:
    made = logging.LogRecord("ravatar_audio.kiosk", level, __file__, 1, text, None, None)
    if fields:
        setattr(made, FIELDS, fields)
    return made


def test_a_record_has_its_text_priority_and_fields(journal: socket.socket, handler: JournalHandler) -> None:
    handler.emit(record("busy", RAVATAR_CODE="busy"))
    lines = journal.recv(65_536).decode().splitlines()
    assert {"MESSAGE=busy", "PRIORITY=4", "LOGGER=ravatar_audio.kiosk", "RAVATAR_CODE=busy"} <= set(lines)


@pytest.mark.parametrize(
    ("level", "priority"), [(logging.CRITICAL, 3), (logging.ERROR, 3), (logging.INFO, 6), (logging.DEBUG, 7)]
)
def test_priorities_are_syslogs(journal: socket.socket, handler: JournalHandler, level: int, priority: int) -> None:
    handler.emit(record("x", level))
    assert f"PRIORITY={priority}".encode() in journal.recv(65_536).splitlines()


def test_a_line_break_makes_no_field() -> None:
    text = "x\nPRIORITY=0"
    assert entry({"MESSAGE": text}) == b"MESSAGE\n" + len(text).to_bytes(8, "little") + text.encode() + b"\n"
    assert entry({"MESSAGE": "\udcff"}) == b"MESSAGE=\\udcff\n"


def test_what_is_too_large_for_a_datagram_comes_in_a_file(journal: socket.socket, handler: JournalHandler) -> None:
    handler.emit(record("x" * 1_000_000))
    _, files, *_ = socket.recv_fds(journal, 1, 1)
    with open(files[0], "rb") as file:
        file.seek(0)
        assert file.read().startswith(b"MESSAGE=" + b"x" * 1_000_000 + b"\n")


def test_a_journal_that_is_not_there_holds_nothing_up(tmp_path: Path) -> None:
    handler = JournalHandler(str(tmp_path / "nothing"))
    handler.emit(record("lost"))
    handler.close()


def test_only_a_stream_that_goes_to_the_journal_does(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:1"})
