"""Takes a microphone's frames and tells what happens, a JSON line each, until standard input ends.

Its argument is JSON, Microphone's arguments. Lines: {"frames": n} for each fourth frame, {"event": kind, ...} for
events, {"error": code, ...}, and at the end {"counts": [captured, delivered, ring dropped, pending], "lost": ...}.
"""

import json
import os
import sys
from typing import Any

import trio

from ravatar_audio.capture import Microphone
from ravatar_audio.errors import RavatarError
from tests.device.capture_child import be_urgent


def tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


async def main(arguments: dict[str, Any]) -> None:
    async def take(microphone: Microphone) -> None:
        count = 0
        async for _ in microphone:
            count += 1
            if count % 4 == 0:
                tell(frames=count)

    async def hear_events(microphone: Microphone) -> None:
        async for event in microphone.events():
            tell(event=event.kind, message=event.message, seconds=event.at_s)

    async def until_told(scope: trio.CancelScope) -> None:
        await trio.lowlevel.wait_readable(0)
        assert os.read(0, 1) == b""
        scope.cancel()

    microphone = Microphone(**arguments)
    try:
        async with microphone, trio.open_nursery(strict_exception_groups=False) as nursery:
            nursery.start_soon(take, microphone)
            nursery.start_soon(hear_events, microphone)
            nursery.start_soon(until_told, nursery.cancel_scope)
    except RavatarError as error:
        tell(error=error.code, message=error.message)
    counts = microphone.statistics()
    tell(
        counts=[
            counts.captured_samples,
            counts.delivered_samples,
            counts.ring_dropped_samples,
            counts.pending_samples,
        ],
        lost=counts.device_lost_samples,
    )


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
