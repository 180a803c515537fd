"""When a platform restarts under hundreds of clients, do all come back soon, and not all at once?

Many live sessions, each with its own user and one TLS context for all, talk to a light platform in a process of its own
(benches/storm_server.py). It resets every connection, does not listen for a while, and is there again, its sessions
remembered. Counted on the platform's side, from when it listens again: when each client's WebSocket is open, how many
fall into the busiest 50 ms, and how many live slots were taken beside the first of each client. The clients send no
sound: what is asked is how they come back. Their tries while nobody listened are known from their own events.
"""

import argparse
import json
import logging
import resource
import subprocess
import tempfile
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import trio

from ravatar_audio import Frame, LinkLost, LiveSession, Settings
from ravatar_audio.api.http import Platform
from ravatar_audio.api.tls import make_ssl_context

from .rig.harness import Missing, Report, progress, running, this_module

WINDOW_S = 0.05
BACK_GOAL_S, SHARE_GOAL_PERCENT = 10.0, 10.0
STEADY_S = 6.0
"""Longer than a link must last for the pauses to begin anew."""
AT_MOST_S = 60.0
_FILES_PER_CLIENT = 4
_STARTS_AT_ONCE = 20
_LOOK_S = 0.005


class Server:
    """The platform's process."""

    def __init__(self, folder: str) -> None:
        self._process = subprocess.Popen(
            this_module("storm_server", folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())

    async def tell(self, word: str) -> dict[str, Any]:
        """Let it do what a word says; its answer. The clients go on meanwhile."""
        return await trio.to_thread.run_sync(self._tell, word)

    def _tell(self, word: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._line())
        return answer

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


async def no_sound() -> AsyncIterator[Frame]:
    await trio.sleep_forever()
    yield  # pragma: no cover - makes it a generator


def busiest(times_s: Sequence[float], window_s: float = WINDOW_S) -> int:
    """The most of these times that lie within one window, wherever it begins."""
    ordered, first, most = sorted(times_s), 0, 0
    for index, time_s in enumerate(ordered):
        while time_s - ordered[first] >= window_s:
            first += 1
        most = max(most, index - first + 1)
    return most


async def storm(
    server: Server, folder: str, clients: int, outage_s: float
) -> tuple[float, list[float], dict[str, Any]]:
    """Let the platform go and come, and look how the clients come back."""
    address = f"https://127.0.0.1:{server.port}"  # looking names up is not what is asked
    settings = Settings(api_url=address, ca_file=str(Path(folder, "ca.pem")), proxy="none")
    ssl_context = make_ssl_context(settings)
    tries_s: list[float] = []
    starting = trio.CapacityLimiter(_STARTS_AT_ONCE)
    leaving = trio.Event()

    async def live(number: int) -> None:
        own = Settings(api_url=address, proxy="none", state_dir=str(Path(folder, f"state-{number}")))
        async with Platform(own, f"u{number}", ssl_context=ssl_context) as platform:
            session = LiveSession(own, no_sound(), platform=platform, reconnect_limit_s=None)
            await starting.acquire_on_behalf_of(session)
            is_starting = True
            try:
                async with session, trio.open_nursery() as nursery:
                    starting.release_on_behalf_of(session)
                    is_starting = False
                    nursery.start_soon(watch, session)
                    await leaving.wait()
                    nursery.cancel_scope.cancel()
            finally:
                if is_starting:
                    starting.release_on_behalf_of(session)

    async def watch(session: LiveSession) -> None:
        losses = 0
        async for event in session.events():
            losses += isinstance(event, LinkLost)
            if (
                isinstance(event, LinkLost) and losses > 1
            ):  # the first is at once, for the many links that are lost alone
                tries_s.append(trio.current_time() + event.retry_in_s)

    late_s: list[float] = []
    has_clock = trio.CancelScope()

    async def look_at_clock() -> None:
        with has_clock:
            while True:
                due_s = trio.current_time() + _LOOK_S
                await trio.sleep_until(due_s)
                late_s.append(trio.current_time() - due_s)

    async def report_of_all(since: int) -> dict[str, Any]:
        """What the platform has counted when each client has a WebSocket, of those from `since` on."""
        report: dict[str, Any] = {}
        with trio.move_on_after(AT_MOST_S):
            while True:
                report = await server.tell("report")
                report["handshakes"] = report["handshakes"][since:]
                if len({user for _, user in report["handshakes"]}) == clients:
                    break
                await trio.sleep(0.25)
        return report

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(live, number)
        progress(0.1, "all connect")
        begun = len((await report_of_all(0))["handshakes"])
        if begun < clients:
            raise Missing(f"only {begun} of {clients} clients connected in {AT_MOST_S:g} s: this machine is too busy")
        await trio.sleep(STEADY_S)
        before = len((await server.tell("report"))["handshakes"])
        gone = trio.current_time()
        await server.tell("down")
        progress(0.4, "the platform is gone")
        await trio.sleep(outage_s)
        came_s = float((await server.tell("up"))["at_s"])
        progress(0.7, "it is back")
        nursery.start_soon(look_at_clock)
        report = await report_of_all(before)
        report["late_s"] = late_s
        leaving.set()
        nursery.cancel_scope.deadline = trio.current_time() + AT_MOST_S
        has_clock.cancel()
        return came_s, [time_s - gone for time_s in tries_s], report


def judge(report: Report, clients: int, came_s: float, tries_s: Sequence[float], found: dict[str, Any]) -> None:
    """From what was counted to figures."""
    first: dict[str, float] = {}
    for time_s, user in found["handshakes"]:
        first.setdefault(user, time_s - came_s)
    back_s = list(first.values())
    report.at_least("clients that came back", len(back_s), "", clients)
    report.percentiles("back after", [max(0.0, value) * 1e3 for value in back_s], "ms", {100: BACK_GOAL_S * 1e3})
    share = 100 * busiest([time_s for time_s, _ in found["handshakes"]]) / clients
    report.at_most("in the busiest 50 ms", share, "%", SHARE_GOAL_PERCENT)
    report.at_most("second slots taken", sum(count - 1 for count in found["starts"].values()), "", 0)
    report.at_most("WebSockets beyond one each", len(found["handshakes"]) - len(back_s), "")
    late_s = max(found.get("late_s", ()), default=0.0)
    report.at_most("the clients' own process was late by, max", 1e3 * late_s, "ms")
    if late_s > WINDOW_S:
        report.note(
            f"the clients' process stood for {late_s:.2f} s meanwhile, and what fell due came at once, "
            "so the busiest 50 ms are this machine's, not the pauses'"
        )
    report.at_most("tries of each client after the first", len(tries_s) / clients, "")
    report.at_most("of all clients' such tries, in the busiest 50 ms", 100 * busiest(tries_s) / clients, "%")
    steps = [0.25 * step for step in range(1, int(max(back_s, default=0.0) / 0.25) + 3)]
    shares: list[float | None] = [100 * sum(value <= step for value in back_s) / clients for step in steps]
    report.series("Back after a restart", steps, {"back": shares}, x_label="since it is there, s", y_label="clients, %")


def main() -> None:
    def extend(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--clients", type=int, help="how many; default: 500, with --quick 50")
        parser.add_argument("--outage", type=float, help="seconds that nobody listens; default: 20, with --quick 3")

    logging.getLogger("ravatar_audio").setLevel(logging.ERROR)  # each try of each client is a warning
    with running("storm", __doc__, extend) as (report, options):
        clients = options.clients or (50 if options.quick else 500)
        outage_s = options.outage if options.outage is not None else (3.0 if options.quick else 20.0)
        wanted = clients * _FILES_PER_CLIENT + 200
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise Missing(f"{clients} clients need {wanted} open files, and this system allows {hard} (ulimit -n)")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))  # the server's process has it as well
        with tempfile.TemporaryDirectory() as folder:
            server = Server(folder)
            try:
                came_s, tries_s, found = trio.run(partial(storm, server, folder, clients, outage_s))
            finally:
                server.close()
        judge(report, clients, came_s, tries_s, found)
        report.note(f"{clients} clients, {outage_s:g} s without a platform")


if __name__ == "__main__":
    main()
