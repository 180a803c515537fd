"""What footprint.py measures: the least program that streams a microphone with this package, or only listens to it.

`python -m benches.footprint_child live DEVICE URL CA_FILE` or `... idle DEVICE`; it says when its first frame was
captured.
"""

import sys
import tempfile

import trio

from ravatar_audio import Frame, LiveSession, Microphone, Settings


class First:
    """Tells of the first frame, and of no other."""

    is_told = False

    def note(self, frame: Frame) -> None:
        if not self.is_told:
            print(f"first frame captured at {frame.finished_s:.6f} s of the monotonic clock", flush=True)
        self.is_told = True


async def live(device: str, url: str, ca_file: str) -> None:
    with tempfile.TemporaryDirectory() as state_dir:
        settings = Settings(api_url=url, ca_file=ca_file or None, state_dir=state_dir)
        async with Microphone(device) as microphone, LiveSession(settings, microphone, on_sent=First().note) as session:
            await session.wait_finished()


async def idle(device: str) -> None:
    first = First()
    async with Microphone(device) as microphone:
        async for frame in microphone:
            first.note(frame)


if __name__ == "__main__":
    if sys.argv[1] == "live":
        trio.run(live, sys.argv[2], sys.argv[3], sys.argv[4])
    else:
        trio.run(idle, sys.argv[2])
