"""How long until a stream goes on after a fault, and what sound does it cost? Each fault, beside the usual pipelines.

A stream of numbered frames at real-time pace (16 kHz, so that nothing is converted) goes to an emulator; when some have
come, a fault strikes. `link back` is from the fault until the server has answered the next WebSocket's handshake;
`streaming again` is from the fault until a frame has come over it. Two seconds later it is counted which frames have
come: those that never did are lost (in samples; what was on its way when the fault struck is among them), those that
came more than half a second after they had been captured are late, and `latest` is the age of the oldest that came:
who keeps all that was captured while the link was down loses less and plays it later. The usual pipelines
(rivals/baselines) keep it in a queue without end, and reconnect as their libraries' documentation shows. All of them
take turns, as often as each other. What is not back in time is shown as missing, and its lost samples go on.

Faults: Close with a code; reset; the connection ends without a Close; for ever nothing passes (`black hole`); for ever
nothing is read (`stop reading`); everything is reset, and for a second every connection is (`server restart`); a reset,
and the next handshake is refused with 403; the token expires, and the connection is closed for it.
"""

import asyncio
import logging
import random
import struct
import tempfile
import time
import wave
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import trio

from ravatar_audio import Emulator, EmulatorSettings, FileSource, LiveSession, Settings
from ravatar_audio.emulator import Fault
from ravatar_audio.emulator.contract import ClientMessage
from ravatar_audio.emulator.platform_state import Live
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, RATE_HZ

from .rig.harness import Report, interleave, median, running
from .rivals.baselines import asyncio_pipeline, trio_pipeline
from .rivals.baselines.microphones import SamplesSource
from .rivals.baselines.ticket import Ticket, take_ticket

FRAME_S = FRAME_SAMPLES / RATE_HZ
SOUND_S = 60.0
FRAMES_BEFORE = 4
AFTER_S = 2.0
REPEATS = 3
LATE_S = 0.5
DOWN_S = 1.0
SMALL_BUFFER_BYTES = 32_768
"""So that a server that does not read is noticed after some frames, as behind a slow line."""

DROP_GOAL_S, DEAD_GOAL_S = 0.1, 6.0


@dataclass(frozen=True, slots=True)
class Strike:
    """What goes wrong, and what the next handshake meets."""

    fault: Fault
    then: Fault | None = None
    is_down: bool = False
    """For a second nobody can connect."""
    goal_s: float | None = DROP_GOAL_S


def _message(do: str, **more: Any) -> Fault:
    return Fault(at="message", do=do, **more)


STRIKES: dict[str, Strike] = {
    **{f"close {code}": Strike(_message("close", code=code)) for code in (1000, 1001, 1011, 1012)},
    "reset": Strike(_message("reset")),
    "no close": Strike(_message("hang_up")),
    "black hole": Strike(_message("black_hole"), goal_s=DEAD_GOAL_S),
    "stop reading": Strike(_message("stop_reading"), goal_s=DEAD_GOAL_S),
    "server restart": Strike(_message("reset"), is_down=True, goal_s=None),
    "403 at handshake": Strike(_message("reset"), Fault(at="socket", do="status", status=403), goal_s=None),
    "token expired": Strike(_message("expire_token"), goal_s=None),
}
QUICK = ("close 1011", "reset", "403 at handshake", "token expired")


@dataclass(slots=True)
class Heard:
    """What one live session brought: (time, number, connection) of each frame."""

    frames: list[tuple[float, int, int]] = field(default_factory=list)
    changed: trio.Event = field(default_factory=trio.Event)

    def note(self, number: int, connection: int) -> None:
        """A frame has come."""
        self.frames.append((time.monotonic(), number, connection))
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Until it holds, looked at whenever a frame has come."""
        while not condition():
            await self.changed.wait()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one fault; None: not back in time."""

    link_s: float | None
    again_s: float | None
    lost_samples: int
    late_samples: int
    latest_s: float


Contender = Callable[[Emulator, Path, Heard], Awaitable[None]]


async def ours(emulator: Emulator, folder: Path, heard: Heard) -> None:
    settings = Settings(api_url=emulator.api_url, user_id="stream", state_dir=str(folder / "state"))
    async with (
        FileSource(folder / "numbers.wav") as source,
        LiveSession(settings, source, reconnect_limit_s=None) as live,
    ):
        await live.wait_finished()


async def usual_trio(emulator: Emulator, folder: Path, heard: Heard) -> None:
    source, ticket = await _usual(emulator)
    await trio_pipeline.stream(source, ticket)


async def usual_asyncio(emulator: Emulator, folder: Path, heard: Heard) -> None:
    source, ticket = await _usual(emulator)
    running_ones: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

    async def main() -> None:
        task = asyncio.ensure_future(asyncio_pipeline.stream(source, ticket))
        running_ones.append((asyncio.get_running_loop(), task))
        await asyncio.wait([task])
        _ = task.cancelled() or task.exception()  # how it ended shows in what has come

    try:
        await trio.to_thread.run_sync(lambda: asyncio.run(main()), abandon_on_cancel=True)
    finally:
        for loop, task in running_ones:
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)


async def _usual(emulator: Emulator) -> tuple[SamplesSource, Ticket]:
    ticket = await trio.to_thread.run_sync(take_ticket, emulator.api_url, "stream")
    return SamplesSource(numbered_frames(), RATE_HZ), ticket


CONTENDERS: dict[str, Contender] = {"ours": ours, "usual, asyncio": usual_asyncio, "usual, trio": usual_trio}


def numbered_frames() -> bytes:
    """A minute of silence but for each frame's first sample, which is its number."""
    rest = bytes(FRAME_BYTES - 2)
    return b"".join(struct.pack("<h", number) + rest for number in range(round(SOUND_S / FRAME_S)))


def main() -> None:
    with running("reconnect", __doc__) as (report, options):
        logging.getLogger("ravatar_audio").setLevel(logging.ERROR)  # that links go down is the point
        strikes = {name: STRIKES[name] for name in QUICK} if options.quick else STRIKES
        limit_s = 4.0 if options.quick else 14.0
        turns = {name: partial(trio.run, strike_all, name, strikes, limit_s) for name in CONTENDERS}
        rounds = interleave(turns, 1 if options.quick else REPEATS, warm_up=0)
        for name, strike in strikes.items():
            add_rows(report, name, strike, {who: [each[name] for each in those] for who, those in rounds.items()})


def add_rows(report: Report, name: str, strike: Strike, outcomes: Mapping[str, list[Outcome]]) -> None:
    again: dict[str, float | None] = {}
    for contender, those in outcomes.items():
        case = f"{name}, {contender}"
        goal_s = strike.goal_s if contender == "ours" else None
        links_s = [outcome.link_s for outcome in those if outcome.link_s is not None]
        agains_s = [outcome.again_s for outcome in those if outcome.again_s is not None]
        is_back = len(agains_s) == len(those)
        again[contender] = median(agains_s) if is_back else None
        report.at_most(f"link back, {case}, worst", max(links_s) if is_back else None, "s", goal_s, links_s)
        report.at_most(f"streaming again, {case}, p50", again[contender], "s", repeats=agains_s)
        lost = [outcome.lost_samples for outcome in those]
        report.at_most(f"lost, {case}, p50", median(lost), "samples", repeats=lost)
        report.at_most(f"late, {case}, p50", median([outcome.late_samples for outcome in those]), "samples")
        latest_s = [outcome.latest_s for outcome in those]
        report.at_most(f"latest, {case}", max(latest_s), "s", repeats=latest_s)
    report.comparison(f"Streaming again after: {name}", again, "s")


async def strike_all(contender: str, strikes: Mapping[str, Strike], limit_s: float) -> dict[str, Outcome]:
    """All faults at the same time, each on a stream and an emulator of its own."""
    outcomes: dict[str, Outcome] = {}
    heard = {name: Heard() for name in strikes}
    with tempfile.TemporaryDirectory() as scratch, _noting(heard):
        folders = _folders(Path(scratch), len(strikes))
        async with trio.open_nursery() as nursery:
            for (name, strike), folder in zip(strikes.items(), folders, strict=True):
                nursery.start_soon(_one, contender, name, strike, limit_s, folder, heard[name], outcomes)
    return {name: outcomes[name] for name in strikes}


def _folders(scratch: Path, count: int) -> list[Path]:
    folders = [scratch / str(number) for number in range(count)]
    for folder in folders:
        folder.mkdir()
        with wave.open(str(folder / "numbers.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes(numbered_frames())
    return folders


def _noting(heard: Mapping[str, Heard]) -> Any:
    """Let the emulators' live sessions note each frame; whose it is tells the folder that they write to."""
    take_frame = Live.take_frame
    by_folder = dict(zip(map(str, range(len(heard))), heard.values(), strict=True))

    def noted(live: Live, message: ClientMessage, connection: int, folder: Path) -> Any:
        (number,) = struct.unpack_from("<h", message.data)
        by_folder[folder.parent.name].note(number, connection)
        return take_frame(live, message, connection, folder)

    return mock.patch.object(Live, "take_frame", noted)


async def _one(
    contender: str, name: str, strike: Strike, limit_s: float, folder: Path, heard: Heard, outcomes: dict[str, Outcome]
) -> None:
    settings = EmulatorSettings(wav_dir=folder / "heard", receive_buffer_bytes=SMALL_BUFFER_BYTES, slots=9)
    async with Emulator(settings) as emulator, trio.open_nursery() as nursery:
        nursery.start_soon(partial(CONTENDERS[contender], emulator, folder, heard))
        await heard.wait(lambda: len(heard.frames) >= FRAMES_BEFORE)
        await trio.sleep(random.uniform(0, FRAME_S))  # at any phase of a frame
        struck_s, before = time.monotonic(), heard.frames[-1][2]
        opened_s = trio.current_time()
        if strike.then is not None:
            emulator.faults.add(strike.then)
        if strike.is_down:
            emulator.faults.add(Fault(at="accept", do="reset", times=0))
        await emulator.strike(strike.fault)
        if strike.is_down:
            await trio.sleep(DOWN_S)
            emulator.faults.clear()
        with trio.move_on_after(limit_s):
            await heard.wait(lambda: heard.frames[-1][2] > before)
            await trio.sleep(AFTER_S)
        link_s = min(
            (item.opened_s - opened_s for item in emulator.statistics().connections if item.number > before),
            default=None,
        )
        outcomes[name] = judge(heard, struck_s, before, link_s)
        nursery.cancel_scope.cancel()


def judge(heard: Heard, struck_s: float, before: int, link_s: float | None) -> Outcome:
    """What has come by now, `struck_s` being when the fault struck and `before` the connection at that time."""
    ended_s = time.monotonic()
    began_s = min(came_s - (number + 1) * FRAME_S for came_s, number, _ in heard.frames)
    captured = int((ended_s - began_s) / FRAME_S) - 1  # the newest may be on its way
    numbers = {number for _, number, _ in heard.frames}
    late_s = [came_s - began_s - (number + 1) * FRAME_S for came_s, number, _ in heard.frames]
    again_s = next((came_s - struck_s for came_s, _, connection in heard.frames if connection > before), None)
    return Outcome(
        link_s=link_s if again_s is not None else None,
        again_s=again_s,
        lost_samples=FRAME_SAMPLES * sum(number not in numbers for number in range(captured)),
        late_samples=FRAME_SAMPLES * sum(value > LATE_S for value in late_s),
        latest_s=max(late_s),
    )


if __name__ == "__main__":
    main()
