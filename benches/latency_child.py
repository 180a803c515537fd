"""One contender of latency.py in a process of its own: python -m benches.latency_child REQUEST, a JSON object.

It answers with one: `times`, of each message when it entered its first stage and when it left each, and what was lost.
"""

import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack, nullcontext
from typing import Any, Self
from unittest import mock

import trio

from ravatar_audio import Frame, LiveSession, Microphone, Settings
from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.link import Link
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.session import live as live_module

from .message import ENVELOPE
from .rig.floor import floor_program
from .rig.loads import Holder
from .rig.ticker import Ticker
from .rivals.baselines import trio_pipeline
from .rivals.baselines.microphones import BLOCK_S, OnBlock, PyAudioSource
from .rivals.baselines.ticket import take_ticket
from .rivals.baselines.timing import Passage
from .wakeup import floor as floor_of_trio

WARM_UP_FRAMES = 4
START_LIMIT_S = 20.0
HOLD_S = 0.05
DEVICE_RATE_HZ = 48_000
FRAME_S = FRAME_SAMPLES / RATE_HZ

Times = list[list[float]]
"""Of each message: when it entered its first stage, and when it left each."""


class _Watched:
    """A source that notes when each frame was taken from it; the microphone may be opened later."""

    is_real_time = True

    def __init__(self) -> None:
        self.microphone: Microphone | None = None
        self.is_open = trio.Event()
        self.taken_s: dict[int, float] = {}

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Frame:
        await self.is_open.wait()
        assert self.microphone is not None
        frame = await anext(self.microphone)
        self.taken_s[frame.seq] = time.monotonic()
        return frame


class _TimedEncoder(AudioEncoder):
    encoded_s = 0.0
    """When the newest message was there, whichever session's it was."""

    written_s = 0.0
    """When the call that wrote it had returned."""

    def frame(self, pcm: bytes, *declared: int) -> memoryview:
        made = super().frame(pcm, *declared)
        type(self).encoded_s = time.monotonic()
        return made

    def send_now(self, link: Link, pcm: bytes, *declared: int) -> bool:
        is_sent = super().send_now(link, pcm, *declared)
        type(self).written_s = time.monotonic()
        return is_sent

    async def send(self, link: Link, pcm: bytes, *declared: int) -> None:
        await super().send(link, pcm, *declared)
        type(self).written_s = time.monotonic()


async def ours(request: dict[str, Any]) -> dict[str, Any]:
    """One live session of this package."""
    times: Times = []

    def note(frame: Frame) -> None:
        taken_s = watched.taken_s.pop(frame.seq)
        done_s = (_TimedEncoder.encoded_s, _TimedEncoder.written_s)
        times.append([frame.captured_s, frame.finished_s, taken_s, *done_s])

    with ExitStack() as stack:
        state_dir = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(mock.patch.object(live_module, "AudioEncoder", _TimedEncoder))
        holder = stack.enter_context(Holder(HOLD_S)) if request["held"] else None
        settings = Settings(
            api_url=request["api_url"], ws_url=request["ws_url"], ca_file=request["ca_file"], state_dir=state_dir
        )
        watched = _Watched()
        async with LiveSession(settings, watched, on_sent=note) as live, Microphone() as microphone:
            group_delay_s = microphone.group_delay_s
            watched.microphone = microphone
            watched.is_open.set()
            await trio.sleep(request["seconds"])
            await microphone.stop()
            await live.wait_finished()
        capture, sent = microphone.statistics(), live.statistics()
    return {
        "times": times,
        "lost_samples": capture.captured_samples + capture.device_lost_samples - sent.sent_samples,
        "group_delay_s": group_delay_s,
        "longest_hold_s": holder.longest_s if holder else 0.0,
    }


class _Counted(PyAudioSource):
    """PyAudio's callback, which also counts what came: sound that nobody got shows by the clock."""

    def __init__(self) -> None:
        super().__init__(DEVICE_RATE_HZ, 1)
        self._blocks = 0
        self._count_from_s = time.monotonic() + WARM_UP_FRAMES * FRAME_S
        self._first_s = self._last_s = 0.0

    def feeding(self, on_block: OnBlock) -> Self:
        def counted(block: bytes, came_s: float) -> None:
            if came_s > self._count_from_s:
                self._blocks += 1
                self._first_s, self._last_s = self._first_s or came_s, came_s
            on_block(block, came_s)

        return super().feeding(counted)

    @property
    def lost_samples(self) -> float:
        """At 16 kHz, to within a block: less than two blocks count as nothing."""
        lost_s = self._last_s - self._first_s - (self._blocks - 1) * BLOCK_S
        return round(lost_s * RATE_HZ) if lost_s > 2 * BLOCK_S else 0


async def usual(request: dict[str, Any]) -> dict[str, Any]:
    """One stream of the usual pipeline."""
    passages: list[Passage] = []
    take_one = lambda: take_ticket(  # noqa: E731
        request["api_url"], f"usual-{os.getpid()}", ca_file=request["ca_file"], ws_url=request["ws_url"]
    )
    ticket = await trio.to_thread.run_sync(take_one)
    source = _Counted()

    def note(passage: Passage) -> None:
        if not passages:
            scope.deadline = trio.current_time() + request["seconds"]
        passages.append(passage)

    holding = Holder(HOLD_S) if request["held"] else nullcontext()
    with holding as holder, trio.move_on_after(request["seconds"] + START_LIMIT_S) as scope:
        await trio_pipeline.stream(source, ticket, note)
    return {
        "times": [[item.came_s, item.awake_s, item.framed_s, item.encoded_s, item.written_s] for item in passages],
        "lost_samples": source.lost_samples,
        "group_delay_s": 0.0,
        "longest_hold_s": holder.longest_s if holder else 0.0,
    }


async def floor(request: dict[str, Any]) -> dict[str, Any]:
    """The machine alone: a thread that is woken, and a message that is made and written."""
    with floor_program() as program:
        times = program.paced_s(request["ws_url"], ENVELOPE.audio_affixes(), frames_in(request), FRAME_S)
    return {"times": times, "lost_samples": 0, "group_delay_s": 0.0, "longest_hold_s": 0.0}


async def trio_alone(request: dict[str, Any]) -> dict[str, Any]:
    """A wake-up of a trio task, and nothing else."""
    latencies_s = (await floor_of_trio(Ticker(), frames_in(request), FRAME_S))[1:]
    return {"times": [[0.0, latency_s, latency_s] for latency_s in latencies_s]}


def frames_in(request: dict[str, Any]) -> int:
    return max(WARM_UP_FRAMES + 2, int(request["seconds"] / FRAME_S))


CHILDREN = {"ours": ours, "large_pages": ours, "usual": usual, "floor": floor, "trio": trio_alone}


def main() -> None:
    request = json.loads(sys.argv[1])
    print(json.dumps(trio.run(CHILDREN[request["contender"]], request)))


if __name__ == "__main__":
    main()
