"""A live session over a line that the kernel itself makes slow: run by test_slow_line.py in a network of its own.

`python -m tests.session.slow_line FOLDER SECONDS TC...`: loopback is brought up and given to `tc qdisc add`, sound is
sent for so long, and what was seen is printed as JSON. Exit code 77: this kernel has no such line.
"""

import json
import subprocess
import sys
from pathlib import Path

import trio

from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.session import LinkLost, LiveSession
from ravatar_audio.settings import Settings

from .conftest import Frames
from .served import secure_by_default

NO_SUCH_LINE = 77


async def send(folder: Path, seconds: float) -> dict[str, object]:
    async with Emulator(EmulatorSettings(wav_dir=folder / "heard")) as emulator:
        settings = Settings(api_url=emulator.api_url, proxy="none", state_dir=str(folder / "state"))
        source, lost, rtts_s = Frames(), list[str](), list[float]()
        async with LiveSession(settings, source) as live, trio.open_nursery() as nursery:

            async def watch() -> None:
                async for event in live.events():
                    if isinstance(event, LinkLost):
                        lost.append(event.why)

            nursery.start_soon(watch)
            print("begun", flush=True)
            await trio.sleep(seconds)
            rtts_s.append(live._link.wire.round_trip_s if live._link else 0.0)
            sent, heard = live.statistics(), emulator.statistics().live[0]
            nursery.cancel_scope.cancel()
    return {
        "connects": sent.connects,
        "lost": lost,
        "dropped_samples": sum(sent.dropped_samples.values()),
        "late_samples": sent.taken_samples - heard.samples - sum(sent.dropped_samples.values()),
        "waiting_samples": sent.pending_samples + sent.in_flight_samples,
        "heard_samples": heard.samples,
        "given_samples": sent.taken_samples,
        "round_trip_s": rtts_s[0],
    }


def main() -> None:
    folder, seconds, *line = sys.argv[1:]
    subprocess.run(["ip", "link", "set", "dev", "lo", "mtu", "1500", "up"], check=True)
    if subprocess.run(["tc", "qdisc", "add", "dev", "lo", "root", *line], capture_output=True, check=False).returncode:
        raise SystemExit(NO_SUCH_LINE)
    with secure_by_default(Path(folder)):
        print(json.dumps(trio.run(send, Path(folder), float(seconds))), flush=True)


if __name__ == "__main__":
    main()
