"""What `live` and `demo` share: a source streamed to a live session, with a meter, until it ends or time is up."""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from ravatar_audio.capture import CaptureStatistics, Source
from ravatar_audio.cli.meter import Meter
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session import LiveEvent, LiveSession, LiveStatistics
from ravatar_audio.settings import Settings


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of the sound: the source's and the session's counters after the end."""

    capture: CaptureStatistics
    live: LiveStatistics

    @property
    def padding_samples(self) -> int:
        """Zeros that were sent behind short frames."""
        return self.live.sent_frames * FRAME_SAMPLES - self.live.sent_samples

    @property
    def age_at_send_ms(self) -> dict[str, float]:
        """How old a frame's newest sample was when its message had been written."""
        age = self.live.age_newest
        return {
            name: round(value * 1e3, 3) for name, value in (("p50", age.p50_s), ("p99", age.p99_s), ("max", age.max_s))
        }

    @property
    def lost_samples(self) -> int:
        """Captured or known to be lost by the device, and not written to a socket."""
        return self.capture.captured_samples + self.capture.device_lost_samples - self.live.sent_samples


async def stream(
    settings: Settings,
    source: Source,
    *,
    on_event: Callable[[LiveEvent], None],
    seconds: float | None = None,
    linger_s: float = 0.0,
    slot_wait_s: float = 0.0,
    renew: bool = False,
    with_meter: bool = True,
) -> Streamed:
    """Stream `source` until its end, or for `seconds`; then wait `linger_s` for answers. Raises the session's error."""

    def rest() -> str:
        now = live.statistics()
        age_ms = now.age_newest.p50_s * 1e3
        dropped = sum(now.dropped_samples.values()) + now.source_lost_samples
        return f"{now.sent_frames:5d} frames  age {age_ms:5.1f} ms  lost {dropped} samples"

    meter = Meter(rest) if with_meter else None
    live = LiveSession(settings, source, slot_wait_s=slot_wait_s, renew=renew, on_sent=meter.show if meter else None)
    try:
        async with source, live, trio.open_nursery() as nursery:

            async def report() -> None:
                async for event in live.events():
                    on_event(event)

            async def stop_in_time() -> None:
                if seconds is not None:
                    await trio.sleep(seconds)
                    await source.stop()

            nursery.start_soon(report)
            nursery.start_soon(stop_in_time)
            await live.wait_finished()
            await trio.sleep(linger_s)
            nursery.cancel_scope.cancel()
    finally:
        if meter:
            meter.close()
    return Streamed(source.statistics(), live.statistics())
