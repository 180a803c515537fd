"""What `live` and `demo` share: a source's turns streamed to a live session, with a meter, until the end."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from ravatar_audio.api.messages import Reply
from ravatar_audio.capture import CaptureEvent, CaptureStatistics, Source
from ravatar_audio.cli.controls import KEYS, SIGNALS, control
from ravatar_audio.cli.meter import Meter, gate_state
from ravatar_audio.cli.output import echo
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ
from ravatar_audio.observe.log import line_logger
from ravatar_audio.observe.observer import Observer
from ravatar_audio.playback import Player
from ravatar_audio.session import LiveEvent, LiveSession, LiveStatistics, TurnSource
from ravatar_audio.settings import Settings
from ravatar_audio.turns import GateStatistics, TurnEvent, TurnEventKind, TurnMode

log: Final = line_logger(__name__)

RECONNECT_LIMIT_S = 120.0
"""How long the link may be down where the sound has an end."""


@dataclass(frozen=True, slots=True)
class Streamed:
    """What became of the sound: the source's, the gate's and the session's counters after the end."""

    capture: CaptureStatistics
    gate: GateStatistics
    live: LiveStatistics
    discarded_samples: int = 0
    """Given out by the gate, and forgotten as older than the session."""

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
        """In a turn, and lost by the device, a full ring or a full outbox."""
        ring_samples = self.capture.ring_dropped_samples
        dropped_samples = sum(self.live.dropped_samples.values())
        return min(self._missing_samples, self.capture.device_lost_samples + ring_samples + dropped_samples)

    @property
    def unsent_samples(self) -> int:
        """In a turn, and still on their way when the end came."""
        return self._missing_samples - self.lost_samples

    @property
    def _missing_samples(self) -> int:
        heard_samples = self.capture.captured_samples + self.capture.device_lost_samples
        left_out = self.capture.discarded_samples + self.discarded_samples + self.gate.gated_samples
        return heard_samples - left_out - self.live.sent_samples


async def stream(
    settings: Settings,
    source: Source,
    *,
    on_end: Callable[[Streamed], None],
    on_event: Callable[[LiveEvent], None],
    on_turn: Callable[[TurnEvent], None] = lambda event: None,
    on_capture: Callable[[CaptureEvent], None] = lambda event: None,
    seconds: float | None = None,
    linger_s: float = 0.0,
    with_meter: bool = True,
    observers: Sequence[Observer] = (),
    player: Player | None = None,
) -> None:
    """Stream `source` until its end, or for `seconds`; then wait `linger_s` for answers. Raises the session's error.

    Turns are taken as the settings say. Keys and signals control them, but for an open microphone without a terminal.
    `on_capture` hears of all that happened to the source, also of what ended it; `on_end` what became of the sound,
    also when that was an error or an interruption. `player` plays the sound of replies, until a turn begins.
    """

    def rest() -> str:
        now = live.statistics()
        dropped = sum(now.dropped_samples.values()) + now.source_lost_samples
        age_ms = now.age_newest.p50_s * 1e3
        return f"{gate_state(turns.gate):8} {now.sent_frames:5d} frames, age {age_ms:5.1f} ms, lost {dropped}"

    def note(event: TurnEvent) -> None:
        log.info("turn %s", turn_text(event))
        if player is not None and event.kind is TurnEventKind.STARTED:
            player.interrupt()
        on_turn(event)

    meter = Meter(rest) if with_meter else None
    turns = TurnSource.from_settings(settings, source, on_event=note, on_frame=meter.show if meter else None)
    # What runs until it is stopped outlives every outage; what has an end must have one without a network, too.
    is_endless = seconds is None and source.is_real_time
    limit_s = None if is_endless else RECONNECT_LIMIT_S
    live = LiveSession(settings, turns, reconnect_limit_s=limit_s, observers=observers)
    source_events = source.events()
    try:
        async with turns, live, trio.open_nursery() as nursery:

            async def report() -> None:
                async for event in live.events():
                    on_event(event)
                    if player is not None and isinstance(event, Reply) and event.audio:
                        nursery.start_soon(play_answer, player, event)

            async def report_source() -> None:
                async for event in source_events:
                    on_capture(event)

            async def stop_in_time() -> None:
                if seconds is not None:
                    await trio.sleep(seconds)
                    await source.stop()

            nursery.start_soon(report)
            nursery.start_soon(report_source)
            has_keyboard = await nursery.start(control, turns)
            log.info("mode %s; %s", turns.gate.mode, KEYS if has_keyboard else SIGNALS)
            if has_keyboard and turns.gate.mode is TurnMode.PTT:
                echo(KEYS, err=True)
            nursery.start_soon(stop_in_time)
            await live.wait_finished()
            await trio.sleep(linger_s)
            nursery.cancel_scope.cancel()
    finally:
        if meter:
            meter.close()
        with source_events, contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                on_capture(source_events.receive_nowait())
        on_end(Streamed(source.statistics(), turns.gate.statistics(), live.statistics(), turns.discarded_samples))


async def play_answer(player: Player, reply: Reply) -> None:
    """Play a reply's sound; one that cannot be played is logged, as the conversation goes on without it."""
    try:
        await player.play(reply)
    except SettingsError as error:
        log.warning("an answer could not be played: %s", error)


def turn_text(event: TurnEvent) -> str:
    """Return a turn's event for the log."""
    number = "" if event.turn is None else f" {event.turn}"
    why = f" ({event.reason})" if event.reason is not None else ""
    return f"{event.kind}{number}{why} at {event.position_samples / RATE_HZ:.3f} s"
