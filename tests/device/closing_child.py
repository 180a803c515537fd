"""Opens a microphone, takes frames, closes it, and tells what is left. Its argument is JSON.

"microphone": Microphone's arguments; "frames": to take; "fork": whether a process without an exec lives on meanwhile,
as those of multiprocessing do, with a copy of every descriptor.
"""

import json
import os
import signal
import sys
import time
from typing import Any

import trio

from ravatar_audio.capture import Microphone
from ravatar_audio.capture.host.blocking_call import stuck_calls
from tests.device.capture_child import be_urgent


def end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def let_sound_come(stream: Any) -> None:
    """Between a look at this stream's counters and what follows: as when a thread is not run for a while."""
    look = stream._read

    def look_and_wait() -> Any:
        seen = look()
        while stream._stream is not None and look().blocks == seen.blocks:
            time.sleep(0.001)
        return seen

    stream._read = look_and_wait


async def main(request: dict[str, Any]) -> None:
    child = 0
    try:
        with trio.fail_after(30):
            async with Microphone(**request["microphone"]) as microphone:
                for _ in range(request["frames"]):
                    await anext(microphone)
                if request["fork"] and not (child := os.fork()):
                    signal.pause()
                assert microphone._opened is not None
                stream, chain = microphone._opened.stream, microphone._opened.chain
                let_sound_come(stream)
                await microphone.stop()
                answer = {
                    "captured_samples": microphone.statistics().captured_samples,
                    "uncounted_blocks": chain.statistics().blocks - stream.statistics().blocks,
                }
        print(json.dumps(answer | {"stuck_calls": stuck_calls()}), flush=True)
    finally:
        if child:
            end(child)


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
