"""What sound libraries print: caught while they answer, and the program's own again when they do not."""

import contextlib
import errno
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.capture import chatter
from ravatar_audio.capture.chatter import chatter_to_log
from ravatar_audio.capture.worker import Errand


def stderr_file() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def hanging_call() -> Iterator[Errand[None]]:
    """A call into a sound library that hangs while its chatter is caught. No fixture: pytest moves stderr then."""
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with chatter_to_log():
            begun.set()
            assert go_on.wait(30)

    ended = threading.Event()
    errand = Errand(hang, lambda _: None, on_end=ended.set)
    errand.start()
    assert begun.wait(10)
    try:
        yield errand
    finally:
        go_on.set()
    assert ended.wait(10)


def test_what_is_printed_goes_to_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    before = stderr_file()
    with caplog.at_level(logging.DEBUG, "ravatar_audio"), chatter_to_log():
        assert stderr_file() != before
        os.write(2, b"ALSA lib: no\nsuch thing\n")
    assert stderr_file() == before
    assert [record.getMessage() for record in caplog.records] == [
        "sound library: ALSA lib: no",
        "sound library: such thing",
    ]


def test_a_call_that_hangs_gives_stderr_back_when_it_is_given_up() -> None:
    mine = stderr_file()
    with hanging_call() as errand:
        assert stderr_file() != mine
        errand.abandon()
        assert stderr_file() == mine
        with chatter_to_log():
            assert stderr_file() != mine, "what others print is caught again"
        assert stderr_file() == mine
    assert stderr_file() == mine


def test_a_call_that_hangs_and_is_waited_for_gives_stderr_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, given_back = stderr_file(), threading.Event()
    end = chatter._end

    def end_it(caught: Any) -> None:
        end(caught)
        given_back.set()

    monkeypatch.setattr(chatter, "LONGEST_S", 0.05)
    monkeypatch.setattr(chatter, "_end", end_it)
    with hanging_call() as errand:
        assert given_back.wait(10)
        assert stderr_file() == mine, "the program's own words are not caught for as long as it takes"
        assert not errand.has_ended
    assert stderr_file() == mine


def test_another_call_does_not_wait_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chatter, "WAIT_S", 0.01)
    with hanging_call() as errand:
        held = stderr_file()
        with chatter_to_log():
            assert stderr_file() == held, "it is made, and its chatter left alone"
        assert not errand.has_ended


def test_no_folder_for_temporary_files_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with chatter_to_log():
        pass


def test_where_there_is_no_room_the_call_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "memfd_create", refuse, raising=False)
    before, mine = len(os.listdir("/dev/fd")), stderr_file()
    for _ in range(3):
        with chatter_to_log():
            assert stderr_file() == mine
    assert len(os.listdir("/dev/fd")) == before
