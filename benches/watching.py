"""What does it cost to be watched? Metrics that are scraped or pushed, and the flight recorder, beside nobody at all.

Four processes with one live session each (speech that is prepared, so that no source hides the difference), to one
emulator, all at the same time, in several rounds whose order changes. The cost is the CPU of the whole process, by its
own clock, less that of the session that nobody watches in the same round. Metrics are asked for every 15 s, as
Prometheus does, or pushed as often to a receiver; the recorder writes to a folder of the machine's disk, synchronously.
What loads when the first metrics are asked for, or pushed, is over before the measurement begins.
"""

import json
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .rig.harness import Report, median, progress, running, this_module
from .watching_child import WAYS

GOALS = {"prometheus": 0.1, "otlp": 0.1, "recorder": 0.2}
"""Percent of a core."""
WORDS = {"prometheus": "metrics, scraped", "otlp": "metrics, pushed", "recorder": "flight recorder"}
SETTLE_S = 18.0
"""Longer than until the first push, which loads an HTTP client: 50 ms, once."""
Round = dict[str, dict[str, float]]


def main() -> None:
    with running("watching", __doc__) as (report, options):
        rounds, seconds = (2, 15.0) if options.quick else (4, 45.0)
        found = [measured(number, rounds, seconds) for number in range(rounds)]
        add(report, found)


def add(report: Report, found: list[Round]) -> None:
    alone = [one["nobody"]["cpu_percent"] for one in found]
    report.at_most("CPU of a session, nobody watches", median(alone), "% of a core", repeats=alone)
    costs = {}
    for way, words in WORDS.items():
        more = [one[way]["cpu_percent"] - one["nobody"]["cpu_percent"] for one in found]
        costs[words] = median(more)
        report.at_most(f"CPU more, {words}", costs[words], "% of a core", GOALS[way], repeats=more)
    report.comparison("CPU beyond a session that nobody watches", costs, "% of a core", ours=tuple(costs))
    for way in WAYS:
        words = WORDS.get(way, "nobody watches")
        for name in ("p50", "p99"):
            values = [one[way][f"{name}_us"] for one in found]
            report.at_most(f"age at send {name}, {words}", median(values), "us", repeats=values)
    lost = [one["recorder"]["lost_entries"] for one in found]
    report.at_most("entries that the recorder lost", sum(lost), "entries", 0.0, repeats=lost)


def measured(number: int, rounds: int, seconds: float) -> Round:
    """All ways at the same time; which is started first changes from round to round."""
    progress(number / rounds, f"round {number + 1}")
    order = [*WAYS[number % len(WAYS) :], *WAYS[: number % len(WAYS)]]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        receiver = stack.enter_context(_receiver())
        command = [sys.executable, "-m", "ravatar_audio", "emulator", "--port", "0", "--slots", "9"]
        command += ["--wav-dir", f"{folder}/heard"]
        emulator = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(emulator.terminate)
        assert emulator.stderr is not None
        url = emulator.stderr.readline().split()[2]
        address = f"http://127.0.0.1:{receiver.server_address[1]}/v1/metrics"
        children = {
            way: stack.enter_context(
                subprocess.Popen(
                    this_module("watching_child", way, url, address, f"{folder}/{way}", SETTLE_S, seconds),
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for way in order
        }
        return {way: json.loads(child.communicate(timeout=seconds + 120)[0]) for way, child in children.items()}


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


def _receiver() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    main()
