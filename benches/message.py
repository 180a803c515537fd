"""What does one live voice message cost? CPU of the client's process for each, over ws and wss, beside other clients.

The message is the protocol's: 8,192 bytes of sound, base64 in a JSON envelope, about 11.2 kB of text. Each contender
sends as fast as its own flow control lets it to a server in another process that throws everything away; what counts is
user and system time of the sending process (getrusage), taken over all messages of a run. Each contender has a process
of its own, which connects anew for each run; runs go by turns, and the median counts. Contenders: `ours` (the session's
cheap path), `plain` (our plain path: splice, then trio-websocket), `usual` (json.dumps, binascii, trio-websocket), and
websockets, aiohttp and picows on asyncio, each with json.dumps and with the envelope spliced around the base64 text, as
an expert would do. `floor` is the floor: a
program of C that makes the same message by the core's own source and writes it to the same socket (floor.c).
"""

import asyncio
import binascii
import importlib
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import trio
import trio_websocket

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.link import open_link
from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_BYTES

from .rig.floor import floor_program, lacking
from .rig.harness import Report, interleave, median, running, this_module
from .rig.sink import running_sink, take_core

ENVELOPE = Envelope(
    avatar_id="6620f0c1d2a4b5e6f7a8b9c0",
    user_id="3f0c9a5e8b7d4c6fa1b2c3d4e5f60718",
    language="en-US",
    source="ravatar-audio",
    session="5d2f6a10-93b4-4f0e-8a77-2b1c0d9e8f76",
    license_id="b7c1e2d3-4f5a-6978-8899-aabbccddeeff",
)
PCM = bytes(range(256)) * (FRAME_BYTES // 256)
FIELDS = ENVELOPE.fields() | {"chat_type": "voice", "requestType": "audio"}
PREFIX, SUFFIX = ENVELOPE.audio_affixes()
OTHERS = ("websockets", "aiohttp", "picows")
CONTENDERS = ("usual", "ours", "plain", "floor", *(f"{name}_{way}" for name in OTHERS for way in ("json", "splice")))

RUN_LIMIT_S = 60
GOAL_OVER_FLOOR = 1.35
"""Of our message over wss. A goal in microseconds would tell the machine."""

Run = Callable[[], float | None]
"""One contender's turn: its figure, or None where it has failed."""


def by_json() -> str:
    """The message as most would write it."""
    return json.dumps(FIELDS | {"audio_base64_pcm": binascii.b2a_base64(PCM, newline=False).decode("ascii")})


def by_splice() -> str:
    """The message around prepared ends."""
    return PREFIX + binascii.b2a_base64(PCM, newline=False).decode("ascii") + SUFFIX


def cpu_s() -> float:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def timed(count: int, send: Callable[[], Awaitable[Any]]) -> float:
    """Microseconds of CPU for each of `count` messages, after a tenth as many that do not count."""
    for _ in range(count // 10):
        await send()
    began_s = cpu_s()
    for _ in range(count):
        await send()
    return (cpu_s() - began_s) / count * 1e6


def context_for(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority) if authority else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


async def ours(url: str, authority: str, count: int, *, plain: bool) -> float:
    """The session's own encoder and link."""
    encoder = AudioEncoder(ENVELOPE, plain=plain)
    async with open_link(url, "token", context_for(authority)) as link, trio.open_nursery() as nursery:

        async def drain() -> None:
            while True:
                await link.receive()

        async def send() -> None:
            if not encoder.send_now(link, PCM):  # as a session does
                await encoder.send(link, PCM)

        nursery.start_soon(drain)
        cost = await timed(count, send)
        nursery.cancel_scope.cancel()
    return cost


async def usual(url: str, authority: str, count: int) -> float:
    """trio-websocket as its documentation shows it."""
    context = context_for(authority) if authority else None
    async with trio_websocket.open_websocket_url(url + "?token=token", ssl_context=context) as socket:
        return await timed(count, lambda: socket.send_message(by_json()))


async def with_websockets(url: str, authority: str, count: int, make: Callable[[], str]) -> float:
    client = importlib.import_module("websockets.asyncio.client")
    context = context_for(authority) if authority else None
    async with client.connect(url, ssl=context, compression=None, proxy=None) as socket:
        return await timed(count, lambda: socket.send(make()))


async def with_aiohttp(url: str, authority: str, count: int, make: Callable[[], str]) -> float:
    aiohttp = importlib.import_module("aiohttp")
    context = context_for(authority) if authority else None
    async with aiohttp.ClientSession() as session, session.ws_connect(url, ssl=context or True) as socket:
        return await timed(count, lambda: socket.send_str(make()))


async def with_picows(url: str, authority: str, count: int, make: Callable[[], str]) -> float:
    picows = importlib.import_module("picows")
    may_write = asyncio.Event()
    may_write.set()

    class Listener(picows.WSListener):  # type: ignore[misc, name-defined]  # known at run time only
        def pause_writing(self) -> None:
            may_write.clear()

        def resume_writing(self) -> None:
            may_write.set()

    context = context_for(authority) if authority else None
    transport, _ = await picows.ws_connect(Listener, url, ssl_context=context)

    async def send() -> None:
        if not may_write.is_set():
            await may_write.wait()
        transport.send(picows.WSMsgType.TEXT, make().encode("ascii"))

    cost = await timed(count, send)
    transport.disconnect()
    return cost


def measure(contender: str, url: str, authority: str, count: int) -> float:
    """One run of one contender in this process."""
    if contender == "floor":
        with floor_program() as program:
            return program.cpu_s(url, (PREFIX, SUFFIX), count) * 1e6
    if contender == "usual":
        return trio.run(usual, url, authority, count)
    if contender in ("ours", "plain"):
        return trio.run(lambda: ours(url, authority, count, plain=contender == "plain"))
    library, way = contender.split("_")
    run = {"websockets": with_websockets, "aiohttp": with_aiohttp, "picows": with_picows}[library]
    return asyncio.run(run(url, authority, count, by_json if way == "json" else by_splice))


@contextmanager
def in_own_process(contender: str, url: str, authority: str, count: int, core: int) -> Iterator[tuple[Run, list[str]]]:
    """A contender that has started and waits for its turns; the list has the reason once a turn has failed."""
    command = this_module("message", "--run", contender, url, authority, count, core)
    reasons: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        start, answers, errors = process.stdin, process.stdout, process.stderr

        def run() -> float | None:
            if reasons:
                return None
            try:
                start.write("run\n")
                start.flush()
            except BrokenPipeError:
                answer = ""
            else:
                answer = answers.readline()
            if not answer:
                reasons.append((errors.read().strip().splitlines() or [f"no answer within {RUN_LIMIT_S} s"])[-1])
                return None
            return float(answer)

        try:
            yield run, reasons
        finally:
            process.kill()


def serve_turns(contender: str, url: str, authority: str, count: int) -> None:
    """Measure once for each line that comes; a run that hangs ends the process."""
    for _ in sys.stdin:
        signal.alarm(RUN_LIMIT_S)
        cost = measure(contender, url, authority, count)
        signal.alarm(0)
        print(cost, flush=True)


def add_rows(report: Report, scheme: str, costs: dict[str, list[float]]) -> None:
    medians = {name: median(values) if values else None for name, values in costs.items()}
    for name, values in costs.items():
        report.at_most(f"{scheme}_{name}", medians[name], "µs of CPU a message", repeats=values)
    title = f"CPU of a live voice message over {scheme}"
    report.comparison(title, medians, "us", ours=("ours", "plain"))
    if (mine := medians["ours"]) is None:
        return
    if (theirs := medians["usual"]) is not None:
        ratios = [ours / usual for ours, usual in zip(costs["ours"], costs["usual"], strict=False)]
        goal = 0.25 if scheme == "wss" else None
        report.at_most(f"{scheme}_ours_to_usual", mine / theirs, "ratio", goal, repeats=ratios)
    if (floor := medians.get("floor")) is not None:
        ratios = [ours / least for ours, least in zip(costs["ours"], costs["floor"], strict=False)]
        goal = GOAL_OVER_FLOOR if scheme == "wss" else None
        report.at_most(f"{scheme}_ours_to_floor", mine / floor, "ratio", goal, repeats=ratios)
    rivals = [value for name, value in medians.items() if value and name.split("_")[0] in OTHERS]
    report.at_most(f"{scheme}_ours_to_cheapest_other", mine / min(rivals) if rivals else None, "ratio", 1.0)


def main() -> None:
    if "--run" in sys.argv:
        contender, url, authority, messages, own_core = sys.argv[2:]
        take_core(int(own_core))
        serve_turns(contender, url, authority, int(messages))
        return
    with running("message", __doc__) as (report, options):
        count, rounds = (1_000, 3) if options.quick else (3_000, 5)
        cores = (os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity")
        if (reason := lacking()) is not None:
            report.lacks("floor", reason)
        contenders = [name for name in CONTENDERS if name != "floor" or reason is None]
        for secure in (False, True):
            scheme = "wss" if secure else "ws"
            with running_sink(secure=secure, core=1 if cores else None) as (url, authority), ExitStack() as stack:
                runs = {
                    name: stack.enter_context(in_own_process(name, url, authority, count, 0 if cores else -1))
                    for name in contenders
                }
                results = interleave({name: run for name, (run, _) in runs.items()}, rounds)
            for name, (_, reasons) in runs.items():
                for reason in reasons:
                    report.lacks(f"{name} over {scheme}", reason)
            costs = {name: [value for value in values if value is not None] for name, values in results.items()}
            add_rows(report, scheme, costs)


if __name__ == "__main__":
    main()
