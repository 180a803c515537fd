"""LiveKit: our microphone as a track's sound. `feed` gives a source's blocks to an rtc.AudioSource.

Argument: another source than the microphone. With LIVEKIT_URL and LIVEKIT_TOKEN it publishes a track. Needs livekit.
"""

import asyncio
import os
import sys
from typing import Any

from livekit import rtc

from ravatar_audio.asyncio import RATE_HZ, Gate, Settings, Source, TurnSource, open_source

BLOCK_S = 0.010
"""WebRTC's own step."""


async def feed(source: Source[Any], sink: rtc.AudioSource) -> int:
    """Give `sink`, of 16 kHz mono, all that `source` hears, until it ends; return how many samples that were."""
    blocks = source.tee(BLOCK_S)
    fed_samples = 0
    async with TurnSource(source, Gate("open")) as turns:  # behind a gate a tee's blocks come as they end

        async def take() -> None:
            async for _ in turns:
                pass

        taking = asyncio.create_task(take())
        try:
            async for block in blocks:
                await sink.capture_frame(rtc.AudioFrame(block.pcm, RATE_HZ, 1, block.length_samples))
                fed_samples += block.length_samples
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
    return fed_samples


async def main(what: str) -> None:
    sink = rtc.AudioSource(RATE_HZ, 1, queue_size_ms=200)
    room = rtc.Room()
    if url := os.environ.get("LIVEKIT_URL"):
        await room.connect(url, os.environ["LIVEKIT_TOKEN"])
        await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("microphone", sink))
    fed_samples = await feed(open_source(Settings.load(), what), sink)
    await sink.wait_for_playout()
    await sink.aclose()
    await room.disconnect()
    print(f"LiveKit was given {fed_samples} samples")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "mic"))
