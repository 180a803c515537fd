"""How a person at the terminal, or a button on a kiosk, controls turns: keys, and signals."""

import contextlib
import math
import os
import signal
import time
from collections.abc import Iterator
from typing import Final

import trio

from ravatar_audio.cli.keys import ASK, BEGIN, END, HeldKey, Key, KeyReader, Kind
from ravatar_audio.session import TurnSource

try:
    import termios
    import tty
except ImportError:  # Windows has neither terminals of this kind nor these signals
    _HAS_TERMINALS = False
else:
    _HAS_TERMINALS = True

KEYS: Final = "hold the space bar to talk, m mutes, x cancels"
SIGNALS: Final = "SIGUSR1 presses the button, SIGUSR2 lets it go"


async def control(turns: TurnSource, *, task_status: trio.TaskStatus[bool] = trio.TASK_STATUS_IGNORED) -> None:
    """Let keys and signals control the turns, until cancelled; starts with whether there is a keyboard."""
    async with trio.open_nursery() as nursery:
        if hasattr(signal, "SIGUSR1"):
            await nursery.start(_obey_signals, turns)
        with _terminal() as fd:
            task_status.started(fd is not None)
            if fd is None:
                await trio.sleep_forever()
            else:
                await _obey_keys(fd, turns)


async def _obey_signals(turns: TurnSource, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGUSR1, signal.SIGUSR2) as received:
        task_status.started()
        async for caught in received:
            if caught == signal.SIGUSR1:
                turns.press()
            else:
                turns.release()


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """The terminal, sending each key at once and unseen; None where there is none, or another program has it."""
    if not _HAS_TERMINALS:
        yield None
        return
    with contextlib.ExitStack() as stack:
        fd = 0
        if not os.isatty(0):  # standard input may be the sound
            if not os.isatty(2):
                yield None
                return
            try:
                fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
            except OSError:
                yield None
                return
            stack.callback(os.close, fd)
        try:
            is_ours = os.tcgetpgrp(fd) == os.getpgrp()
            before = termios.tcgetattr(fd)
        except (OSError, termios.error):
            is_ours = False
        if not is_ours:
            yield None
            return
        tty.setcbreak(fd)
        stack.callback(termios.tcsetattr, fd, termios.TCSADRAIN, before)
        yield fd


async def _obey_keys(fd: int, turns: TurnSource) -> None:
    reader, keys = KeyReader(), _Keys(turns)
    _write(fd, ASK)
    try:
        while True:
            data = b""
            patience_s = keys.talk.deadline_s - time.monotonic()
            with trio.move_on_after(max(0.0, patience_s)) if patience_s < math.inf else contextlib.nullcontext():
                await trio.lowlevel.wait_readable(fd)
                data = os.read(fd, 4_096)
                if not data:  # the terminal is gone
                    break
            now_s = time.monotonic()
            for key in reader.feed(data):
                if key.kind is Kind.ANSWER and not keys.talk.tells_release:
                    keys.talk.tells_release = keys.mute.tells_release = True
                    _write(fd, BEGIN)
                keys.obey(key, now_s)
            keys.look(now_s)
    finally:
        if keys.talk.tells_release:
            _write(fd, END)
    await trio.sleep_forever()


class _Keys:
    def __init__(self, turns: TurnSource) -> None:
        self._turns = turns
        self.talk, self.mute = HeldKey(), HeldKey()

    def obey(self, key: Key, now_s: float) -> None:
        turns = self._turns
        match key:
            case Key(" ", Kind.DOWN) if self.talk.down(now_s):
                turns.press(now_s)
            case Key(" ", Kind.UP) if self.talk.up():
                turns.release(now_s)
            case Key("m", Kind.DOWN) if self.mute.down(now_s):  # held, it repeats: once is enough
                if turns.gate.is_muted:
                    turns.unmute(now_s)
                else:
                    turns.mute(now_s)
            case Key("m", Kind.UP):
                self.mute.up()
            case Key("x" | "escape", Kind.DOWN):
                turns.cancel(now_s)
            case Key("ctrl-c", Kind.DOWN):  # the protocol takes the terminal's own handling away
                signal.raise_signal(signal.SIGINT)

    def look(self, now_s: float) -> None:
        """Let go what has not been heard of for long enough."""
        if now_s >= self.talk.deadline_s:
            self._turns.release(self.talk.give_up())
        if now_s >= self.mute.deadline_s:
            self.mute.give_up()


def _write(fd: int, data: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, data)
