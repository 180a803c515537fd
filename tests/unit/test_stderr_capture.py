"""What sound libraries print: caught while they answer, and the program's own again when they do not."""

import contextlib
import errno
import logging
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.capture.host import stderr_capture
from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.host.stderr_capture import catching_chatter, chatter_to_log
from tests.conftest import starts_a_process


@pytest.fixture(autouse=True)
def _as_a_command() -> Iterator[None]:
    with catching_chatter():
        yield


def stderr_file() -> tuple[int, int]:
    found = os.fstat(2)
    return found.st_dev, found.st_ino


@contextlib.contextmanager
def hanging_call() -> Iterator[ThreadCall[None]]:
    """A call into a sound library that hangs while its chatter is caught. No fixture: pytest moves stderr then."""
    begun, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        with chatter_to_log():
            begun.set()
            assert go_on.wait(30)

    ended = threading.Event()
    thread_call = ThreadCall(hang, lambda _: None, on_end=ended.set)
    thread_call.start()
    assert begun.wait(10)
    try:
        yield thread_call
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
    with hanging_call() as thread_call:
        assert stderr_file() != mine
        thread_call.abandon()
        assert stderr_file() == mine
        with chatter_to_log():
            assert stderr_file() != mine, "what others print is caught again"
        assert stderr_file() == mine
    assert stderr_file() == mine


def test_a_call_that_hangs_and_is_waited_for_gives_stderr_back(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, given_back = stderr_file(), threading.Event()
    end = stderr_capture._end

    def end_it(caught: Any) -> None:
        end(caught)
        given_back.set()

    monkeypatch.setattr(stderr_capture, "LONGEST_S", 0.05)
    monkeypatch.setattr(stderr_capture, "_end", end_it)
    with hanging_call() as thread_call:
        assert given_back.wait(10)
        assert stderr_file() == mine, "the program's own words are not caught for as long as it takes"
        assert not thread_call.has_ended
    assert stderr_file() == mine


def test_another_call_does_not_wait_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stderr_capture, "WAIT_S", 0.01)
    with hanging_call() as thread_call:
        held = stderr_file()
        with chatter_to_log():
            assert stderr_file() == held, "it is made, and its chatter left alone"
        assert not thread_call.has_ended


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


def stderr_of(tmp_path: Path, program: str) -> str:
    """What a program writes to its stderr, which is a file."""
    with (tmp_path / "stderr").open("w+") as file:
        subprocess.run([sys.executable, "-c", program], stderr=file, check=True, timeout=120)
        file.seek(0)
        return file.read()


ALL_CALLS = r"""
import os, subprocess, sys, threading
from ravatar_audio.capture import Microphone, list_devices
from ravatar_audio.capture.streams import alsa
from ravatar_audio.errors import RavatarError
import trio

def stderr_file():
    found = os.fstat(2)
    return found.st_dev, found.st_ino

mine, has_ended = stderr_file(), []
def look():
    while not has_ended:
        if stderr_file() != mine:
            os._exit(9)
looking = threading.Thread(target=look)
looking.start()

async def open_it(backend):
    async with Microphone("none such", backend=backend):
        pass

calls = [list_devices, *(lambda pcm=pcm: alsa.probe(pcm) for pcm in ("none such", "hw:99", "pulse"))]
calls += [lambda backend=backend: trio.run(open_it, backend) for backend in ("alsa", "portaudio", "pyaudio", "auto")]
for call in calls:
    try:
        call()
    except RavatarError:
        pass
os.write(2, b"mine\n")
subprocess.run([sys.executable, "-c", "import sys; print('a child', file=sys.stderr)"], check=True)
has_ended.append(True)
looking.join()
"""


@starts_a_process
def test_a_program_that_uses_the_library_keeps_its_stderr_and_hears_nothing_of_alsa_and_jack(tmp_path: Path) -> None:
    """While every call that lists, probes or opens is made stderr stays the program's file, and a child's."""
    assert stderr_of(tmp_path, ALL_CALLS) == "mine\na child\n"


OWN_HANDLER = """
import ctypes
library = ctypes.CDLL("libasound.so.2")
kind = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
said = []
mine = kind(lambda file, line, function, error, format: said.append(function))
library.snd_lib_error_set_handler(mine)
from ravatar_audio.capture.streams import alsa
try: alsa.probe("none such")
except Exception: pass
assert said, "the program's own handler was taken away"
"""


@starts_a_process
def test_a_programs_own_handler_of_alsas_messages_is_kept(tmp_path: Path) -> None:
    assert stderr_of(tmp_path, OWN_HANDLER) == ""
