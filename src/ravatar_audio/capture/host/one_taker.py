"""One taker at a time, and one thread: what keeps two consumers, or a button's thread, from getting into each other."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trio


class OneTaker:
    """Who takes from something that can serve only one, by name; everybody else gets trio.BusyResourceError."""

    def __init__(self) -> None:
        self._holder: str | None = None
        self._is_taking = False

    @contextmanager
    def hold(self, what: str, holder: str) -> Iterator[None]:
        """Have `what` for oneself: nobody else may take from it meanwhile."""
        self._check(what, None)
        self._holder = holder
        try:
            yield
        finally:
            self._holder = None

    @contextmanager
    def take(self, what: str, holder: str | None = None) -> Iterator[None]:
        """Take from it once, as its holder or, where there is none, as anybody."""
        self._check(what, holder)
        self._is_taking = True
        try:
            yield
        finally:
            self._is_taking = False

    def _check(self, what: str, holder: str | None) -> None:
        if self._holder != holder:
            user = self._holder or "nobody"
        elif self._is_taking:
            user = "another task"
        else:
            return
        raise trio.BusyResourceError(
            f"{user} takes the frames of {what} already, and each frame comes once: give them on from there "
            "(on_frame of TurnSource, on_sent of LiveSession)"
        )


class OwnThread:
    """Lets other threads change what belongs to a trio run: in the run's thread, in the order in which they asked.

    In that thread, and before `enter`, changes are made at once. After the run's end they are not made at all.
    """

    def __init__(self) -> None:
        self._token: trio.lowlevel.TrioToken | None = None
        self._thread = 0
        self._asked: deque[Callable[[], object]] = deque()

    def enter(self) -> None:
        """Make everything happen, from now on, in the caller's trio run."""
        self._token, self._thread = trio.lowlevel.current_trio_token(), threading.get_ident()

    def run(self, change: Callable[[], object]) -> None:
        """Make a change. What it raises is raised here where it is made at once, and ends the run elsewhere."""
        self._asked.append(change)
        if self._token is None or threading.get_ident() == self._thread:
            self._run_asked()
        else:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._run_asked, idempotent=True)

    def _run_asked(self) -> None:
        while True:
            try:
                change = self._asked.popleft()
            except IndexError:  # also when another thread was quicker, before there is a run
                return
            change()
