"""Blocking calls into sound libraries: in a thread, with a deadline, and with an undo for those that end too late."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

import trio

from ravatar_audio.capture.host.stderr_capture import give_stderr_back
from ravatar_audio.observe.log import line_logger

log: Final = line_logger(__name__)

T = TypeVar("T")


_stuck: set["ThreadCall[Any]"] = set()


def stuck_calls() -> int:
    """Calls that were given up and have not returned: while there are any, only os._exit is sure to end the process."""
    return len(_stuck)


class ThreadCall(Generic[T]):
    """One call in a thread, whose result goes either to whoever takes it or, when that has left, to `undo`."""

    def __init__(
        self, call: Callable[[], T], undo: Callable[[T], None], on_end: Callable[[], None] = lambda: None
    ) -> None:
        self._call: Callable[[], T] | None = call
        self._undo, self._on_end = undo, on_end
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._is_abandoned = False
        self._results: list[T] = []
        self._error: BaseException | None = None

    def start(self) -> None:
        """Begin, in a thread of its own."""
        threading.Thread(target=self.run, daemon=True, name="ravatar-audio blocking call").start()

    def run(self) -> None:
        call, self._call = self._call, None  # what it holds is free when it has returned
        assert call is not None, "a call is run once"
        try:
            result = call()
        except BaseException as error:  # raised where the result is taken
            self._error = error
            with self._lock:
                self._ended.set()
        else:
            with self._lock:
                self._results.append(result)
                self._ended.set()
                is_abandoned = self._is_abandoned
            if is_abandoned:
                self._undo_late()
        _stuck.discard(self)
        del call
        self._on_end()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    @property
    def error(self) -> Exception | None:
        """What the ended call raised; None: it has a result."""
        return self._error if isinstance(self._error, Exception) else None

    def wait(self, timeout_s: float) -> bool:
        """Block until it has ended; False when it has not in time."""
        return self._ended.wait(timeout_s)

    def take(self) -> T:
        """The result of the ended call; raises what it raised. Once."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame and the call's: what they hold is to be free when it is
        return self._results.pop()

    def abandon(self) -> None:
        """Nobody will take the result: undo it, now or when the call ends."""
        with self._lock:
            is_late, self._is_abandoned = self.has_ended, True
            if not is_late:
                _stuck.add(self)
                give_stderr_back()
        if is_late and self._results:
            threading.Thread(target=self._undo_late, daemon=True).start()

    def _undo_late(self) -> None:
        """Nobody is there whom a failure would reach: a hanging library refuses to close what came too late."""
        try:
            self._undo(self._results.pop())
        except Exception as error:
            log.error("what came too late could not be given back: %r", error)  # noqa: TRY400


class AwaitedCall(ThreadCall[T]):
    """One whose end tasks of trio's wait for; made in trio."""

    def __init__(self, call: Callable[[], T], undo: Callable[[T], None]) -> None:
        token, told = trio.lowlevel.current_trio_token(), trio.Event()

        def note_end() -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(told.set)

        super().__init__(call, undo, note_end)
        self._told = told

    async def wait_ended(self) -> None:
        """Until it has ended."""
        if not self.has_ended:
            await self._told.wait()


async def call_in_thread(call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None]) -> T:
    """The result of `call()`, run in a thread; cancelled at once, whatever the call does.

    Raises trio.TooSlowError after `timeout_s`. A call that is left behind by that, by a cancellation or by an interrupt
    goes on in its thread, and `undo` gets its result there when it ends after all. Cancelled before that, it is not
    begun.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    thread_call = ThreadCall(call, undo)
    # A limit of its own each time: a call that never returns must not keep others from running.
    limiter = trio.CapacityLimiter(1)
    try:
        with trio.fail_after(timeout_s):
            await trio.to_thread.run_sync(thread_call.run, abandon_on_cancel=True, limiter=limiter)
    except BaseException:  # KeyboardInterrupt too: what is being opened is nobody's then
        thread_call.abandon()
        raise
    return thread_call.take()
