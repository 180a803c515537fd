"""What watching.py measures: one live session, watched in one way or not at all.

`python -m benches.watching_child WAY URL RECEIVER FOLDER SETTLE_S SECONDS`, WAY being one of WAYS; prints a JSON line.
"""

import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from itertools import count

import trio

from ravatar_audio import Frame, LiveSession, Settings, SyntheticSource
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.session import observing

WAYS = ("nobody", "prometheus", "otlp", "recorder")
SCRAPE_S = 15.0


class Prepared:
    """Frames that are there already, one each 256 ms: what a source costs would hide what is measured."""

    is_real_time = True

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames

    async def __aiter__(self) -> AsyncIterator[Frame]:
        due_s = trio.current_time()
        for seq in count():
            now_s = time.monotonic()
            frame = self._frames[seq % len(self._frames)]
            position = seq * FRAME_SAMPLES
            yield frame._replace(seq=seq, position_samples=position, captured_s=now_s, finished_s=now_s)
            due_s += FRAME_SAMPLES / RATE_HZ
            await trio.sleep_until(due_s)


async def speech() -> list[Frame]:
    """Twenty seconds, with hops and levels as the core makes them."""
    async with SyntheticSource("speech", duration_s=20.0, pace="full") as source:
        return [frame async for frame in source if frame.length_samples == FRAME_SAMPLES]


async def main(way: str, url: str, receiver: str, folder: str, settle_s: float, seconds: float) -> None:
    more = {
        "nobody": {},
        "prometheus": {"metrics_prometheus": 0},
        "otlp": {"metrics_otlp": receiver, "metrics_interval_ms": round(SCRAPE_S * 1e3)},
        "recorder": {"record": f"{folder}/recordings"},
    }[way]
    settings = Settings(api_url=url, state_dir=folder, **more)  # type: ignore[arg-type]
    frames = await speech()
    async with observing(settings) as observers, LiveSession(settings, Prepared(frames), observers=observers) as live:
        await trio.sleep(settle_s)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        async with trio.open_nursery() as nursery:

            async def scrape() -> None:
                while True:
                    await trio.sleep(SCRAPE_S / 2)
                    port = observers[0].port  # type: ignore[attr-defined]
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    async with stream:
                        request = f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
                        await stream.send_all(request.encode())
                        async for _ in stream:
                            pass
                    await trio.sleep(SCRAPE_S / 2)

            if way == "prometheus":
                nursery.start_soon(scrape)
            await trio.sleep(seconds)
            nursery.cancel_scope.cancel()
        cpu_s, lasted_s = time.process_time() - began_cpu_s, time.monotonic() - began_s
        age = live.statistics().age_newest
        result = {"cpu_percent": 100 * cpu_s / lasted_s, "p50_us": age.p50_s * 1e6, "p99_us": age.p99_s * 1e6}
        if way == "recorder":
            result["lost_entries"] = observers[0].statistics().lost_entries  # type: ignore[attr-defined]
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    _, chosen, api, otlp, scratch, settle, length = sys.argv
    trio.run(main, chosen, api, otlp, scratch, float(settle), float(length))
