"""What a microphone needs of the machine: time, devices, threads for calls that may block."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from ravatar_audio.capture.devices.device import Device
from ravatar_audio.capture.host.blocking_call import ThreadCall, call_in_thread
from ravatar_audio.capture.microphone.hotplug_watch import HotplugWatch
from ravatar_audio.capture.servers.connection import SourceWatch, has_pulse
from ravatar_audio.capture.servers.status import is_client, socket_paths
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStream, DeviceStreamPort

T = TypeVar("T")


class Hotplug(Protocol):
    """Word of devices that come; see HotplugWatch."""

    async def wait_come(self) -> None:
        """Until something has come since this returned last."""

    def close(self) -> None:
        """Watch no more."""


class System:
    """The machine as it is. `ravatar_audio.testing` has another: devices that are made up, and time that is trio's."""

    def now_s(self) -> float:
        """Seconds of the clock that frames are stamped with."""
        return time.monotonic()

    def find(self, wanted: DeviceRequest) -> DeviceStreamPort:
        """A device, found but not open. May block; raises the media error for what stands in the way."""
        return DeviceStream(wanted)

    def is_served(self, device: Device) -> bool:
        """A sound server may be behind it, and is what hangs if anything does."""
        return not device.is_hardware and "hw:" not in device.pcm and is_client()

    def watch_hotplug(self, *, of_servers: bool) -> Hotplug:
        """Reports when devices and sound servers come, and `of_servers` when sources of theirs do.

        To hear of sources is to connect, which starts a server whose socket the system listens on for it.
        """
        if sys.platform != "linux":
            return HotplugWatch()
        sources = SourceWatch() if of_servers and has_pulse() else None
        return HotplugWatch(sockets=socket_paths(os.environ, os.getuid()).values(), sources=sources)

    async def call(self, call: Callable[[], T], *, timeout_s: float, undo: Callable[[T], None]) -> T:
        """See call_in_thread."""
        return await call_in_thread(call, timeout_s=timeout_s, undo=undo)

    def start(self, thread_call: ThreadCall[Any]) -> None:
        """Begin it, without waiting for its end."""
        thread_call.start()
