"""A live stream while everything goes wrong: is anything lost that is not counted, and how soon does sound flow again?

Noise at the pace of a microphone goes over real sockets and TLS to an emulator that is hurt at random: closes of every
kind, resets, hang-ups, black holes, servers that stop reading or crawl, garbage, refused handshakes, expired tokens and
sessions, a platform that has forgotten all, a name server that dies, an uplink that is too slow, a server that answers
no pings, a network interface that goes away. With an odd `--seed` it goes through a proxy (CONNECT), which may go away
as well; its system acknowledges then, and not the platform's. Each fault strikes at least once. At the end every sample
must be accounted for: captured = acknowledged or heard + dropped by cause + in flight, by the client's account and by
the emulator's; and what the platform heard, cut at its marks, must be what was captured.
`--seed` makes the order of faults repeatable.
"""

import argparse
import ctypes
import hashlib
import math
import os
import random
import socket
import tempfile
import wave
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import trio
import trio.testing

from ravatar_audio import Emulator, EmulatorSettings, Frame, LinkLost, LinkUp, LiveSession, Settings, SyntheticSource
from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.link import LinkLimits
from ravatar_audio.emulator import EmulatorStatistics, Fault
from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES
from ravatar_audio.session.in_flight import InFlight

from .rig.connect_proxy import ConnectProxy
from .rig.harness import Report, arguments, percentile
from .rig.sink import server_context

CLEAN = "clean drop"
BLACK_HOLE = "black hole"
HIDDEN_HOLE = "black hole behind the proxy"
NO_NAMES = "name server dead"
LIMIT_S = {
    CLEAN: 0.1,
    BLACK_HOLE: 6.0,
    HIDDEN_HOLE: LinkLimits().deaf_ping_s + LinkLimits().deaf_s + 0.5,
    NO_NAMES: 1.5,
}
"""Until the link is up again, the handshake itself not counted. A proxy acknowledges what goes nowhere: there only
pings tell, and while sending goes on these take longer."""

STABLE_S = Backoff().stable_s
DEAD_S = 16.0
"""Longer than it takes to notice. Not for ever: dead connections would keep what the emulator has for them."""

# What strikes an open connection, and the kind of recovery that it asks for; None: the link need not break. A strike is
# a fault of the emulator's, or one of OUTAGES below.
STRIKES: list[tuple[str, dict[str, Any], str | None]] = [
    *(("close", {"code": code}, CLEAN) for code in (1000, 1001, 1011, 1012, 1013)),
    ("reset", {}, CLEAN),
    ("hang_up", {}, CLEAN),
    ("black_hole", {"duration_s": DEAD_S}, BLACK_HOLE),
    ("stop_reading", {"duration_s": DEAD_S}, None),
    ("slow", {"bytes_per_s": 8_000, "duration_s": 3.0}, None),
    ("garbage", {}, None),
    ("binary", {}, None),
    ("oversized", {"size_bytes": 2_000_000}, None),
    ("broken_text", {}, None),
    ("stream_error", {"error": "Timeout"}, CLEAN),
    ("expire_token", {}, None),
    ("expire_session", {}, None),
    ("slow", {"bytes_per_s": 25_000, "duration_s": 5.0}, None),  # an uplink of 200 kbit/s; the stream takes 43 KB/s
    ("no_pongs", {}, None),
    ("forget", {}, None),  # the platform was started again, and knows nothing any more
    ("name_server", {"duration_s": 6.0}, NO_NAMES),
    ("interface", {"duration_s": 3.0}, None),
]
PROXY_STRIKES: list[tuple[str, dict[str, Any], str | None]] = [("proxy", {"duration_s": 2.0}, None)]
# What the next handshakes meet after a clean drop; recovery then takes longer, and is not held against the limit.
OBSTACLES: list[Fault] = [
    Fault(at="socket", do="status", status=503, times=2),
    Fault(at="socket", do="status", status=403),
    Fault(at="socket", do="reset"),
    Fault(at="socket", do="hang_up", after_bytes=20),
    Fault(at="socket", do="garbage"),
    Fault(at="socket", do="close", code=1013),
    Fault(at="accept", do="reset", times=2),
    Fault(at="accept", do="delay", delay_s=0.5),
    Fault(at="jwt", do="status", status=504),
]


HOST = "platform.test"
"""As the client knows the emulator; looked up by `Names`."""


class Names(trio.abc.HostnameResolver):
    """The name server: as it should be, dead (it answers nothing), or out of reach (an error at once)."""

    def __init__(self) -> None:
        self.state: Literal["well", "dead", "unreachable"] = "well"

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state == "dead":
            await trio.sleep_forever()
        if self.state == "unreachable":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port or 0))]

    async def getnameinfo(self, *args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "nobody asks")


@dataclass(frozen=True, slots=True)
class World:
    """What the client talks to, and by way of what."""

    emulator: Emulator
    names: Names
    proxy: ConnectProxy | None

    async def kill_name_server(self, duration_s: float) -> None:
        """It answers no more, and then the connection drops: the addresses of the last one have to serve."""
        self.names.state = "dead"
        await self.emulator.strike(Fault(at="message", do="reset"))
        await trio.sleep(duration_s)
        self.names.state = "well"

    async def lose_interface(self, duration_s: float) -> None:
        """Nothing passes, nothing can be reached, no name be found, until the interface is there again."""
        self.names.state = "unreachable"
        self.emulator.faults.add(Fault(at="accept", do="reset", times=0))
        await self.emulator.strike(Fault(at="message", do="black_hole", duration_s=DEAD_S))
        await trio.sleep(duration_s)
        self.emulator.faults.clear()
        self.names.state = "well"

    async def lose_proxy(self, duration_s: float) -> None:
        """It drops what it carries, and refuses what is new."""
        assert self.proxy is not None
        await self.proxy.leave_for(duration_s)


OUTAGES: dict[str, Callable[[World, float], Awaitable[None]]] = {
    "name_server": World.kill_name_server,
    "interface": World.lose_interface,
    "proxy": World.lose_proxy,
}
"""What the emulator cannot do by one fault of its own; each runs beside what follows it, for its duration."""


def main() -> None:
    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--seconds", type=float, default=60.0, help="how long to stream at least (default: 60)")
        parser.add_argument("--seed", type=int, default=1, help="order of the faults (default: 1)")

    options = arguments("chaos", __doc__, extend)
    report = Report("chaos")
    seconds = min(options.seconds, 15.0) if options.quick else options.seconds
    trio.run(run, report, seconds, random.Random(options.seed), options.seed % 2 == 1)
    report.finish(options)
    raise SystemExit(0 if all(row.reached is not False for row in report.rows) else 1)


class Remembered:
    """The source, and in which order it gave what. Each frame of noise is unlike all others, so a digest is enough."""

    def __init__(self, source: SyntheticSource) -> None:
        self.source = source
        self.places: dict[bytes, int] = {}
        self.lengths: list[int] = []

    async def __aiter__(self) -> AsyncIterator[Frame]:
        async for frame in self.source:
            self.places[digest(frame.pcm)] = len(self.lengths)
            self.lengths.append(frame.length_samples)
            yield frame


class Recovery:
    """When faults struck and when links came and went: how long each kind of recovery took."""

    def __init__(self) -> None:
        self.took_s: dict[str, list[float]] = defaultdict(list)
        self.struck: tuple[str, float] | None = None
        self.links = self.strikes = 0
        self.is_up, self.is_down = trio.Event(), trio.Event()
        self.up_s = math.inf

    async def watch(self, live: LiveSession) -> None:
        async for event in live.events():
            if isinstance(event, LinkLost):
                if self.is_up.is_set():  # a handshake that fails is a loss as well, of a link that was down already
                    self.is_up = trio.Event()
                self.is_down.set()
            elif isinstance(event, LinkUp):
                self.links += 1
                self.up_s = trio.current_time()
                self.is_down = trio.Event()
                self.is_up.set()
                if self.struck is not None:
                    kind, struck_s = self.struck
                    self.took_s[kind].append(trio.current_time() - struck_s - event.handshake_s)
                    self.struck = None


async def run(report: Report, seconds: float, chance: random.Random, has_proxy: bool) -> None:
    tasks_before = trio.lowlevel.current_statistics().tasks_living
    with tempfile.TemporaryDirectory() as scratch:
        tls = server_context(scratch, HOST)
        settings = EmulatorSettings(tls=tls, wav_dir=Path(scratch, "heard"), slots=100, receive_buffer_bytes=32_768)
        async with Emulator(settings) as emulator, trio.open_nursery() as beside:
            world = World(emulator, Names(), ConnectProxy() if has_proxy else None)
            if world.proxy:
                await beside.start(world.proxy.serve)
            source = Remembered(SyntheticSource("noise", rate_hz=16_000))
            trio.socket.set_custom_hostname_resolver(world.names)
            proxy = f"http://proxy.test:{world.proxy.port}" if world.proxy else "none"
            files: dict[str, Any] = {"ca_file": str(Path(scratch, "ca.pem")), "state_dir": str(Path(scratch, "state"))}
            api_url = emulator.api_url.replace("127.0.0.1", HOST)
            state = Settings(api_url=api_url, proxy=proxy, connect_timeout_ms=3_000, **files)
            recovery, in_flight = Recovery(), Acknowledged()
            memory_mb: list[float] = []
            session = LiveSession(state, source, renew=True, reconnect_limit_s=None, lossless=False)
            session._outbox.in_flight = in_flight
            async with (
                source.source,
                session as live,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(recovery.watch, live)
                nursery.start_soon(watch_memory, memory_mb)
                await hurt(world, recovery, chance, trio.current_time() + seconds)
                emulator.faults.clear()
                with trio.fail_after(30):
                    await recovery.is_up.wait()
                    await source.source.stop()
                    await live.wait_finished()
                    await trio.sleep(0.5)  # for the last messages to be read on the other side
                nursery.cancel_scope.cancel()
            beside.cancel_scope.cancel()
            sent, captured = live.statistics(), source.source.statistics()
            heard = emulator.statistics()
            wrong, missing = compare(source, heard)
            acknowledged = {source.places[item] for item in in_flight.digests}
    await trio.testing.wait_all_tasks_blocked(0.2)
    tasks_left = trio.lowlevel.current_statistics().tasks_living - tasks_before

    dropped = sum(sent.dropped_samples.values())
    waiting = sent.pending_samples + sent.in_flight_samples
    unaccounted = captured.captured_samples - captured.ring_dropped_samples - sent.acknowledged_samples - dropped
    report.at_most("samples unaccounted for, by the client", abs(unaccounted - waiting), "samples", 0)
    # Each frame that the platform has not heard was acknowledged by its system, or the client counts it.
    unheard = missing - acknowledged
    lost_unread = sum(source.lengths[place] for place in missing & acknowledged)
    silent = sum(source.lengths[place] for place in unheard) - dropped - waiting
    report.at_most("samples neither acknowledged, heard nor counted", max(0, silent), "samples", 0)
    report.at_most("samples that a system had acknowledged and its server never read", lost_unread, "samples")
    for cause, samples in sent.dropped_samples.items():
        report.at_most(f"samples dropped, {cause}", samples, "samples")
    report.at_most("samples sent again", sent.repeated_samples, "samples")
    report.at_most("messages heard that are not what was captured, in order, between marks", wrong, "messages", 0)
    forgotten = [
        it for it in heard.violations if it.field in ("session", "LicenseId") and it.why.startswith("it is no ")
    ]
    report.at_most("messages of what the platform had forgotten", len(forgotten), "messages")
    report.at_most("other violations of the protocol", heard.violation_count - len(forgotten), "messages", 0)
    for kind, limit_s in LIMIT_S.items():
        took_s = recovery.took_s[kind]
        report.at_most(f"link up again after a {kind}, worst", max(took_s, default=None), "s", limit_s, took_s)
        report.distribution(f"link up again after a {kind}", took_s, "s", plot="Until the link is up again")
        middle = f", median {percentile(took_s, 50):.3f} s, the handshake not counted" if took_s else ""
        report.note(f"{kind}: {len(took_s)} times{middle}")
    report.at_most("tasks left", tasks_left, "tasks", 0)
    report.at_most("memory gained from the middle third of the run to the last", growth_mb(memory_mb), "MB", 5)
    ways = f"{world.proxy.tunnels} tunnels of a proxy" if world.proxy else "the way of their own"
    report.note(f"over TLS, by {ways}; {recovery.strikes} strikes, each fault at least once")
    report.at_least("connections", recovery.links, "connections")
    report.at_least("faults", heard.faults_fired + recovery.strikes, "faults")


async def hurt(world: World, recovery: Recovery, chance: random.Random, until_s: float) -> None:
    """Strike again and again, until then and until each fault has struck; each finds a link that is up."""
    emulator = world.emulator
    every = STRIKES + (PROXY_STRIKES if world.proxy else [])
    deck = chance.sample(every, len(every))
    while deck or trio.current_time() < until_s:
        await recovery.is_up.wait()
        emulator.faults.clear()  # obstacles that were not met
        do, details, kind = deck[-1] if deck else chance.choice(every)
        # What is timed, and a token that is refused right after its renewal, which by design ends a session.
        is_calm = kind in (BLACK_HOLE, NO_NAMES) or do == "expire_token" or (kind and chance.random() < 0.4)
        await trio.sleep(STABLE_S + 0.1 if is_calm else chance.uniform(0.1, 1.0))
        is_stable = trio.current_time() - recovery.up_s > STABLE_S
        if not recovery.is_up.is_set() or (do == "expire_token" and not is_stable):
            continue  # what struck before has only now been noticed
        del deck[-1:]
        recovery.strikes += 1
        if kind == BLACK_HOLE and world.proxy is not None:
            kind = HIDDEN_HOLE
        # A link that was up for a moment only is flapping, and one that meets obstacles cannot be back at once.
        is_timed = kind is not None and is_stable
        if kind == CLEAN and not is_timed and chance.random() < 0.7:
            emulator.faults.add(chance.choice(OBSTACLES))
        recovery.struck = (kind, trio.current_time()) if kind is not None and is_timed else None
        if (outage := OUTAGES.get(do)) is not None:
            await outage(world, details["duration_s"])
            continue
        await emulator.strike(Fault(at="message", do=do, **details))
        if kind is not None or do in ("slow", "stop_reading"):  # nothing else strikes before it is seen to
            with trio.move_on_after(LIMIT_S[HIDDEN_HOLE if kind == HIDDEN_HOLE else BLACK_HOLE]):
                await recovery.is_down.wait()


class Acknowledged(InFlight):
    """Notes which frames it lets go of as acknowledged, by their sound."""

    def __init__(self) -> None:
        super().__init__()
        self.digests: set[bytes] = set()

    def settle(self) -> None:
        before = [written.queued.frame.pcm for written in self._frames]
        super().settle()
        self.digests |= {digest(pcm) for pcm in before[: len(before) - self.frames]}


def compare(source: Remembered, heard: EmulatorStatistics) -> tuple[int, set[int]]:
    """Messages that do not follow their predecessor although no mark stands between, and frames that never arrived."""
    wrong, arrived = 0, set()
    for session in heard.live:
        if session.wav is None:
            continue
        with wave.open(str(session.wav), "rb") as file:
            pcm = file.readframes(file.getnframes())
        marks = {mark.position_samples // FRAME_SAMPLES for mark in session.marks}
        expected: int | None = None
        for number in range(len(pcm) // FRAME_BYTES):
            place = source.places.get(digest(pcm[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]))
            if place is None or (expected is not None and number not in marks and place != expected):
                wrong += 1
            if place is not None:
                arrived.add(place)
                expected = place + 1
    return wrong, set(range(len(source.lengths))) - arrived


def digest(pcm: bytes) -> bytes:
    return hashlib.blake2b(pcm, digest_size=16).digest()


async def watch_memory(memory_mb: list[float]) -> None:
    """Resident memory without what the allocator only keeps: a large message leaves it megabytes to use again."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)  # glibc's
    while True:
        trim(0)
        memory_mb.append(resident_mb())
        await trio.sleep(0.5)


def resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth_mb(memory_mb: list[float]) -> float:
    """Least of the last third against the least of the middle one: what a large message takes is given back."""
    third = max(1, len(memory_mb) // 3)
    return min(memory_mb[-third:]) - min(memory_mb[third : 2 * third] or memory_mb)


if __name__ == "__main__":
    main()
