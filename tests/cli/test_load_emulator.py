"""The emulator's mode for load: it checks what it reads, its processes agree, and it ends with its parent."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from ravatar_audio import ChatSession, LiveSession, Reply, Settings
from ravatar_audio.api.http import Platform
from ravatar_audio.capture import SyntheticSource
from ravatar_audio.capture.sources.prepared import PreparedSource, SharedClock, Utterance
from ravatar_audio.emulator import EmulatorSettings, Fault
from ravatar_audio.emulator.load_counters import LoadCounters
from ravatar_audio.emulator.load_emulator import LoadEmulator
from ravatar_audio.errors import AuthenticationError, BadRequestError, BusyError, ProtocolError, SettingsError
from ravatar_audio.load import LoadPlan, LoadRun, Workload, local_workers
from tests.session.linked import Tls


@contextmanager
def emulator(*options: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The command, as a user starts it; its address."""
    line = [sys.executable, "-m", "ravatar_audio", "emulator", "--load", "--port", "0", "--json", *options]
    with subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"RAVATAR_API_URL=(\S+?)\)", process.stderr.readline())
        assert found
        try:
            yield found[1], process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> dict[str, int]:
    """What it has counted."""
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    counts: dict[str, int] = json.loads(output.splitlines()[-1])
    return counts


async def test_a_load_run_against_two_processes_adds_up(tmp_path: Path) -> None:
    with emulator("--workers", "2", "--slots", "50") as (url, process):
        workload = Workload.parse({"clients": {"open": 1, "ptt": 1, "vad": 1, "chat": 1}, "speech": {"lead_s": 0}})
        run = LoadRun(LoadPlan({"api_url": url}, 16, 16.0, 0.12, workload), partial(local_workers, count=1))
        counts = (await run.run()).counts()
        heard = await trio.to_thread.run_sync(ended, process)
    assert counts["ended"] == 16
    assert counts["messages"] == heard["frames"] + heard["texts"]
    assert counts["replies"] == heard["replies"] > 4
    assert (heard["tokens"], heard["sockets"], heard["lives"], heard["active"]) == (16, 16, 12, 0)
    assert (heard["violations"], heard["torn"]) == (0, 0)


@asynccontextmanager
async def speaking(url: str, **settings: Any) -> AsyncIterator[LiveSession]:
    clock = SharedClock()
    said = await Utterance.prepare(SyntheticSource("speech", rate_hz=16_000, pace="full", duration_s=1.5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(clock.run)
        source = PreparedSource([said], clock=clock, pauses_s=[30.0])
        async with source, LiveSession(Settings(api_url=url, **settings), source) as live:
            yield live
        nursery.cancel_scope.cancel()


async def test_the_end_of_what_is_said_is_heard_at_two_places_of_each_frame(tmp_path: Path) -> None:
    with emulator() as (url, _):
        async with speaking(url, state_dir=str(tmp_path)) as live:
            with trio.fail_after(20.0):
                replies = [event async for event in _first(live, 1)]
            assert re.fullmatch(r"I heard you, about 1\.[2-8] s\.", replies[0].text or "")
            with trio.move_on_after(2.0) as scope:
                async for _ in _first(live, 1):
                    raise AssertionError("silence is answered")
            assert scope.cancelled_caught


async def _first(live: Any, count: int) -> AsyncIterator[Reply]:
    async for event in live.events():
        if isinstance(event, Reply):
            yield event
            count -= 1
            if not count:
                return


@pytest.mark.parametrize("workers", [1, 3])
async def test_what_one_process_gives_out_all_accept_and_nothing_else(workers: int, tmp_path: Path) -> None:
    with emulator("--workers", str(workers), "--slots", "3") as (url, process):
        settings = Settings(api_url=url, state_dir=str(tmp_path))
        licenses = []
        async with contextlib.AsyncExitStack() as stack:
            users = [await stack.enter_async_context(Platform(settings, f"user-{number}")) for number in range(4)]
            for user in users[:3]:
                await user.connection()
                started: list[Any] = []
                await user.start_live("ava", width=640, height=480, slot_wait_s=0, grace_s=1, on_start=started.append)
                licenses.append(started[0].license_id)
            assert len(set(licenses)) == 3
            with pytest.raises(BusyError):
                await users[3].start_live("ava", width=1, height=1, slot_wait_s=0, grace_s=1, on_start=print)
            with pytest.raises((BadRequestError, ProtocolError)):
                await users[3].end_live(licenses[0])  # another user's
            for _ in range(3):
                await users[0].end_live(licenses[0])  # again does nothing
            await users[3].start_live("ava", width=1, height=1, slot_wait_s=0, grace_s=1, on_start=started.append)
            with pytest.raises((BadRequestError, ProtocolError)):
                await users[0].start_live("nobody", width=1, height=1, slot_wait_s=0, grace_s=1, on_start=print)
            token = await users[0].tokens.get()
            forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
            users[0].tokens._token = forged
            users[0].request_token = lambda: _value(forged)  # type: ignore[method-assign]
            users[0].tokens._fetch = users[0].request_token
            with pytest.raises(AuthenticationError):
                await users[0].connection()
        counts = await trio.to_thread.run_sync(ended, process)
        assert (counts["lives"], counts["active"]) == (4, 3)


async def _value(text: str) -> str:
    return text


async def test_a_written_message_is_checked_and_answered(tmp_path: Path) -> None:
    with emulator() as (url, process):
        async with ChatSession(Settings(api_url=url, state_dir=str(tmp_path))) as chat:
            await chat.send_text("Good morning")
            with trio.fail_after(10.0):
                assert [event.text async for event in _first(chat, 1)] == ["You wrote: Good morning"]
        counts = await trio.to_thread.run_sync(ended, process)
        assert (counts["texts"], counts["checked"], counts["violations"]) == (1, 1, 0)


def test_over_tls_and_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    tls = Tls(True)
    with LoadEmulator(EmulatorSettings(tls=tls.server, slots=1), 2) as made:
        assert made.api_url.startswith("https://127.0.0.1:")
        assert all(os.path.exists(f"/proc/{pid}") for pid in made.pids)
    with emulator("--workers", "2") as (_, process):
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        process.kill()
        process.wait()
        deadline_s = 100
        while any(_lives(pid) for pid in children) and deadline_s:
            deadline_s -= 1
            signal.sigtimedwait([], 0.1)
        assert deadline_s, "its processes go on"


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def test_what_this_mode_has_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="no faults"):
        LoadEmulator(EmulatorSettings(faults=(Fault.parse("chat status=504"),)))
    with pytest.raises(SettingsError, match="workers is 0"):
        LoadEmulator(EmulatorSettings(), 0)
    line = [sys.executable, "-m", "ravatar_audio", "emulator", "--workers", "2"]
    told = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert "--load" in told.stderr


def test_counters_of_several_processes_add_up_and_slots_are_common() -> None:
    counters = LoadCounters(3)
    given = [counters.of_process(number).start_live(slots=5) for number in (0, 1, 2, 1, 0, 2)]
    assert given[5] is None
    assert len({*given[:5]}) == 5
    counters.of_process(2).end_live(given[0] or 0)
    counters.end_live(given[0] or 0)
    assert counters.active == 4
    assert counters.start_live(slots=5) is not None
    assert counters.as_dict()["lives"] == 6
    assert not counters.is_active(given[0] or 0)
