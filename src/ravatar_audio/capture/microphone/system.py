"""What a microphone needs of the machine: time, devices, threads for calls that may block."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import trio

from ravatar_audio.capture.devices.device import Device
from ravatar_audio.capture.host.blocking_call import ThreadCall, call_in_thread
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.microphone.arrivals import Arrivals
from ravatar_audio.capture.servers.connection import SourceWatch, has_pulse
from ravatar_audio.capture.servers.status import is_client, socket_paths
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStream

T = TypeVar("T")


class System:
    """The machine as it is. `ravatar_audio.testing` has another: devices that are made up, and time that is trio's."""

    def now_s(self) -> float:
        """Seconds of the clock that frames are stamped with."""
        return time.monotonic()

    def find(self, wanted: DeviceRequest) -> DeviceStream:
        """A device, found but not open. May block; raises the media error for what stands in the way."""
        return DeviceStream(wanted)

    def is_served(self, device: Device) -> bool:
        """A sound server may be behind it, and is what hangs if anything does."""
        return not device.is_hardware and "hw:" not in device.pcm and is_client()

    def arrivals(self, *, of_servers: bool) -> Arrivals:
        """Reports when devices and sound servers come, and `of_servers` when sources of theirs do.

        To hear of sources is to connect, which starts a server whose socket the system listens on for it.
        """
        if sys.platform != "linux":
            return Arrivals()
        sources = SourceWatch() if of_servers and has_pulse() else None
        return Arrivals(sockets=socket_paths(os.environ, os.getuid()).values(), sources=sources)

    async def call(self, call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None]) -> T:
        """See call_in_thread."""
        return await call_in_thread(call, timeout_s=timeout_s, undo=undo)

    def start(self, thread_call: ThreadCall[Any]) -> None:
        """Begin it, without waiting for its end."""
        thread_call.start()

    async def wait_ended(self, thread_call: ThreadCall[Any], timeout_s: float) -> bool:
        """Whether it ends within so long."""
        return thread_call.has_ended or await trio.to_thread.run_sync(thread_call.wait, timeout_s)

    async def wait(self, wake: Wake, patience_s: float, arrivals: Arrivals | None = None) -> None:
        """Until the audio thread has something, a device has come, or so long."""
        if arrivals is None:
            with contextlib.suppress(trio.ClosedResourceError):
                await wake.wait_for(patience_s)
            return
        with trio.move_on_after(patience_s):
            async with trio.open_nursery() as nursery:

                async def until_arrival() -> None:
                    await arrivals.wait()
                    nursery.cancel_scope.cancel()

                nursery.start_soon(until_arrival)
                with contextlib.suppress(trio.ClosedResourceError):
                    await wake.wait()
                nursery.cancel_scope.cancel()
