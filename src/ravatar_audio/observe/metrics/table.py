"""Every metric: its name, kind, unit and attributes, and which counter of a session it shows. Pure.

Names are by OpenTelemetry's conventions: a namespace and dots, the unit beside the name (UCUM; in braces what is
counted), no "total". docs/howto/metrics.md is tested against this table.
"""

from enum import StrEnum
from typing import Final, NamedTuple


class MetricKind(StrEnum):
    """How a metric behaves."""

    COUNTER = "counter"
    """Only grows, over all sessions of the process."""
    GAUGE = "gauge"
    """As of now; of several sessions the largest."""
    SUM = "up-down counter"
    """As of now, added up over the sessions that are under way."""
    HISTOGRAM = "histogram"


class Metric(NamedTuple):
    """One name."""

    name: str
    kind: MetricKind
    unit: str
    text: str
    attribute: str | None = None
    bounds: tuple[float, ...] = ()
    """Of a histogram: the upper edges of its buckets, the last one being open."""


_AGES_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_WAITS_S: Final = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)
_HEADROOMS_DB: Final = (3.0, 6.0, 12.0, 18.0, 24.0, 30.0, 36.0, 42.0, 48.0, 54.0, 60.0, 72.0, 90.0)
_C, _G, _S, _H = MetricKind.COUNTER, MetricKind.GAUGE, MetricKind.SUM, MetricKind.HISTOGRAM

METRICS: Final = (
    Metric("ravatar.sessions", _S, "{session}", "Live sessions under way."),
    Metric("ravatar.session.link.up", _S, "{connection}", "Open WebSockets; 0 with a session: the network is away."),
    Metric("ravatar.session.link.losses", _C, "{loss}", "WebSockets lost, by close code.", "ravatar.close_code"),
    Metric("ravatar.session.connects", _C, "{connection}", "WebSockets opened."),
    Metric("ravatar.session.reconnects", _C, "{connection}", "Of these, all but each session's first."),
    Metric("ravatar.session.handshake", _H, "s", "Time to open a WebSocket.", None, _WAITS_S),
    Metric("ravatar.session.failures", _C, "{failure}", "Sessions ended by an error, by its code.", "error.type"),
    Metric("ravatar.session.unended", _C, "{session}", "Sessions whose end the platform did not confirm."),
    Metric("ravatar.session.refusals", _C, "{refusal}", "Times that the platform began to refuse what is sent."),
    Metric("ravatar.session.messages", _C, "{message}", "Messages from the platform."),
    Metric("ravatar.session.messages.skipped", _C, "{message}", "Of these, those that were not JSON."),
    Metric("ravatar.session.events.dropped", _C, "{event}", "Events that nobody took."),
    Metric("ravatar.frames", _C, "{frame}", "Frames, by how far they have come.", "ravatar.state"),
    Metric("ravatar.samples", _C, "{sample}", "Samples at 16 kHz, by how far they have come.", "ravatar.state"),
    Metric("ravatar.samples.lost", _C, "{sample}", "Samples at 16 kHz that were lost, by cause.", "ravatar.cause"),
    Metric("ravatar.queue", _S, "{sample}", "Samples at 16 kHz that wait, by queue.", "ravatar.queue.name"),
    Metric("ravatar.queue.frames", _S, "{frame}", "Frames that wait, by queue.", "ravatar.queue.name"),
    Metric("ravatar.frame.age", _H, "s", "Age of a frame's newest sample when its message was written.", None, _AGES_S),
    Metric("ravatar.frame.headroom", _H, "dB", "By how much a frame's RMS is below full scale.", None, _HEADROOMS_DB),
    Metric("ravatar.turns", _C, "{turn}", "Turns begun."),
    Metric("ravatar.turn.events", _C, "{event}", "Events of turns, by kind.", "ravatar.kind"),
    Metric("ravatar.turn.sound", _H, "s", "Sound in a turn.", None, _WAITS_S),
    Metric("ravatar.replies", _C, "{reply}", "Answers of the avatar."),
    Metric("ravatar.reply.latency", _H, "s", "From a turn's end to the first answer.", None, _WAITS_S),
    Metric("ravatar.microphone.events", _C, "{event}", "What happened to the microphone, by kind.", "ravatar.kind"),
    Metric("ravatar.microphone.overruns", _C, "{overrun}", "Times that the device said it had lost sound."),
    Metric("ravatar.microphone.clipped", _C, "{sample}", "Device samples at full scale."),
    Metric("ravatar.microphone.samples", _C, "{sample}", "Samples of each channel, in the device's rate."),
    Metric("ravatar.microphone.blocks", _C, "{block}", "Blocks from the device."),
    Metric("ravatar.microphone.blocks.untimed", _C, "{block}", "Blocks whose capture time the device did not say."),
    Metric("ravatar.microphone.block.length", _G, "s", "Mean length of a block."),
    Metric("ravatar.microphone.block.longest", _G, "s", "Most time that the audio thread spent on a block."),
    Metric("ravatar.microphone.wake.failures", _C, "{failure}", "Wake-ups of the program that failed."),
    Metric("ravatar.microphone.drift", _G, "1", "By how much the device's clock is fast; 1e-6 is one ppm."),
    Metric("ravatar.microphone.real_time", _G, "{thread}", "1: the audio thread has a real-time priority."),
    Metric("ravatar.echo.return_loss", _G, "dB", "Echo return loss enhancement in the last 10 s of echo."),
    Metric("ravatar.echo.settled", _G, "{canceller}", "1: the echo's path is learnt, and the reference is there."),
    Metric("ravatar.echo.delay", _G, "s", "By how much the echo is behind its reference."),
    Metric("ravatar.echo.drift", _G, "1", "By how much the reference's clock is fast against the microphone's."),
    Metric("ravatar.echo.events", _C, "{event}", "Changes of the echo canceller, by kind.", "ravatar.kind"),
    Metric("ravatar.echo.reference.lost", _C, "{sample}", "Samples of the reference that did not come in time."),
    Metric("ravatar.echo.reference.missing", _G, "{reference}", "1: nothing comes of the reference any more."),
    Metric("ravatar.echo.reference.silent", _G, "{reference}", "1: the reference comes, and holds no sound."),
    Metric("hw.temperature", _G, "Cel", "Temperature, by the kernel's thermal zone.", "hw.id"),
    Metric("ravatar.machine.throttled", _G, "{state}", "1: a Raspberry Pi says so now, by what.", "ravatar.kind"),
)

VALUES: Final = {
    "ravatar.frames": ("delivered", "ring_dropped", "taken", "written", "acknowledged", "repeated", "dropped"),
    "ravatar.samples": (
        *("captured", "discarded", "delivered", "gated", "given", "taken", "written", "acknowledged", "repeated"),
    ),
    "ravatar.samples.lost": ("device", "ring", "outbox", "in_flight", "refused"),
    "ravatar.queue": ("ring", "gate", "outbox", "in_flight"),
    "ravatar.queue.frames": ("outbox", "in_flight"),
    "ravatar.echo.events": ("move", "restart", "path_change"),
}
"""Of an attribute, where they are known beforehand: counters have them from the beginning, as 0."""


class Shown(NamedTuple):
    """A counter of a session's statistics, as a metric."""

    source: str
    """As ObservedSession.observed() names it."""
    field: str
    """Of the statistics; behind a dot the key of a mapping."""
    metric: str
    value: str | None = None
    """Of the metric's attribute."""
    scale: float = 1.0


SHOWN: Final = (
    Shown("live", "connects", "ravatar.session.connects"),
    Shown("live", "reconnects", "ravatar.session.reconnects"),
    Shown("live", "sessions_unended", "ravatar.session.unended"),
    Shown("live", "messages_received", "ravatar.session.messages"),
    Shown("live", "messages_skipped", "ravatar.session.messages.skipped"),
    Shown("live", "events_dropped", "ravatar.session.events.dropped"),
    Shown("live", "taken_frames", "ravatar.frames", "taken"),
    Shown("live", "taken_samples", "ravatar.samples", "taken"),
    Shown("live", "repeated_frames", "ravatar.frames", "repeated"),
    Shown("live", "repeated_samples", "ravatar.samples", "repeated"),
    Shown("live", "dropped_frames", "ravatar.frames", "dropped"),
    Shown("live", "dropped_samples.outbox", "ravatar.samples.lost", "outbox"),
    Shown("live", "dropped_samples.in_flight", "ravatar.samples.lost", "in_flight"),
    Shown("live", "dropped_samples.refused", "ravatar.samples.lost", "refused"),
    Shown("live", "pending_frames", "ravatar.queue.frames", "outbox"),
    Shown("live", "pending_samples", "ravatar.queue", "outbox"),
    Shown("live", "in_flight_frames", "ravatar.queue.frames", "in_flight"),
    Shown("live", "in_flight_samples", "ravatar.queue", "in_flight"),
    Shown("gate", "turns", "ravatar.turns"),
    Shown("gate", "given_samples", "ravatar.samples", "given"),
    Shown("gate", "gated_samples", "ravatar.samples", "gated"),
    Shown("gate", "pending_samples", "ravatar.queue", "gate"),
    Shown("capture", "captured_samples", "ravatar.samples", "captured"),
    Shown("capture", "delivered_samples", "ravatar.samples", "delivered"),
    Shown("capture", "delivered_frames", "ravatar.frames", "delivered"),
    Shown("capture", "discarded_samples", "ravatar.samples", "discarded"),
    Shown("capture", "ring_dropped_samples", "ravatar.samples.lost", "ring"),
    Shown("capture", "ring_dropped_frames", "ravatar.frames", "ring_dropped"),
    Shown("capture", "device_lost_samples", "ravatar.samples.lost", "device"),
    Shown("capture", "pending_samples", "ravatar.queue", "ring"),
    Shown("capture", "device_overruns", "ravatar.microphone.overruns"),
    Shown("capture", "device_samples", "ravatar.microphone.samples"),
    Shown("capture", "clipped", "ravatar.microphone.clipped"),
    Shown("capture", "blocks", "ravatar.microphone.blocks"),
    Shown("capture", "untimed_blocks", "ravatar.microphone.blocks.untimed"),
    Shown("capture", "block_s", "ravatar.microphone.block.length"),
    Shown("capture", "longest_block_s", "ravatar.microphone.block.longest"),
    Shown("capture", "wake_failures", "ravatar.microphone.wake.failures"),
    Shown("capture", "drift_ppm", "ravatar.microphone.drift", None, 1e-6),
    Shown("capture", "is_real_time", "ravatar.microphone.real_time"),
    Shown("voice", "erle_db", "ravatar.echo.return_loss"),
    Shown("voice", "is_settled", "ravatar.echo.settled"),
    Shown("voice", "delay_s", "ravatar.echo.delay"),
    Shown("voice", "reference_ppm", "ravatar.echo.drift", None, 1e-6),
    Shown("voice", "moves", "ravatar.echo.events", "move"),
    Shown("voice", "restarts", "ravatar.echo.events", "restart"),
    Shown("voice", "path_changes", "ravatar.echo.events", "path_change"),
    Shown("voice", "is_reference_lost", "ravatar.echo.reference.missing"),
    Shown("voice", "is_reference_silent", "ravatar.echo.reference.silent"),
    Shown("voice", "reference_lost_samples", "ravatar.echo.reference.lost"),
)

LEFT_OUT: Final = {
    "live.sent_frames": "may fall; ravatar.frames with written, which only grows, counts them as they are written",
    "live.sent_samples": "as its frames",
    "live.acknowledged_frames": "falls by what is refused later; ravatar.frames with acknowledged counts as it happens",
    "live.acknowledged_samples": "as its frames",
    "live.acknowledgements_known": "a property of the system",
    "live.source_lost_samples": "the capture's device and ring, as the frames told",
    "live.age_newest": "ravatar.frame.age has the whole distribution",
    "live.age_oldest": "256 ms more than that",
    "live.first_reply": "ravatar.reply.latency has the whole distribution",
    "gate.received_samples": "given, gated and pending",
    "gate.lost_samples": "the capture's device and ring, as the frames told",
}
"""What statistics have and no metric shows, with the reason."""
