"""Captures from a server that is stopped meanwhile, and says how long our calls took. Its argument: seconds to stay.

It prints "hears" when the first frame has come; then the server is stopped, and this goes on for so long and closes.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import trio

from ravatar_audio.capture import Microphone
from tests.device.capture_child import be_urgent


def awake_s() -> float:
    """The clock, without the time for which this thread was ready to run and other programs had the processor."""
    waited_ns = int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1])
    return time.monotonic() - waited_ns * 1e-9


async def main(seconds: float) -> None:
    longest_s: dict[str, float] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        begun_s = awake_s()
        call()
        longest_s[name] = max(longest_s.get(name, 0.0), awake_s() - begun_s)

    microphone = Microphone()
    events: list[str] = []
    async with microphone, trio.open_nursery() as nursery:
        await microphone.__anext__()
        print("hears", flush=True)

        async def take() -> None:
            async for _ in microphone:
                pass

        async def note_events() -> None:
            events.extend([event.kind async for event in microphone.events()])

        nursery.start_soon(take)
        nursery.start_soon(note_events)
        until_s = trio.current_time() + seconds
        while trio.current_time() < until_s:
            timed("statistics", microphone.statistics)
            timed("request_flush", microphone.request_flush)
            timed("flush_at", lambda: microphone.flush_at(None))
            timed("block_durations_s", microphone.block_durations_s)
            await trio.sleep(0.05)
        begun_s = awake_s()
        await microphone.aclose()
        longest_s["aclose"] = awake_s() - begun_s
        nursery.cancel_scope.cancel()
    print(json.dumps({"longest_s": longest_s, "events": events}), flush=True)


if __name__ == "__main__":
    be_urgent()
    trio.run(main, float(sys.argv[1]))
