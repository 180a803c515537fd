"""The task that looks after a microphone's stream, and gets its device back, for as long as the microphone is open.

IDLE ── start() ──► RUNNING ── is over ──────────────────────► CLOSING ── closed ──► OPENING ──┐
                     ▲  ▲ │                                      ▲ │                  │        │
                     │  │ └─ gets its device back by itself ─► WAITING                │ hangs  │ opened
                     │  └──────────────── gives sound ───────────┘ │                  │        │
                     │                                             │ hangs            │        │
                     ├── the fallback is open beside that call ◄───┴──────────────────┘        │
                     └── the device is open, or the fallback ◄─────────────────────────────────┘

While the fallback is RUNNING its device is looked for: when that is there, the fallback is over. From each state an
error that ends the capture leads to FAILED, and stop() to STOPPED.
"""

import contextlib
import functools
import math
from enum import Enum, auto

import trio

from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.microphone.library_calls import LibraryCalls
from ravatar_audio.capture.microphone.opener import MicrophoneOpener, OpenMicrophone
from ravatar_audio.capture.microphone.reopening import Reopening, StreamLoss, Supervised
from ravatar_audio.capture.microphone.retry import FailureHistory, Retry
from ravatar_audio.capture.microphone.stall_detector import FIRST_BLOCK_TIMEOUT_S, StallDetector
from ravatar_audio.capture.microphone.system import Hotplug, System
from ravatar_audio.capture.streams.open_errors import is_bug
from ravatar_audio.capture.streams.stream import StreamStatistics
from ravatar_audio.errors import MediaAbortedError, MediaError, RecorderError
from ravatar_audio.groups import DetachedTask, first_of

LOOK_BACK_S = (5.0, 60.0)
"""How long after its opening, or after a failed return, a fallback is kept before the device is looked for again.

Twice as long each time that the device is there but does not last.
"""


class SupervisorState(Enum):
    """See the module."""

    IDLE = auto()
    RUNNING = auto()
    WAITING = auto()
    CLOSING = auto()
    OPENING = auto()
    FAILED = auto()
    STOPPED = auto()


class Supervisor:
    """Of one microphone. See the module for its states."""

    def __init__(
        self,
        opener: MicrophoneOpener,
        system: System,
        client: Supervised,
        stall_detector: StallDetector,
        *,
        recover_s: float,
        fallback_after_s: float,
    ) -> None:
        self._opener, self._system, self._client, self._stall_detector = opener, system, client, stall_detector
        self.calls: LibraryCalls = LibraryCalls(system)
        self._recover_s, self._fallback_after_s = recover_s, fallback_after_s
        self._histories = {False: FailureHistory(), True: FailureHistory()}  # of the device, of the fallback
        self._look_back_s = LOOK_BACK_S[0]
        self._patience = trio.CancelScope()  # of the wait for the stream's wake-up
        self._planned_s = math.inf
        self.state: SupervisorState = SupervisorState.IDLE
        self.opened: OpenMicrophone | None = None
        """The stream that is open; None from when its closing begins."""
        self.failure: Exception | None = None
        """What has ended the capture."""

    @property
    def is_active(self) -> bool:
        """It has been started, and not stopped yet."""
        return self.state not in (SupervisorState.IDLE, SupervisorState.STOPPED)

    @property
    def running(self) -> OpenMicrophone | None:
        """The stream that is used now."""
        return self.opened if self.state in (SupervisorState.RUNNING, SupervisorState.FAILED) else None

    @property
    def is_well(self) -> bool:
        """A stream runs, and sound comes."""
        return self.state is SupervisorState.RUNNING and not self._stall_detector.is_stalled

    def start(self, opened: OpenMicrophone) -> None:
        """Begin with this stream."""
        self._run(opened)
        self._task = DetachedTask(self._supervise)

    def look_soon(self) -> None:
        """Something has happened of which nobody else reports: the opener has another choice. In trio only."""
        if self.opened is not None:
            self.opened.wakes.stream.set()

    def _run(self, opened: OpenMicrophone) -> None:
        self.opened, self.state = opened, SupervisorState.RUNNING
        self._stall_detector.begin(opened.stream)

    async def _supervise(self) -> None:
        # No variable here keeps a stream that is over.
        try:
            if self._current.is_fallback:
                await self._until_own()
            while True:
                await self._until_own(await self._until_over(self._current))
        except ReferenceError:  # see Supervised
            return
        except Exception as error:  # raised where frames are taken
            self.failure, self.state = error, SupervisorState.FAILED
            with contextlib.suppress(ReferenceError):
                self._client.wake()

    @property
    def _current(self) -> OpenMicrophone:
        assert self.opened is not None
        return self.opened

    async def _until_own(self, reason: MediaError | None = None) -> None:
        """From when the device is away, for a `reason` or from the first, until it runs."""
        with contextlib.closing(self._system.watch_hotplug(of_servers=self._opener.may_be_served)) as hotplug:
            if reason is not None:
                await self._reopen(self._current, reason, hotplug)
            while self._current.is_fallback:
                reasons = await first_of(
                    functools.partial(self._until_over, self._current), functools.partial(self._until_returned, hotplug)
                )
                await self._reopen(self._current, reasons[0], hotplug)

    # A stream that runs.

    async def _until_over(self, opened: OpenMicrophone) -> MediaError:
        """Why the stream cannot go on as it is."""
        name = opened.line.device.name
        while True:
            opened.wakes.stream.clear()
            counts = self._look_at(opened)
            self._client.look_at_delivered()
            if opened.choice != self._opener.choice:
                return MediaAbortedError("another microphone was chosen")
            if (reason := self._stall_detector.reason_to_reopen(counts, self._system.now_s(), name)) is not None:
                return reason
            await self._wait(opened, self._stall_detector.look_again_in_s)

    def look(self) -> None:
        """Emit what begins or ends for the stream now."""
        if self.state is SupervisorState.RUNNING and self.opened is not None:
            self._look_at(self.opened)

    def _look_at(self, opened: OpenMicrophone) -> StreamStatistics:
        """As look(); by these counters."""
        self._emit_events(opened)
        counts = opened.stream.statistics()
        for kind, message in self._stall_detector.look(counts, self._system.now_s()):
            self._client.emit(kind, message)
        return counts

    def _emit_events(self, opened: OpenMicrophone) -> None:
        for kind, message in opened.stream.events():
            self._client.emit(kind, message)

    async def _wait(self, opened: OpenMicrophone, longest_s: float) -> None:
        """For the stream's wake-up, or so long."""
        # Never so little that adding it to the clock's float would change nothing: a virtual clock would stand still.
        with trio.move_on_after(max(1e-6, longest_s)) as self._patience:
            self._planned_s = self._patience.deadline
            await opened.wakes.stream.wait()

    def look_within(self, seconds: float) -> None:
        """Look again so soon, unless need_not_look() comes before. In trio only."""
        self._patience.deadline = min(self._planned_s, trio.current_time() + seconds)

    def need_not_look(self) -> None:
        """Take look_within() back."""
        self._patience.deadline = self._planned_s

    async def _until_returned(self, hotplug: Hotplug) -> MediaError:
        """The fallback runs: until its device is there."""
        first_wait_s, self._look_back_s = self._look_back_s, min(2 * self._look_back_s, LOOK_BACK_S[1])
        missing = MediaAbortedError("the microphone is not back")
        retry = Retry(missing, self._system, hotplug, until_s=math.inf, first_wait_s=first_wait_s)
        while True:
            await retry.pause()
            try:
                if self.calls.hang:
                    raise RecorderError("the sound library still hangs")
                await self.calls.result(self._opener.look, lambda _: None)
            except Exception as error:
                retry.note_failure(error)
            else:
                return MediaAbortedError("the microphone that was missing is back")

    # A stream that is over.

    async def _reopen(self, ended: OpenMicrophone, reason: MediaError, hotplug: Hotplug) -> None:
        """Have another stream in place of one that is over, or that one when it gives sound again."""
        loss = self._lost(ended, reason)
        self._client.emit("reopening", reason.message)
        waits = ended.stream.gets_back and not loss.fallback_first and ended.choice == self._opener.choice
        if not waits or not await self._has_got_back(loss):
            self.state, self.opened = SupervisorState.CLOSING, None
            reopening = Reopening(self._opener, self._system, self._client, self.calls, loss, hotplug)
            opened = await reopening.close()
            if opened is None:
                self.state = SupervisorState.OPENING
                history = self._histories[loss.fallback_first or ended.is_fallback]
                opened = await reopening.open(history.wait_s)
        else:
            opened = ended
        self._run(opened)
        self._client.reopened(opened)

    def _lost(self, ended: OpenMicrophone, reason: MediaError) -> StreamLoss:
        """What is to be done about it. Raises the reason when that is nothing."""
        history, now_s, is_fallback = self._histories[ended.is_fallback], self._system.now_s(), ended.is_fallback
        history.note_end(ended.stream.statistics(), now_s, waits_asleep=ended.stream.backend == "alsa")
        if not is_fallback and not history.wait_s:
            self._look_back_s = LOOK_BACK_S[0]
        until_s = history.begun_s + self._recover_s
        if until_s <= now_s:
            raise reason
        # A device that is there but does not last is worse than another.
        does_not_last = not is_fallback and history.wait_s > 0 and self._opener.has_fallback
        return StreamLoss(
            ended=ended,
            reason=reason,
            is_served=self._system.is_served(ended.line.device),
            begun_s=now_s,
            until_s=until_s,
            # Coming from the fallback, it is the first thing to go back to.
            fallback_from_s=now_s + (0.0 if is_fallback else self._fallback_after_s),
            fallback_first=does_not_last and now_s >= history.begun_s + self._fallback_after_s,
        )

    async def _has_got_back(self, loss: StreamLoss) -> bool:
        """Whether a stream that gets its device back by itself gives sound again before another is to take over."""
        self.state = SupervisorState.WAITING
        opened, stream = loss.ended, loss.ended.stream
        until_s = min(loss.until_s, loss.fallback_from_s if self._opener.has_fallback else math.inf)
        blocks, wait_s = stream.statistics().blocks, FIRST_BLOCK_TIMEOUT_S
        restart_s = math.inf if stream.statistics().missing else 0.0
        while True:
            opened.wakes.stream.clear()
            self._emit_events(opened)
            now_s, counts = self._system.now_s(), stream.statistics()
            if counts.blocks > blocks:
                return True
            if now_s >= until_s or opened.choice != self._opener.choice:
                return False
            if counts.missing:
                restart_s = math.inf
            elif now_s >= restart_s:  # it is there, but gives nothing
                stream.restart()
                restart_s, wait_s = now_s + wait_s, min(2 * wait_s, LOOK_BACK_S[1])
            elif restart_s == math.inf:
                restart_s = now_s + wait_s
            await self._wait(opened, min(until_s, restart_s) - now_s)

    # The end.

    async def stop(self, *, wants_sound: bool) -> bool:
        """Look after nothing more. What is open then is `opened`, and for the caller to close.

        Whether nothing but that pushes into what is fed. A call that is under way is waited for, but for one that opens
        where no sound of it is wanted any more. May be called again.
        """
        if not self.is_active:
            return True
        await self._task.aclose()
        state = self.state
        self.state = SupervisorState.STOPPED
        is_waited_for = state is SupervisorState.CLOSING or (state is SupervisorState.OPENING and wants_sound)
        call = await self.calls.end(is_waited_for=is_waited_for)
        if call is None:
            return True
        if not call.has_ended:
            return False
        if (failure := call.error) is not None:
            if is_bug(failure):
                raise failure
            return state is SupervisorState.OPENING
        if isinstance(result := call.take(), OpenMicrophone):
            self.opened = result
            self._client.take_over(result)
        return True

    def forget(self) -> None:
        """The program has forgotten the microphone: end, without waiting, and close what is open. Any thread."""
        if (call := self.calls.under_way) is not None:
            call.abandon()
        if (opened := self.opened) is not None:
            self._system.start(ThreadCall(opened.close, lambda _: None))  # what it fed lives on until then
        self._task.cancel_soon()
