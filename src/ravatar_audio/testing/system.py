"""A machine that has only made-up devices, no threads, and the time that trio says."""

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import trio

from ravatar_audio.capture.devices.device import Device, choose_device
from ravatar_audio.capture.host.blocking_call import ThreadCall
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.microphone.arrivals import Arrivals
from ravatar_audio.capture.microphone.system import System
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStream
from ravatar_audio.capture.streams.stream import StreamRequest
from ravatar_audio.errors import ConstraintsError, RecorderError
from ravatar_audio.native import Chain
from ravatar_audio.testing.device import FakeDevice, FakeStream

T = TypeVar("T")


class FakeSystem(System):
    """See System. Blocks are pushed while the microphone is waited for, all that have fallen due by then."""

    def __init__(self, devices: Sequence[FakeDevice]) -> None:
        self.devices = devices
        self._offset_s: float | None = None
        self._hanging: list[ThreadCall[Any]] = []
        self.end_s = math.inf
        self.is_hurried = False
        """The open frame may end with any block: a flush has been asked for."""
        self.is_stalled = False
        """The microphone says so, and is to say when it is over."""

    def now_s(self) -> float:
        """Goes as trio's clock does, and is time.monotonic() where that is a real one."""
        if self._offset_s is None:
            self._offset_s = time.monotonic() - trio.current_time()
        return trio.current_time() + self._offset_s

    def find(self, wanted: DeviceRequest) -> DeviceStream:
        return cast(DeviceStream, FakeDeviceStream(self, wanted))

    def is_served(self, device: Device) -> bool:
        return False

    def arrivals(self, *, of_servers: bool) -> Arrivals:
        return cast(Arrivals, FakeArrivals(self.devices))

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

    async def wait_ended(self, thread_call: ThreadCall[Any], timeout_s: float) -> bool:
        if not thread_call.has_ended:
            await trio.sleep(timeout_s)
            self.advance()
        return thread_call.has_ended

    async def wait(self, wake: Wake, patience_s: float, arrivals: Arrivals | None = None) -> None:
        due_s = min(device.next_due_s(by_block=self.is_hurried) for device in self.devices)
        # A device that runs well needs no looking at before its frame is there, which makes hours short.
        if any(device.is_running for device in self.devices) and not self.is_stalled:
            patience_s = math.inf
        limit_s = min(patience_s, due_s - self.now_s(), self.end_s - self.now_s())
        # Never so little that adding it to the clock's float would change nothing: a virtual clock would stand still.
        with trio.move_on_after(max(1e-6, limit_s)), contextlib.suppress(trio.ClosedResourceError):
            await wake.wait()
        self.advance()

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
        self.device = choose_device(described, wanted.selector)
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
        self.request = StreamRequest(
            self.device, fake.rate_hz, fake.channels, fake.format, wanted.block_s, wanted.buffer_s
        )
        self._stream: FakeStream | None = None
        self.refusal: ConstraintsError | None = None

    def open(self, chain: Chain, wake: Wake, resume_ns: int = 0) -> FakeStream:
        self._stream = self._fake.open(chain, self.request, wake, resume_ns, self._system.now_s)
        return self._stream

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()


class FakeArrivals:
    """See Arrivals."""

    patience_s = float("inf")

    def __init__(self, devices: Sequence[FakeDevice]) -> None:
        self._devices = devices
        self._seen = self._comings()

    def _comings(self) -> int:
        return sum(device.comings for device in self._devices)

    def have_come(self) -> bool:
        before, self._seen = self._seen, self._comings()
        return self._seen != before

    def close(self) -> None:
        """Nothing to give back."""
