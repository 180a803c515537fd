"""A machine that has only made-up devices, no threads, and the time that trio says."""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio

from ravatar_audio.capture.devices.device import Device, choose_device
from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.host.one_taker import OwnThread
from ravatar_audio.capture.host.wakeup import Wakes
from ravatar_audio.capture.microphone.system import Hotplug, System
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStreamPort
from ravatar_audio.capture.streams.stream import StreamRequest
from ravatar_audio.errors import ConstraintsError, RecorderError
from ravatar_audio.native import Chain
from ravatar_audio.testing.device import FakeDevice, FakeStream

T = TypeVar("T")


class FakeSystem(System):
    """See System. Blocks are pushed by run(), which goes on beside the microphone, as they fall due."""

    def __init__(self, devices: Sequence[FakeDevice]) -> None:
        self.devices = devices
        self._offset_s: float | None = None
        self._hanging: list[ThreadCall[Any]] = []
        self._thread, self._waiting = OwnThread(), trio.lowlevel.ParkingLot()
        for device in devices:
            device.on_change = self.note_change
        self.end_s: float = math.inf
        self.is_hurried = False
        """The open frame may end with any block: a flush has been asked for."""

    def now_s(self) -> float:
        """Goes as trio's clock does, and is time.monotonic() where that is a real one."""
        if self._offset_s is None:
            self._offset_s = time.monotonic() - trio.current_time()
        return trio.current_time() + self._offset_s

    def find(self, wanted: DeviceRequest) -> DeviceStreamPort:
        return FakeDeviceStream(self, wanted)

    def is_served(self, device: Device) -> bool:
        return False

    def watch_hotplug(self, *, of_servers: bool) -> Hotplug:
        return FakeHotplugWatch(self)

    async def call(self, call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None]) -> T:
        await trio.lowlevel.checkpoint()
        thread_call = ThreadCall(call, undo)
        self.start(thread_call)
        if not thread_call.has_ended:
            await trio.sleep(timeout_s)
            thread_call.abandon()
            raise trio.TooSlowError
        return thread_call.take()

    def start(self, thread_call: ThreadCall[Any]) -> None:
        """While one call hangs, the others do not get to the device that hangs: see FakeDeviceStream."""
        if self.hangs and not self._hanging:
            self._hanging.append(thread_call)
        else:
            thread_call.run()

    async def run(self, end: Callable[[], Awaitable[None]]) -> None:
        """Let time go by for the devices; `end` is called once, when it is over for the microphone."""
        self._thread.enter()
        async with trio.open_nursery() as nursery:
            has_ended = False
            while True:
                self.advance()
                is_over = self.now_s() >= self.end_s or any(device.is_over for device in self.devices)
                if is_over and not has_ended:
                    has_ended = True
                    nursery.start_soon(end)
                due_s = min(device.next_due_s(by_block=self.is_hurried) for device in self.devices)
                wait_s = (due_s if has_ended else min(due_s, self.end_s)) - self.now_s()
                # Never so little that adding it to the clock's float would change nothing: a virtual clock would stand.
                with trio.move_on_after(max(1e-6, wait_s)):
                    await self.wait_change()

    def note_change(self) -> None:
        """Something has happened to a device. Any thread."""
        self._thread.run(self._waiting.unpark_all)

    async def wait_change(self) -> None:
        """Until something happens to a device."""
        await self._waiting.park()

    @property
    def hangs(self) -> bool:
        """A call into the sound library does not return."""
        return any(device.hangs for device in self.devices)

    def advance(self) -> None:
        """Let all devices do what has fallen due."""
        for device in self.devices:
            device.advance(self.now_s())
        if self._hanging and not self.hangs:
            late, self._hanging = self._hanging, []
            for thread_call in late:
                thread_call.run()


class FakeDeviceStream:
    """See DeviceStream."""

    def __init__(self, system: FakeSystem, wanted: DeviceRequest) -> None:
        listed = [device for device in system.devices if device.is_plugged_in]
        described = [device.described(is_default=device is listed[0]) for device in listed]
        self.device: Device = choose_device(described, wanted.selector)
        self._fake = listed[described.index(self.device)]
        if refusal := self._fake.refusal():
            raise refusal
        if self._fake.hangs:
            raise RecorderError("the sound library has not returned from an earlier call")
        fake = self._fake
        for name, value, has in (
            ("Hz", wanted.rate_hz, fake.rate_hz),
            ("channels", wanted.channels, fake.channels),
            ("format", wanted.format, fake.format),
        ):
            if value not in (None, has):
                raise ConstraintsError(f"the device {fake.name!r} does not have {value} {name}; it has {has}")
        self._system = system
        self.request: StreamRequest = StreamRequest(
            self.device, fake.rate_hz, fake.channels, fake.format, wanted.block_s, wanted.buffer_s
        )
        self._stream: FakeStream | None = None
        self.refusal: ConstraintsError | None = None

    def open(self, chain: Chain, wakes: Wakes, resume_ns: int = 0) -> FakeStream:
        self._stream = self._fake.open(chain, self.request, wakes.stream, resume_ns, self._system.now_s)
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class FakeHotplugWatch:
    """See HotplugWatch."""

    def __init__(self, system: FakeSystem) -> None:
        self._system = system
        self._seen = self._comings()

    def _comings(self) -> int:
        return sum(device.comings for device in self._system.devices)

    async def wait_come(self) -> None:
        while self._comings() == self._seen:
            await self._system.wait_change()
        self._seen = self._comings()

    def close(self) -> None:
        """Nothing to give back."""
