"""What keeps an interpreter or a machine busy while something else is measured."""

import contextlib
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BUSY = "while True: pass"


class Holder:
    """A thread that holds the interpreter for about `hold_s` at a time by sorting, and rests as long in between.

    `longest_s` is the longest hold that there was, other work of the machine in the midst of it included.
    """

    def __init__(self, hold_s: float = 0.05) -> None:
        self.longest_s = 0.0
        self._hold_s = hold_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        values = [(index * 7_919) % 1_000_003 for index in range(1_000_000)]
        count = 20_000
        while not self._ended.is_set():
            some = values[:count]
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            sorted(some)
            held_s, cpu_s = time.perf_counter() - began_s, time.thread_time() - began_cpu_s
            self.longest_s = max(self.longest_s, held_s)
            count = min(len(values), max(1_000, round(count * min(4.0, self._hold_s / cpu_s))))
            self._ended.wait(self._hold_s)

    def __enter__(self) -> "Holder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@contextmanager
def spinning() -> Iterator[None]:
    """A thread that wants the interpreter all the time."""
    ended = threading.Event()

    def spin() -> None:
        total = 0
        while not ended.is_set():
            for number in range(10_000):
                total += number

    with _thread(spin, ended):
        yield


@contextmanager
def collecting(objects: int = 200_000) -> Iterator[None]:
    """A thread that lets the garbage collector go through many objects, again and again."""
    ended = threading.Event()
    kept = [[index] for index in range(objects)]

    def collect() -> None:
        while not ended.is_set():
            gc.collect()
            ended.wait(0.005)

    with _thread(collect, ended):
        yield
    kept.clear()


@contextmanager
def _thread(target: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def hogged() -> Iterator[None]:
    """Other processes that want every core, as urgent as this one."""
    hogs = [subprocess.Popen([sys.executable, "-c", _BUSY]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def be_urgent() -> None:
    """Before other work of the machine, which is not what is measured, where the system grants it."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(-15)


def be_patient() -> None:
    """Never interrupt what runs: start when there is a core free, or at the next tick, where the system knows that."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
