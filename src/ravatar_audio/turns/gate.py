"""The gate: frames of a capture in, turns out."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

from ravatar_audio.choices import TurnModeName
from ravatar_audio.deprecation import warn_renamed
from ravatar_audio.errors import SettingsError
from ravatar_audio.frames import FRAME_SAMPLES, RATE_HZ, Frame
from ravatar_audio.turns.events import Reason, TurnEvent, TurnEventKind, TurnMode
from ravatar_audio.turns.machine import TurnMachine
from ravatar_audio.turns.queue import ChangeQueue, checked_time_s
from ravatar_audio.turns.rules import TurnRules
from ravatar_audio.turns.sample_buffer import SampleBuffer, prepare
from ravatar_audio.turns.speech_edges import Detector, SpeechEdges
from ravatar_audio.turns.statistics import GateStatistics
from ravatar_audio.turns.talk_key import Change, TalkKey

Outcome = TurnEvent | Frame

_LATE_SAMPLES = RATE_HZ // 4
"""Kept beyond the pre-roll, for a press that is reported late."""
_SOON_SAMPLES = RATE_HZ // 33
"""Two cuts within one device block cannot both be asked for in time; a turn's end is worth more than a frame's."""

_LOOK_SAMPLES = 1_024
"""How often a detector is listened to while no turn is open: 64 ms, two steps of the neural one."""

_ENDS = (TurnEventKind.ENDED, TurnEventKind.CAPPED, TurnEventKind.CANCELLED)


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _one_at_a_time(method: _Method) -> _Method:
    """Let threads wait for each other: a button's thread may press while another feeds."""

    @wraps(method)
    def locked(self: "Gate", *arguments: Any) -> Any:
        with self._lock:
            return method(self, *arguments)

    return cast(_Method, locked)


class Gate:
    """Takes turns: see the room's docstring (ravatar_audio.turns).

    `mode` is the mode to begin with, `rules` are the times. `detector` decides what speech is, and is needed for voice
    activity. `barge_in` is a second one that listens while the avatar speaks, deaf to the loudspeaker; without it
    nobody can interrupt the avatar but by the button.

    Times (`at_s`) are seconds of the system's monotonic clock, as in Frame. All methods return at once, and any thread
    may call them; each returns what came of its own call, in the order in which the calls were made.
    """

    def __init__(
        self,
        mode: TurnMode | TurnModeName = TurnMode.OPEN,
        rules: TurnRules | None = None,
        *,
        detector: Detector | None = None,
        barge_in: Detector | None = None,
    ) -> None:
        rules = rules or TurnRules()
        self._speech = SpeechEdges(detector) if detector else None
        self._barge_in = SpeechEdges(barge_in) if barge_in else None
        mode = self.checked_mode(mode)
        machine = self._machine = TurnMachine(rules.timing(mode))
        self._key = TalkKey(rules, mode, machine)
        self._buffer = SampleBuffer()
        self._lock = threading.RLock()
        self._queue = ChangeQueue()
        self._offset = 0
        """What is added to the positions of this capture; a later capture goes on in our numbering."""
        self._anchor: tuple[int, float] | None = None
        self._has_begun = False
        self._cut = 0
        """No frame of a turn reaches over this position; see cut()."""
        self._seq = self._turn_samples = 0
        self._received = self._given = self._gated = self._lost = self._turns = 0

    # What the program asks.

    @property
    @_one_at_a_time
    def mode(self) -> TurnMode:
        """The mode, changes that are still to come included."""
        return self._queue.last_mode(self._key.mode)

    @property
    @_one_at_a_time
    def is_muted(self) -> bool:
        """Muted, a change that is still to come included."""
        return self._queue.last_mute(self._key.is_muted)

    @property
    def is_open(self) -> bool:
        """A turn is open, as of the newest frame."""
        return self._machine.turn is not None

    @property
    def is_gated(self) -> bool:
        """The avatar speaks and nobody has barged in, as of the newest frame."""
        return self._key.is_gated

    @property
    @_one_at_a_time
    def flush_at(self) -> int | None:
        """Where the frame that is being filled should end, for Chain.flush_at, as a position of the capture; or None.

        It is the next position at which something will be decided or given out: a turn's end, the moment at which a
        press has been held long enough, the end of a frame of the turn, the next 64 ms to listen to. To be asked after
        each method that returns outcomes. Once a turn has begun, the capture's frames have been brought into step with
        the turn's.
        """
        if self._anchor is None:
            return None
        end = self._buffer.end
        decision = self._next_decision()
        decided_at = None if decision is None else self._decided_at(decision)
        wanted = [] if decided_at is None else [decided_at]
        if self._machine.turn is not None:
            boundary = self._next_boundary()
            is_soon_decided = decided_at is not None and boundary < decided_at <= boundary + _SOON_SAMPLES
            if boundary != end + FRAME_SAMPLES and not is_soon_decided:
                wanted.append(boundary)
        elif self._deciding() and not self._key.is_muted:
            wanted.append(end + _LOOK_SAMPLES)
        ahead = [position for position in wanted if position > end]
        return min(ahead) - self._offset if ahead else None

    @_one_at_a_time
    def statistics(self) -> GateStatistics:
        """Return the counters as of now."""
        return GateStatistics(
            received_samples=self._received,
            given_samples=self._given,
            gated_samples=self._gated,
            pending_samples=self._buffer.samples,
            lost_samples=self._lost,
            turns=self._turns,
        )

    # What the program reports. Each returns what came of it, in order.

    @_one_at_a_time
    def feed(self, frame: Frame) -> list[Outcome]:
        """Take the capture's next frame, of any length. Raises ValueError for one that was before the last."""
        frame = self._placed(frame)
        is_first = self._anchor is None
        before = self._buffer.end if self._has_begun else frame.position_samples - frame.ring_lost_samples
        self._lost += frame.device_lost_samples + frame.position_samples - before
        self._has_begun = True
        self._anchor = (frame.position_samples + frame.length_samples - 1, frame.captured_s)
        self._queue.place(self._position_of, before)
        if is_first:
            self._queue.insert(Change.BEGIN, frame.position_samples)
        self._buffer.append(frame)
        self._received += frame.length_samples
        pcm = frame.pcm[: 2 * frame.length_samples]
        for edges, on, off in (
            (self._speech, Change.SPEECH, Change.NO_SPEECH),
            (self._barge_in, Change.LOUD, Change.NOT_LOUD),
        ):
            if edges is not None:
                for position, is_speech in edges.hear(frame.position_samples, pcm):
                    self._queue.insert(on if is_speech else off, position)
        return list(self._run())

    def press(self, at_s: float) -> list[Outcome]:
        """Press push-to-talk's button."""
        return self._control(Change.PRESS, at_s)

    def release(self, at_s: float) -> list[Outcome]:
        """Release push-to-talk's button."""
        return self._control(Change.RELEASE, at_s)

    def mute(self, at_s: float) -> list[Outcome]:
        """Hear nothing from now on; an open turn ends here, without a tail."""
        return self._control(Change.MUTE, at_s)

    def unmute(self, at_s: float) -> list[Outcome]:
        """Hear again; no pre-roll reaches back beyond this moment."""
        return self._control(Change.UNMUTE, at_s)

    def set_mode(self, mode: TurnMode | TurnModeName, at_s: float) -> list[Outcome]:
        """Change the mode; an open turn ends here. Raises SettingsError for voice activity without a detector."""
        return self._control(Change.MODE, at_s, self.checked_mode(mode))

    def cancel(self, at_s: float) -> list[Outcome]:
        """Cancel the open turn or the press; the next one begins with a new press, or a new word."""
        return self._control(Change.CANCEL, at_s)

    def call_off(self, at_s: float) -> list[Outcome]:
        """Do as cancel(), whose old name this is."""
        warn_renamed("method", "call_off", "cancel", stacklevel=2)
        return self.cancel(at_s)

    def avatar_speaks(self, at_s: float) -> list[Outcome]:
        """Be deaf from now on, with half-duplex: open microphone and voice activity are; the button is not."""
        return self._control(Change.AVATAR_SPEAKS, at_s)

    def avatar_ends(self, at_s: float) -> list[Outcome]:
        """Hear the microphone again, with half-duplex, when its echo has died away."""
        return self._control(Change.AVATAR_ENDS, at_s)

    @_one_at_a_time
    def cut(self, at_s: float) -> int | None:
        """Let a frame of an open turn begin with the sound of this moment, and the one before it end there.

        Returns that position, in the turn's numbering; None before the first frame.
        """
        if self._anchor is None:
            return None
        self._cut = self._position_of(checked_time_s(at_s))
        return self._cut

    @_one_at_a_time
    def interrupt(self) -> list[Outcome]:
        """Note that the capture broke off: an open turn ends with what there is.

        The next frame may be another capture's.
        """
        return self._stop(Reason.INTERRUPTED)

    @_one_at_a_time
    def finish(self) -> list[Outcome]:
        """Note that the capture is at its end: an open turn ends with what there is, and nothing stays pending."""
        return self._stop(Reason.FINISHED)

    # How it works.

    @_one_at_a_time
    def _control(self, change: Change, at_s: float, mode: TurnMode | None = None) -> list[Outcome]:
        at_s = checked_time_s(at_s)
        self._queue.add(change, self._position_of(at_s) if self._anchor else None, at_s, mode)
        return list(self._run())

    def _position_of(self, at_s: float) -> int:
        assert self._anchor is not None
        position, captured_s = self._anchor
        return position - round((captured_s - at_s) * RATE_HZ)

    def _placed(self, frame: Frame) -> Frame:
        if self._anchor is None and self._has_begun:
            self._offset = self._buffer.end - (frame.position_samples - frame.ring_lost_samples)
        if self._offset:
            frame = frame._replace(position_samples=frame.position_samples + self._offset)
        if frame.position_samples < self._buffer.end and self._has_begun:
            raise ValueError(
                f"frame {frame.seq} begins at sample {frame.position_samples - self._offset}, which was fed before; "
                "call interrupt() before the frames of another capture"
            )
        return frame

    def _deciding(self, next_mode: TurnMode | None = None) -> list[SpeechEdges]:
        """The detectors without which nothing can be decided, in the mode and in the next."""
        key = self._key
        deciding = [
            self._speech if TurnMode.VAD in (key.mode, next_mode) else None,
            self._barge_in if key.is_gated and key.mode is not TurnMode.PTT else None,
        ]
        return [edges for edges in deciding if edges is not None]

    def _horizon(self, next_mode: TurnMode | None = None) -> int:
        """Everything before this position is known."""
        return min([self._buffer.end, *(edges.decided for edges in self._deciding(next_mode))])

    def _decided_at(self, position: int) -> int:
        return max([position, *(edges.next_decision(position) for edges in self._deciding())])

    def _run(self) -> Iterator[Outcome]:
        """Decide what can be decided, and give out what is decided."""
        if self._anchor is None:
            return
        while (item := self._queue.first) is not None:
            if item.position is None or item.position > self._horizon(item.mode):
                break
            self._queue.pop()
            yield from self._emit(self._key.apply(item.change, item.position, item.mode))
        first = self._queue.first
        queued = [first.position] if first is not None and first.position is not None else []
        yield from self._emit(self._key.advance(min([self._horizon(), *queued])))
        machine, buffer = self._machine, self._buffer
        if machine.turn is not None:
            yield from self._give(min([buffer.end, machine.earliest_end, *queued]), is_end=False)
        else:
            unneeded = max(machine.floor, machine.earliest_start - _LATE_SAMPLES)
            self._gated += buffer.discard(min(unneeded, buffer.end))

    def _emit(self, events: list[TurnEvent]) -> Iterator[Outcome]:
        """The events, with the sound that belongs before them."""
        for event in events:
            if event.kind is TurnEventKind.STARTED:
                self._gated += self._buffer.discard(event.position_samples)
                event = replace(event, position_samples=max(event.position_samples, self._buffer.front))
                self._machine.start = self._machine.given = event.position_samples
                self._turn_samples = 0
                self._turns += 1
            elif event.turn is not None and event.kind in _ENDS:
                if event.kind is not TurnEventKind.CANCELLED:
                    yield from self._give(event.position_samples, is_end=True)
                event = replace(event, sound_samples=self._turn_samples)
            yield event

    def _give(self, to: int, *, is_end: bool) -> Iterator[Frame]:
        """Give out the open turn's sound up to `to`: whole frames, and a short one before a gap and at the end."""
        buffer = self._buffer
        while buffer.front < min(to, buffer.end):
            boundary = self._next_boundary()
            stop = min(boundary, to)
            run_end = buffer.run_end()
            if run_end < min(stop, buffer.end):
                stop = run_end
            elif stop < boundary and not is_end:
                return
            frame = buffer.read(stop, self._seq)
            if self._turn_samples == 0 and frame.discontinuity:
                # What the ring dropped was before the turn; what the device lost may be inside the frame.
                frame = frame._replace(ring_lost_samples=0, discontinuity=frame.device_lost_samples > 0)
            self._seq += 1
            self._turn_samples += frame.length_samples
            self._given += frame.length_samples
            self._machine.given = stop
            yield frame

    def _next_boundary(self) -> int:
        """Where the open turn's next frame ends, unless the turn does."""
        front = self._buffer.front
        return min(front + FRAME_SAMPLES, self._cut) if front < self._cut else front + FRAME_SAMPLES

    def _next_decision(self) -> int | None:
        """When a turn will begin or end by itself or by what is queued, as far as is known now."""
        key = self._key.copy()
        for item in self._queue:
            if item.position is None:
                continue
            deadline = _first(key.ungates_at, key.machine.deadline)
            if deadline is not None and deadline <= item.position:
                break
            turn = key.machine.turn
            key.apply(item.change, item.position, item.mode)
            if key.machine.turn != turn:
                return item.position
        return _first(key.ungates_at, key.machine.deadline)

    def _stop(self, reason: Reason) -> list[Outcome]:
        """What is queued takes effect at once; then everything ends at the newest sample."""
        end = self._buffer.end
        outcomes: list[Outcome] = []
        while self._queue.first is not None:
            item = self._queue.pop()
            at = end if item.position is None else min(item.position, end)
            outcomes += self._emit(self._key.apply(item.change, at, item.mode))
        outcomes += self._emit(self._key.advance(end))
        outcomes += self._emit(self._machine.cut(end, reason))
        self._gated += self._buffer.discard(end)
        self._anchor = None
        return outcomes

    def checked_mode(self, mode: TurnMode | TurnModeName) -> TurnMode:
        """Return a mode by its name. Raises SettingsError for an unknown one, and for "vad" without a detector."""
        try:
            mode = TurnMode(mode)
        except ValueError:
            raise SettingsError(f"mode {mode!r} is unknown; it is one of {', '.join(TurnMode)}") from None
        if mode is TurnMode.VAD and self._speech is None:
            raise SettingsError("voice activity needs a detector, and none was given")
        if mode is not TurnMode.OPEN:
            prepare()  # not when the first turn begins
        return mode


def _first(*positions: int | None) -> int | None:
    return min((position for position in positions if position is not None), default=None)
