"""A live session on asyncio: what the avatar answers is printed."""

import asyncio
import sys

from ravatar_audio.asyncio import LiveSession, Reply, Settings


async def main(source: str = "mic") -> None:
    async with LiveSession.open(Settings.load(), source) as live:
        async for event in live.events():
            if isinstance(event, Reply):
                print(event.text)


asyncio.run(main(*sys.argv[1:]))
