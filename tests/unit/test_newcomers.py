"""Sources that a sound server gets or resumes are told, what attempts of ours do to them is not; nothing is left."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from ravatar_audio.capture import newcomers as module
from ravatar_audio.capture.arrivals import Arrivals
from ravatar_audio.capture.newcomers import Newcomers
from ravatar_audio.capture.pactl import Listed, Program
from tests.conftest import starts_a_process

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="it is asked on Linux only"), starts_a_process]


class Server:
    """What stands in for one: lists, and pipes from which programs print what is written to them."""

    def __init__(self, folder: Path) -> None:
        self.sources = {"1": Listed("usbmic", is_suspended=False)}
        self.looks = 0
        self._paths = {name: folder / name for name in ("subscribe", "record")}
        for path in self._paths.values():
            os.mkfifo(path)
        self._pipes: dict[str, int] = {}
        self.programs: list[Program] = []

    async def until_running(self, name: str) -> None:
        """The program reads its pipe."""
        with trio.fail_after(20):
            self._pipes[name] = await trio.to_thread.run_sync(os.open, self._paths[name], os.O_WRONLY)

    def stop(self) -> None:
        """Programs come to the end of what they print."""
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes = {}

    def run(self, name: str) -> Program:
        self.programs.append(Program("cat", str(self._paths[name])))
        return self.programs[-1]

    def list_sources(self) -> dict[str, Listed]:
        self.looks += 1
        return dict(self.sources)

    def say(self, text: str, name: str = "subscribe") -> None:
        os.write(self._pipes[name], text.encode())


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server(tmp_path)
    monkeypatch.setattr(module, "can_be_asked", lambda: True)
    monkeypatch.setattr(module, "list_sources", server.list_sources)
    monkeypatch.setattr(module, "list_outputs", lambda: {"7": "1"})
    monkeypatch.setattr(module, "subscribe", lambda: server.run("subscribe"))
    monkeypatch.setattr(module, "record", lambda source: server.run("record"))
    yield server
    server.stop()


async def until(newcomers: Newcomers, is_so: Callable[[], bool]) -> bool:
    """Whether something has come until this was so, and nothing was under way any more."""
    has_come = newcomers.have_come()
    with trio.fail_after(20):
        while not is_so() or newcomers._looking is not None or newcomers._beginning is not None:
            await trio.sleep(0.005)
            has_come |= newcomers.have_come()
    return has_come


async def listening(server: Server) -> Newcomers:
    newcomers = Newcomers(lambda: None)
    newcomers.listen()
    assert not await until(newcomers, lambda: server.looks == 1), "what was there before is nothing new"
    await server.until_running("subscribe")
    return newcomers


def has_ended(program: Program) -> bool:
    """It has been reaped, and its pipe closed."""
    process = program._process
    return process.returncode is not None and process.stdout is not None and process.stdout.closed


async def test_a_source_that_comes_is_told_and_what_else_happens_to_sources_is_not(server: Server) -> None:
    newcomers = await listening(server)
    server.say("Event 'new' on client #9\nEvent 'new' on source-output #3\nEvent 'change' on source #1\n")
    server.sources["1"] = Listed("usbmic", is_suspended=True)
    assert not await until(newcomers, lambda: server.looks == 2)
    server.say("Event 'change' on source #1\n")
    server.sources["1"] = Listed("usbmic", is_suspended=False)
    assert not await until(newcomers, lambda: server.looks == 3), "as an attempt wakes one that only idled"
    server.say("Event 'remove' on source #1\n")
    server.sources.clear()
    assert not await until(newcomers, lambda: server.looks == 4)
    server.say("Event 'new' on source #2\n")
    server.sources["2"] = Listed("usbmic", is_suspended=True)
    assert await until(newcomers, lambda: server.looks == 5)
    server.say("Event 'remove' on client #9\nEvent 'new' on source-output #4\nEvent 'change' on server #1\n")
    server.say("Event 'change' on source #2\n")
    assert not await until(newcomers, lambda: server.looks == 6), "once"
    newcomers.close()


async def test_a_suspended_source_that_gave_nothing_is_told_with_its_first_sound(server: Server) -> None:
    newcomers = await listening(server)
    newcomers.note_silence()
    assert len(newcomers.fds) == 1, "a source that is not suspended is not listened to: it might never be silent"
    server.sources = {"1": Listed("usbmic", is_suspended=True), "2": Listed("othermic", is_suspended=True)}
    newcomers.note_silence()
    newcomers.note_silence()
    assert len(newcomers.fds) == 2, "one recording, of the source of our own stream"
    assert not newcomers.have_come()
    await server.until_running("record")
    server.say("sound", "record")
    assert await until(newcomers, lambda: len(newcomers.fds) == 1), "and it is over"
    assert not newcomers.have_come()
    newcomers.close()


async def test_a_server_that_comes_back_is_listened_to_again_and_its_sources_are_news(server: Server) -> None:
    newcomers = await listening(server)
    server.sources["1"] = Listed("usbmic", is_suspended=True)
    newcomers.note_silence()
    await server.until_running("record")
    server.stop()
    assert not await until(newcomers, lambda: not newcomers.fds), "a server that goes is no arrival"
    newcomers.listen()
    newcomers.listen()
    assert await until(newcomers, lambda: server.looks == 3)
    assert len(newcomers.fds) == 1
    newcomers.close()


async def test_whoever_waits_for_arrivals_hears_of_sources(server: Server, tmp_path: Path) -> None:
    newcomers = await listening(server)
    arrivals = Arrivals(tmp_path / "snd", newcomers=newcomers)
    assert not arrivals.have_come()
    server.say("Event 'new' on source #2\n")
    server.sources["2"] = Listed("othermic", is_suspended=False)
    with trio.fail_after(20):
        await arrivals.wait()
    await until(newcomers, lambda: server.looks == 2)
    server.sources["1"] = Listed("usbmic", is_suspended=True)
    arrivals.note_silence()
    await server.until_running("record")
    server.say("sound", "record")
    with trio.fail_after(20):
        await arrivals.wait()
    assert arrivals.have_come()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(arrivals.wait)
            await trio.testing.wait_all_tasks_blocked()
            arrivals.close()


@pytest.mark.parametrize("when", ["listening", "beginning", "noting"])
async def test_closing_leaves_no_process_and_no_file(server: Server, when: str) -> None:
    """Reaped, too: a thread does that, as a killed program may take a moment to end."""
    server.sources["1"] = Listed("usbmic", is_suspended=True)
    newcomers = Newcomers(lambda: None) if when == "beginning" else await listening(server)
    newcomers.listen()
    if when == "listening":
        newcomers.note_silence()
        assert len(newcomers.fds) == 2
    newcomers.close()
    newcomers.close()
    if when == "noting":  # in its thread still, when the microphone has been closed
        newcomers.note_silence()
    made = 1 if when == "beginning" else 2
    with trio.fail_after(20):
        while len(server.programs) < made or not all(map(has_ended, server.programs)):  # noqa: ASYNC110 - it is a thread
            await trio.sleep(0.005)
    assert len(server.programs) == made
    assert not newcomers.have_come()


async def assert_nothing_is_told() -> None:
    newcomers = Newcomers(lambda: None)
    newcomers.listen()
    newcomers.note_silence()
    assert not await until(newcomers, lambda: True)
    assert newcomers.fds == []
    newcomers.close()


async def test_without_pactl_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "can_be_asked", lambda: False)
    await assert_nothing_is_told()


async def test_where_no_program_can_be_started_nothing_is_told(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: str) -> Program:
        return Program(str(tmp_path / "missing"))

    monkeypatch.setattr(module, "subscribe", fail)
    monkeypatch.setattr(module, "record", fail)
    server.sources["1"] = Listed("usbmic", is_suspended=True)
    await assert_nothing_is_told()
