"""Streams microphones to an emulator and tells what came and what arrived: the process that test_end_to_end starts.

Its argument is JSON: "folder", where the emulator writes its WAV files; "seconds"; "streams", a list of Microphone's
arguments, with "name" for the user.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import trio

from ravatar_audio import Emulator, EmulatorSettings, LiveSession, Microphone, Settings
from tests.device.capture_child import be_urgent


async def stream(
    emulator: Emulator, arguments: dict[str, Any], folder: Path, seconds: float, answer: dict[str, Any]
) -> None:
    name = arguments.pop("name")
    settings = Settings(api_url=emulator.api_url, user_id=name, state_dir=str(folder / name))
    opening_s = trio.current_time()
    async with Microphone(**arguments) as microphone, LiveSession(settings, microphone) as live:
        await trio.sleep(seconds)
        await microphone.stop()
        open_s = trio.current_time() - opening_s
        await live.wait_finished()
    answer[name] = dataclasses.asdict(microphone.statistics()) | {
        "rate_hz": microphone.rate_hz,
        "channels": microphone.channels,
        "format": microphone.format,
        "backend": microphone.backend,
        "open_s": open_s,
        "sent_samples": live.statistics().sent_samples,
        "sent_frames": live.statistics().sent_frames,
        "live": dataclasses.asdict(live.statistics()),
    }


async def main(request: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {}
    folder = Path(request["folder"])
    async with Emulator(EmulatorSettings(wav_dir=folder, slots=len(request["streams"]))) as emulator:
        async with trio.open_nursery() as nursery:
            for arguments in request["streams"]:
                nursery.start_soon(stream, emulator, arguments, folder, request["seconds"], answer)
        await trio.sleep(0.3)  # for the last messages to be read on the other side
        counted = emulator.statistics()
    for live in counted.live:
        answer[live.user_id] |= {"wav": str(live.wav), "received_frames": live.frames}
    return {"streams": answer, "violations": counted.violation_count}


if __name__ == "__main__":
    be_urgent()
    print(json.dumps(trio.run(main, json.loads(sys.argv[1]))))
