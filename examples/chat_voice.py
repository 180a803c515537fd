"""Chat Mode: each turn of the source is sent as a recorded message, and its answer printed."""

import asyncio
import sys

from ravatar_audio.asyncio import ChatSession, Reply, Settings


async def main(source: str = "mic") -> None:
    async with ChatSession.open(Settings.load(mode="vad"), source) as chat:
        async for event in chat.events():
            if isinstance(event, Reply):
                print(event.text)
                break


asyncio.run(main(*sys.argv[1:]))
