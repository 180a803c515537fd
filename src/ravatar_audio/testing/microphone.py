"""The real microphone around devices that are made up."""

import weakref
from collections.abc import Sequence
from typing import Any

from ravatar_audio.capture import Microphone
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.frames import Frame
from ravatar_audio.groups import DetachedTask
from ravatar_audio.testing.device import FakeDevice
from ravatar_audio.testing.sound import OneSound
from ravatar_audio.testing.system import FakeSystem


class FakeMicrophone(Microphone):
    """A Microphone for tests: its devices are FakeDevices, its time is trio's, and all between is the real one:

        async with FakeMicrophone("tone", script={48_000: "unplug", 96_000: "ok"}) as microphone:
            async for frame in microphone:
                ...

    Conversion, ring, stalls, recovery, fallback, events and statistics are those of a Microphone; only threads and
    the sound library are missing. `devices` are the machine's, the default first; anything that is no FakeDevice is
    one's sound. `drift_ppm`, `jitter_s`, `script` and `seed` are for devices that are not made yet; other options are
    Microphone's. `duration_s` stops it after so long; else it never ends.

    Sound comes as trio's clock goes, real or virtual, frame by frame. Under a virtual clock the ages that a session
    reports mean nothing.
    """

    def __init__(
        self,
        *devices: FakeDevice | OneSound | Sequence[OneSound],
        device: str | None = None,
        duration_s: float | None = None,
        **options: Any,
    ) -> None:
        of_device = {name: options.pop(name) for name in _DEVICE_OPTIONS if name in options}
        made = [given if isinstance(given, FakeDevice) else FakeDevice(given, **of_device) for given in devices]
        self.devices: tuple[FakeDevice, ...] = tuple(made or [FakeDevice(**of_device)])
        self._duration_s = duration_s
        self._running: DetachedTask | None = None
        self._machine = FakeSystem(self.devices)
        super().__init__(device, **options)

    def _make_system(self) -> System:
        return self._machine

    def do(self, word: str) -> None:
        """Let something happen to the first device now; see FakeDevice."""
        self.devices[0].do(word)

    async def _open(self) -> None:
        await super()._open()
        if self._duration_s is not None:
            self._machine.end_s = self._system.now_s() + self._duration_s
        machine, microphone = self._machine, weakref.proxy(self)
        self._running = DetachedTask(lambda: machine.run(lambda: microphone.stop()))

    async def _next(self) -> Frame | None:
        frame = await super()._next()
        self._machine.is_hurried = False
        return frame

    async def _end(self, *, wants_sound: bool) -> None:
        self._machine.advance()
        await super()._end(wants_sound=wants_sound)

    async def aclose(self) -> None:
        try:
            await super().aclose()
        finally:
            if self._running is not None:
                await self._running.aclose()

    def _request_flush(self) -> None:
        self._hurry()
        super()._request_flush()

    def _flush_at(self, position_samples: int | None) -> None:
        if position_samples is not None:
            self._hurry()
        super()._flush_at(position_samples)

    def _discard(self) -> None:
        self._machine.advance()
        super()._discard()

    def _hurry(self) -> None:
        self._machine.advance()  # or it would take effect in the past
        self._machine.is_hurried = True
        self._machine.note_change()


_DEVICE_OPTIONS = ("drift_ppm", "jitter_s", "script", "seed")
