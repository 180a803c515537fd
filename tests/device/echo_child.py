"""Hears a sound server's microphone without what its loudspeaker plays; a JSON line at the end.

Its argument is JSON: "microphone" and "reference" as devices, "seconds". The answer has levels by second of the
microphone's sound as it was (dBFS, of what the source heard) and of what came out, and the statistics.
"""

import dataclasses
import json
import sys
from typing import Any

import numpy as np
import trio

from ravatar_audio import Frame, Microphone, VoiceSource
from ravatar_audio.frames import RATE_HZ
from ravatar_audio.processing import LinearCanceller
from tests.device.capture_child import be_urgent


class Kept(LinearCanceller):
    """Keeps the microphone's sound as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = bytearray()

    def process(self, microphone: Any, reference: Any) -> bytes:
        self.heard += microphone
        return super().process(microphone, reference)


def levels_dbfs(pcm: bytes) -> list[float]:
    sound = np.frombuffer(pcm, "<i2").astype(float)[: len(pcm) // 2 // RATE_HZ * RATE_HZ].reshape(-1, RATE_HZ)
    return [round(float(level), 1) for level in 20 * np.log10(np.sqrt((sound**2).mean(axis=1)) / 32_768 + 1e-9)]


async def main(request: dict[str, Any]) -> None:
    canceller, frames = Kept(), list[Frame]()
    voice = VoiceSource(Microphone(request["microphone"]), Microphone(request["reference"]), canceller)
    async with voice:
        with trio.move_on_after(request["seconds"]):
            async for frame in voice:
                frames.append(frame)
    counts = voice.statistics()
    answer = {
        "heard_dbfs": levels_dbfs(bytes(canceller.heard)),
        "left_dbfs": levels_dbfs(b"".join(frame.pcm[: 2 * frame.length_samples] for frame in frames)),
        "voice": dataclasses.asdict(voice.voice_statistics()),
        "seqs_are_whole": [frame.seq for frame in frames] == list(range(len(frames))),
        "lost_samples": counts.ring_dropped_samples + counts.device_lost_samples,
        "events": [event.kind async for event in voice.events()],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    be_urgent()
    trio.run(main, json.loads(sys.argv[1]))
