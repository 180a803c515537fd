"""Takes turns from a microphone and tells what they are made of: the process that test_turns starts.

Its argument is JSON: "device" and "presses", a list of [seconds to wait, seconds to hold].
"""

import json
import sys
from typing import Any

import numpy as np
import trio

from ravatar_audio import Microphone, Recordings, Settings, TurnSource
from tests.device.capture_child import be_urgent


async def main(request: dict[str, Any]) -> list[dict[str, Any]]:
    settings = Settings(mode="ptt", device=request["device"])
    turns = TurnSource.from_settings(settings, Microphone.from_settings(settings))
    held_s: list[float] = []

    async def push() -> None:
        for wait_s, hold_s in request["presses"]:
            await trio.sleep(wait_s)
            pressed_s = trio.current_time()
            turns.press()
            await trio.sleep(hold_s)
            turns.release()
            held_s.append(trio.current_time() - pressed_s)
        await trio.sleep(0.6)
        await turns.source.stop()

    told = []
    async with turns, trio.open_nursery() as nursery:
        nursery.start_soon(push)
        async for recording in Recordings(turns):
            sound = np.frombuffer(recording.wav()[44:], "<i2").astype(int)
            told.append({"steps": sorted(set((np.diff(sound) % 32_768).tolist())), "samples": len(sound)})
    for turn, hold_s in zip(told, held_s, strict=True):
        turn["held_s"] = hold_s
    return told


if __name__ == "__main__":
    be_urgent()
    print(json.dumps({"turns": trio.run(main, json.loads(sys.argv[1]))}))
