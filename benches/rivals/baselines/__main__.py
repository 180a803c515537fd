"""The usual pipeline as a script: `python -m benches.rivals.baselines asyncio http://127.0.0.1:8080 pyaudio`."""

import asyncio
import sys

from .microphones import BlockSource, PyAudioSource, SounddeviceSource
from .ticket import take_ticket
from .timing import Passage


def main() -> None:
    loop, api_url, device = sys.argv[1:4]
    rate_hz, channels = map(int, sys.argv[4:6] or ("48000", "1"))
    ca_file = sys.argv[6] if len(sys.argv) > 6 else None
    source: BlockSource = {"pyaudio": PyAudioSource, "sounddevice": SounddeviceSource}[device](rate_hz, channels)
    ticket = take_ticket(api_url, "usual", ca_file=ca_file)
    is_first = True

    def tell_first(passage: Passage) -> None:
        nonlocal is_first
        if is_first:
            print(f"first frame captured at {passage.came_s:.6f} s of the monotonic clock", flush=True)
        is_first = False

    if loop == "trio":
        import trio

        from . import trio_pipeline

        trio.run(trio_pipeline.stream, source, ticket, tell_first)
    else:
        from . import asyncio_pipeline

        asyncio.run(asyncio_pipeline.stream(source, ticket, tell_first))


if __name__ == "__main__":
    main()
