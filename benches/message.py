"""What does one live voice message cost? CPU of the client's process for each, over ws and wss, beside other clients.

The message is the protocol's: 8,192 bytes of sound, base64 in a JSON envelope, about 11.2 kB of text. Each contender
sends as fast as its own flow control lets it to a server in another process that throws everything away; what counts is
user and system time of the sending process (getrusage), taken over all messages of a run. Runs go by turns, and the
median counts. Contenders: `ours` (the session's cheap path), `plain` (our plain path: splice, then trio-websocket),
`usual` (json.dumps, binascii, trio-websocket), and websockets, aiohttp and picows on asyncio, each with json.dumps and
with the envelope spliced around the base64 text, as an expert would do.
"""

import argparse
import asyncio
import binascii
import importlib
import json
import os
import resource
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio
import trio_websocket

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.link import open_link
from ravatar_audio.api.messages import Envelope
from ravatar_audio.frames import FRAME_BYTES

from .harness import Report, arguments, median, this_module
from .sink import running_sink, take_core

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
CONTENDERS = ("usual", "ours", "plain", *(f"{name}_{way}" for name in OTHERS for way in ("json", "splice")))

Send = Callable[[str], Awaitable[Any]]


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
    if contender == "usual":
        return trio.run(usual, url, authority, count)
    if contender in ("ours", "plain"):
        return trio.run(lambda: ours(url, authority, count, plain=contender == "plain"))
    library, way = contender.split("_")
    run = {"websockets": with_websockets, "aiohttp": with_aiohttp, "picows": with_picows}[library]
    return asyncio.run(run(url, authority, count, by_json if way == "json" else by_splice))


def in_own_process(contender: str, url: str, authority: str, count: int, core: int | None) -> float | str:
    """The figure, or why there is none."""
    command = this_module("message", "--run", contender, url, authority, count)
    run = subprocess.run(
        [*command, str(-1 if core is None else core)], capture_output=True, text=True, timeout=300, check=False
    )
    if run.returncode:
        return (run.stderr.strip().splitlines() or ["no reason given"])[-1]
    return float(run.stdout)


def main() -> None:
    if "--run" in sys.argv:
        contender, url, authority, messages, own_core = sys.argv[2:]
        take_core(int(own_core))
        print(measure(contender, url, authority, int(messages)))
        return
    options: argparse.Namespace = arguments("message", __doc__)
    count, rounds = (1_000, 3) if options.quick else (4_000, 7)
    cores = (os.cpu_count() or 1) > 1 and hasattr(os, "sched_setaffinity")
    report = Report("message")
    for secure in (False, True):
        scheme = "wss" if secure else "ws"
        costs: dict[str, list[float]] = {name: [] for name in CONTENDERS}
        with running_sink(secure=secure, core=1 if cores else None) as (url, authority):
            for round_number in range(rounds):
                for name in CONTENDERS:
                    result = in_own_process(name, url, authority, count, 0 if cores else None)
                    if isinstance(result, float):
                        costs[name].append(result)
                    elif round_number == 0:
                        report.note(f"{name} over {scheme} is missing: {result}")
        medians = {name: median(values) if values else None for name, values in costs.items()}
        for name in CONTENDERS:
            report.at_most(f"{scheme}_{name}", medians[name], "µs of CPU a message")
        if (mine := medians["ours"]) is not None:
            if (theirs := medians["usual"]) is not None:
                goal = 0.25 if secure else None
                report.at_most(f"{scheme}_ours_to_usual", mine / theirs, "ratio", goal)
            rivals = [value for name, value in medians.items() if value and name.split("_")[0] in OTHERS]
            report.at_most(f"{scheme}_ours_to_cheapest_other", mine / min(rivals) if rivals else None, "ratio", 1.0)
    report.finish(options)


if __name__ == "__main__":
    main()
