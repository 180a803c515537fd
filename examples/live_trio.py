"""A live session in trio: what the avatar answers is printed."""

import sys

import trio

from ravatar_audio import LiveSession, Reply, Settings


async def main(*sources: str) -> None:
    async with LiveSession.open(Settings.load(), *sources) as live:
        async for event in live.events():
            if isinstance(event, Reply):
                print(event.text)


trio.run(main, *sys.argv[1:])
