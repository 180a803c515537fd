"""Plays a tone on the default output and hears it by the server's microphone; the second half is interrupted."""

import io
import json
import sys
import wave
from pathlib import Path

import numpy as np
import trio

from ravatar_audio import Frame, Microphone, Player

RATE_HZ = 48_000
TONE_HZ = 440
INTERRUPTED_AFTER_S = 1.5


def tone(seconds: float) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
        file.writeframes((16_384 * np.sin(2 * np.pi * TONE_HZ * at)).astype("<i2").tobytes())
    return made.getvalue()


async def main(folder: Path) -> None:
    heard: list[Frame] = []
    async with Microphone("usbmic") as microphone, Player() as player, trio.open_nursery() as nursery:

        async def listen() -> None:
            async for frame in microphone:
                heard.append(frame)  # noqa: PERF401 - what came before the cancellation counts

        nursery.start_soon(listen)
        await trio.sleep(1.0)
        whole = await player.play(tone(2.0))
        await trio.sleep(1.0)
        with trio.move_on_after(INTERRUPTED_AFTER_S):
            await player.play(tone(30.0))
        await trio.sleep(2.0)
        nursery.cancel_scope.cancel()
    (folder / "heard.pcm").write_bytes(b"".join(frame.pcm for frame in heard))
    print(json.dumps({"played_s": whole.played_s, "statistics": repr(player.statistics())}))


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
