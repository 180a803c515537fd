"""Sound that the program has itself: another library's thread pushes it, 10 ms at a time, as WebRTC and SIP do."""

import asyncio
import math
import threading
import time

import numpy as np

from ravatar_audio.asyncio import LiveSession, PushSource, Reply, Settings

RATE_HZ = 48_000
BLOCK_SAMPLES = RATE_HZ // 100


def call_back(source: PushSource, seconds: float) -> None:
    """What the other library does: a tone, in real time."""
    begin_s = time.monotonic()
    for number in range(round(seconds * 100)):
        at = np.arange(number * BLOCK_SAMPLES, (number + 1) * BLOCK_SAMPLES) / RATE_HZ
        source.push_nowait((0.3 * np.sin(2 * math.pi * 440 * at)).astype(np.float32))
        time.sleep(max(0.0, begin_s + (number + 1) / 100 - time.monotonic()))
    source.finish()


async def main() -> None:
    source = PushSource(rate_hz=RATE_HZ, format="float32")
    async with LiveSession.open(Settings.load(), source) as live:
        threading.Thread(target=call_back, args=(source, 3.0)).start()
        async for event in live.events():
            if isinstance(event, Reply):
                print(event.text)


asyncio.run(main())
