"""A platform 600 ms away, there and back: every way in, on and out holds there as it does next door."""

import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio

from ravatar_audio.api.http import Platform
from ravatar_audio.api.messages import Reply
from ravatar_audio.emulator import Emulator, EmulatorSettings, Fault
from ravatar_audio.errors import MediaAbortedError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.session import ChatSession, LinkUp, LiveSession
from ravatar_audio.settings import Settings
from ravatar_audio.turns import Recording

from ..frames import frame_pcm, make_frame
from .conftest import Frames, until
from .own_time import OwnTime, run
from .served import tls_of
from .test_connecting import loopback, never, resolving
from .test_live import heard

ONE_WAY_S = 0.3
COUNT = 12
"""Frames of a stream of 3 s."""


def run_far(test: Any, clock: trio.abc.Clock | None = None, **given: Any) -> object:
    return run(test, clock or OwnTime(pace=4.0), **given)


far = pytest.mark.trio(run=run_far)


class Speaker(Frames):
    """Begins when the session has begun: what is said a while before is dropped, as it would only be late."""

    def __init__(self, *, count: int) -> None:
        super().__init__(count=count)
        self.begins = trio.Event()

    async def __aiter__(self) -> AsyncIterator[Frame]:
        await self.begins.wait()
        async for frame in super().__aiter__():
            yield frame


class Line:
    """A relay that delays what comes, each direction by `ONE_WAY_S` and in order, and keeps as much as is under way."""

    def __init__(self, port: int) -> None:
        self._to_port = port
        self._open: list[trio.SocketStream] = []
        self._goes_on = trio.Event()
        self._goes_on.set()
        self.port = 0

    async def serve(self, receive_buffer_bytes: int | None, task_status: trio.TaskStatus[None]) -> None:
        with trio.socket.socket() as sock:
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            await sock.bind(("127.0.0.1", 0))
            sock.listen()
            self.port = sock.getsockname()[1]
            task_status.started()
            await trio.serve_listeners(self._carry, [trio.SocketListener(sock)])

    async def hold(self, duration_s: float) -> None:
        """Take nothing from the client for so long, as behind a packet that was lost."""
        self._goes_on = trio.Event()
        await trio.sleep(duration_s)
        self._goes_on.set()

    def reset(self) -> None:
        """Every connection, at both of its ends."""
        for stream in self._open:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
        self._open.clear()

    async def _carry(self, near: trio.SocketStream) -> None:
        await trio.sleep(2 * ONE_WAY_S)  # the TCP handshake, which the system has made at once
        try:
            far_end = await trio.open_tcp_stream("127.0.0.1", self._to_port)
        except OSError:
            return
        both = [near, far_end]
        self._open += both
        async with near, far_end, trio.open_nursery() as nursery:
            for one, other in ((near, far_end), (far_end, near)):
                send, receive = trio.open_memory_channel[tuple[float, bytes]](1_000_000)
                nursery.start_soon(self._take, one, send, one is near)
                nursery.start_soon(self._give, other, receive)
        self._open = [stream for stream in self._open if stream not in both]

    async def _take(
        self, stream: trio.SocketStream, queue: trio.MemorySendChannel[tuple[float, bytes]], is_up: bool
    ) -> None:
        data = b"more"
        while data:
            if is_up:
                await self._goes_on.wait()
            try:
                data = bytes(await stream.receive_some())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                data = b""
            queue.send_nowait((trio.current_time() + ONE_WAY_S, data))

    async def _give(self, stream: trio.SocketStream, queue: trio.MemoryReceiveChannel[tuple[float, bytes]]) -> None:
        async for due_s, data in queue:
            await trio.sleep_until(due_s)
            try:
                await (stream.send_all(data) if data else stream.send_eof())
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            if not data:
                return


@asynccontextmanager
async def far_away(
    folder: Path, *faults: Fault, receive_buffer_bytes: int | None = None, secure: bool = True
) -> AsyncIterator[tuple[Emulator, Line, Settings]]:
    """An emulator over TLS at the other end of a line, and settings that lead there; without TLS by a name."""
    async with Emulator(EmulatorSettings(tls=tls_of(secure), slots=1, faults=faults)) as emulator:
        line = Line(urlsplit(emulator.api_url).port or 0)
        async with trio.open_nursery() as nursery:
            await nursery.start(_serve, line, receive_buffer_bytes)
            url = f"https://127.0.0.1:{line.port}" if secure else f"http://localhost:{line.port}"
            yield emulator, line, Settings(api_url=url, state_dir=str(folder / "state"))
            nursery.cancel_scope.cancel()


async def _serve(
    line: Line, receive_buffer_bytes: int | None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    await line.serve(receive_buffer_bytes, task_status)


@far
async def test_a_stream_arrives_whole_and_is_ended_in_order(tmp_path: Path) -> None:
    async with far_away(tmp_path) as (emulator, _, settings):
        began_s = trio.current_time()
        source = Speaker(count=COUNT)
        async with LiveSession(settings, source) as live:
            source.begins.set()
            assert trio.current_time() - began_s > 8 * ONE_WAY_S, "the line is short"
            await live.wait_finished()
        statistics, told = live.statistics(), emulator.statistics()
        assert statistics.acknowledged_samples == statistics.taken_samples == COUNT * FRAME_SAMPLES
        assert heard(told.live[0].wav) == b"".join(frame_pcm(seq) for seq in range(COUNT))
        assert (told.live[0].state, told.slots_free, told.close_codes) == ("ended", 1, (1000,))
        assert told.violation_count == 0


@far
async def test_a_reset_line_comes_back_and_every_sample_is_accounted_for(tmp_path: Path) -> None:
    async with far_away(tmp_path) as (emulator, line, settings):
        source = Speaker(count=20)
        async with LiveSession(settings, source) as live:
            source.begins.set()
            await until(lambda: live.statistics().sent_frames >= 4, "the first frames")
            line.reset()
            async for event in live.events():
                if isinstance(event, LinkUp) and event.connects == 2:
                    break
            await live.wait_finished()
        statistics, told = live.statistics(), emulator.statistics()
        dropped = sum(statistics.dropped_samples.values())
        assert statistics.taken_samples == 20 * FRAME_SAMPLES
        assert statistics.taken_samples == statistics.acknowledged_samples + dropped + statistics.pending_samples
        assert (statistics.pending_samples, statistics.reconnects) == (0, 1)
        assert (told.live[0].state, told.slots_free) == ("ended", 1)
        assert len(told.live[0].connections) == 2


@far
async def test_a_start_of_5_s_that_is_interrupted_leaves_no_slot_taken(tmp_path: Path) -> None:
    slow = Fault(at="startLiveSession", do="delay", delay_s=5.0)
    async with far_away(tmp_path, slow) as (emulator, _, settings):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_enter, settings)
                await until(lambda: emulator.statistics().faults_fired, "the request for a slot")
                scope.cancel()
        told = emulator.statistics()
        assert scope.cancelled_caught
        assert (len(told.live), told.live[0].state, told.slots_free) == (1, "ended", 1)


async def _enter(settings: Settings) -> None:
    async with LiveSession(settings, Frames()):
        pytest.fail("the session has begun")


@far
async def test_a_recorded_message_of_10_s_arrives_whole_and_is_answered(tmp_path: Path) -> None:
    recording = Recording()
    recording.add_pcm(b"".join(frame_pcm(seq) for seq in range(40))[: 2 * 10 * RATE_HZ])
    async with far_away(tmp_path) as (emulator, _, settings), ChatSession(settings) as chat:
        await chat.send_voice(recording)
        async for event in chat.events():
            if isinstance(event, Reply):
                assert "10.0 s" in (event.text or "")
                break
        assert emulator.statistics().violation_count == 0


@far
async def test_what_was_captured_before_the_source_failed_is_sent_behind_a_lost_packet(tmp_path: Path) -> None:
    """It goes again after three round trips."""
    async with far_away(tmp_path, receive_buffer_bytes=8_192) as (emulator, line, settings):
        begins, waiting = trio.Event(), list[int]()

        async def unplugged(look: Callable[[], int]) -> AsyncIterator[Frame]:
            await begins.wait()
            nursery.start_soon(line.hold, 6 * ONE_WAY_S + 0.4)
            for seq in range(7):
                yield make_frame(seq)
                await trio.sleep(0.4 / 7)
            waiting.append(look())
            raise MediaAbortedError("the microphone went away")

        async with trio.open_nursery() as nursery:
            with pytest.raises(MediaAbortedError):  # noqa: PT012 - the block is what is tested
                source = unplugged(lambda: live.statistics().pending_frames)
                async with (live := LiveSession(settings, source)):
                    begins.set()
                    async for _ in live.events():
                        pass
        assert waiting[0] >= 2, "nothing had to wait"
        told = emulator.statistics()
        assert heard(told.live[0].wav) == b"".join(frame_pcm(seq) for seq in range(7))
        assert (live.statistics().pending_frames, told.slots_free) == (0, 1)


@far
async def test_calls_outlive_a_name_server_that_has_died(tmp_path: Path) -> None:
    async with far_away(tmp_path, secure=False) as (emulator, line, settings), Platform(settings, "u") as platform:
        async with resolving(loopback):
            await platform.request_token()
        line.reset()
        async with resolving(never) as server:
            began_s = trio.current_time()
            await platform.request_token()
            assert server.asked >= 1, "a connection was kept"
            assert trio.current_time() - began_s < 5.0, "the whole look-up was waited for"
        assert emulator.statistics().tokens_issued == 2
