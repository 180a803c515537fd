"""Lines that the kernel makes slow, in a network of the test's own: no pacing of ours stands between the two ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ravatar_audio.session.in_flight import SLACK_S

from .slow_line import NO_SUCH_LINE

ROOT = Path(__file__).parents[2]
LIMIT_S = 180


def over(folder: Path, line: str, seconds: float, *, stopped_s: float = 0.0) -> dict[str, Any]:
    """What was seen of a session over such a line; `stopped_s`: so long the machine stands still after 4 s."""
    if os.getuid() != 0:
        pytest.skip("only root may have a network of its own here")
    command = [
        "unshare",
        "-n",
        sys.executable,
        "-m",
        "tests.session.slow_line",
        str(folder),
        str(seconds),
        *line.split(),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() == "begun\n" and stopped_s:
            time.sleep(4.0)
            process.send_signal(signal.SIGSTOP)
            time.sleep(stopped_s)
            process.send_signal(signal.SIGCONT)
        try:
            told, errors = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
    if process.returncode == NO_SUCH_LINE:
        pytest.skip(
            f"this kernel offers no 'tc qdisc add dev lo root {line}'; tests/session/test_far_away.py has a relay"
        )
    assert process.returncode == 0, errors
    seen: dict[str, Any] = json.loads(told)
    return seen


@pytest.mark.parametrize("stopped_s", [0.0, 7.0], ids=["busy", "standing still for 7 s"])
def test_an_uplink_of_30_kb_a_second_keeps_its_link(tmp_path: Path, stopped_s: float) -> None:
    """Sound takes 43 kB/s: what is too much is dropped, and nothing is taken for a line that is cut.

    Stopped for longer than any detector waits, the session looks what was acknowledged meanwhile before it judges.
    """
    # Twice 240 kbit/s: everything passes loopback twice, as the emulator has a relay in front of its server.
    seen = over(tmp_path, "tbf rate 480kbit burst 5kb latency 400ms", 16.0, stopped_s=stopped_s)
    assert (seen["connects"], seen["lost"]) == (1, [])
    assert seen["dropped_samples"] > 0, "the line was fast enough"
    # The outbox, and what may be under way by the documented bound. What the emulator's relay has acknowledged and not
    # passed on is not the session's to bound.
    assert seen["waiting_samples"] / 16_000 < 2.048 + (2 * seen["round_trip_s"] + SLACK_S) + 1.0, seen
    assert seen["heard_samples"] > 0.4 * (16 - stopped_s) * 16_000, "the line is used"


def test_at_600_ms_of_the_kernels_own_the_window_of_what_is_under_way_holds_the_stream(tmp_path: Path) -> None:
    seen = over(tmp_path, "netem delay 300ms limit 10000", 12.0)
    assert (seen["connects"], seen["lost"], seen["dropped_samples"]) == (1, [], 0)
    assert seen["round_trip_s"] == pytest.approx(0.6, abs=0.1)
    assert seen["late_samples"] / 16_000 < 0.3 + 0.5 + 0.6, "it queues up"
