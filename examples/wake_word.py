"""A wake word's detector beside the session: a tee's blocks of 80 ms, from the same microphone. Argument: a source."""

import sys

import numpy as np
import trio

from ravatar_audio import LiveSession, Reply, Settings, SoundBlock, open_source


def is_wake_word(block: SoundBlock) -> bool:
    """Stands for a detector; those that there are take int16 samples at 16 kHz, 80 ms at a time."""
    return bool(np.abs(block.samples.astype(np.int32)).mean() > 300)


async def main(what: str) -> None:
    settings = Settings.load()
    source = open_source(settings, what)
    tee = source.tee(0.080)

    async def listen() -> None:
        async for block in tee:
            if is_wake_word(block):
                print(f"the wake word at {block.position_samples / 16_000:.2f} s")
                return

    async with LiveSession.open(settings, source) as live, trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        async for event in live.events():
            if isinstance(event, Reply):
                print(event.text)


trio.run(main, sys.argv[1] if len(sys.argv) > 1 else "mic")
