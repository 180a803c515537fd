"""PortAudio, which PyAudio brings: the only module that knows either.

PyAudio initialises the library and lists the devices. The stream is opened by our own core through the same library
instance, so that PortAudio's thread runs C only (rva_portaudio.h). Where the library's functions cannot be looked
up, PyAudio's Python callback feeds the same chain instead.

PortAudio is not thread-safe: each call that is not documented to be goes through `_life_cycle`, PyAudio's included.
"""

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import ModuleType
from typing import Any, NoReturn, Self

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture.devices.device import Device, layout_text
from ravatar_audio.capture.host.stderr_capture import chatter_to_log
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams.fed import FedStream
from ravatar_audio.capture.streams.stream import PRIORITY, CoreStream, Stream, StreamRequest, StreamStatistics
from ravatar_audio.errors import (
    ConstraintsError,
    DeviceInUseError,
    DeviceNotFoundError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)
from ravatar_audio.native import Chain, format_code
from ravatar_audio.observe.log import line_logger

log: logging.Logger = line_logger(__name__)

LOCK_TIMEOUT_S = 5.0
"""Longest wait for another PortAudio call of this process; opening a busy device takes a second."""

_lock = threading.Lock()

# portaudio.h, PaErrorCode
_ERRORS: dict[int, type[MediaError]] = {
    -9998: ConstraintsError,  # paInvalidChannelCount
    -9997: ConstraintsError,  # paInvalidSampleRate
    -9996: DeviceNotFoundError,  # paInvalidDevice
    -9995: ConstraintsError,  # paInvalidFlag
    -9994: ConstraintsError,  # paSampleFormatNotSupported
    -9993: DeviceNotFoundError,  # paBadIODeviceCombination: ALSA's answer for a device that is gone or forbidden
    -9985: DeviceInUseError,  # paDeviceUnavailable
}
_UNANTICIPATED_HOST_ERROR = -9999
# On Windows: HRESULTs of winerror.h and audioclient.h, others of mmeapi.h.
_HOST_ERRORS: dict[int, type[MediaError]] = {
    0x80070005 - 2**32: PermissionDeniedError,  # E_ACCESSDENIED
    0x88890004 - 2**32: DeviceNotFoundError,  # AUDCLNT_E_DEVICE_INVALIDATED
    0x8889000A - 2**32: DeviceInUseError,  # AUDCLNT_E_DEVICE_IN_USE
    0x88890008 - 2**32: ConstraintsError,  # AUDCLNT_E_UNSUPPORTED_FORMAT
    2: DeviceNotFoundError,  # MMSYSERR_BADDEVICEID
    4: DeviceInUseError,  # MMSYSERR_ALLOCATED
    6: DeviceNotFoundError,  # MMSYSERR_NODRIVER
    32: ConstraintsError,  # WAVERR_BADFORMAT
}


@contextlib.contextmanager
def _life_cycle() -> Iterator[None]:
    if not _lock.acquire(timeout=LOCK_TIMEOUT_S):
        raise RecorderError(
            f"PortAudio has not returned from an earlier call for {LOCK_TIMEOUT_S:g} s",
            advice="The sound library hangs, as it does when a device was unplugged; restart the program.",
        )
    try:
        yield
    finally:
        _lock.release()


def _import_pyaudio() -> ModuleType:
    try:
        import pyaudio
    except ImportError as error:
        raise RecorderError(
            f"PyAudio cannot be loaded: {error}",
            advice="Install PortAudio (Debian: sudo apt-get install libportaudio2) and PyAudio (pip install PyAudio).",
        ) from error
    return pyaudio  # type: ignore[no-any-return]


class PortAudio:
    """PortAudio, initialised for as long as this is open. Each method may block; call them from a worker thread."""

    def __init__(self) -> None:
        self._module = _import_pyaudio()
        lib.rva_quiet_libraries()
        with _life_cycle(), chatter_to_log():
            try:
                self._instance = self._module.PyAudio()
            except OSError as error:
                _raise_for_oserror(error, "PortAudio cannot be initialised")
        out = ffi.new("rva_portaudio **")
        path = self._module._portaudio.__file__
        self._native = out[0] if lib.rva_portaudio_bind(os.fsencode(path), out) == lib.RVA_OK else None

    def close(self) -> None:
        """Give PortAudio back; the streams must have been closed."""
        with _life_cycle():
            self._instance.terminate()
        if self._native is not None:
            lib.rva_portaudio_unbind(self._native)
            self._native = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_native(self) -> bool:
        """PortAudio's functions were found, so a stream can run without the interpreter."""
        return self._native is not None

    def devices(self) -> list[Device]:
        """The input devices as PortAudio saw them when the process's first user initialised it."""
        with _life_cycle():
            try:
                default = self._instance.get_default_input_device_info()["index"]
            except OSError:
                default = None
            found = []
            for index in range(self._instance.get_device_count()):
                info = self._instance.get_device_info_by_index(index)
                if info["maxInputChannels"] > 0:
                    host_api = self._instance.get_host_api_info_by_index(info["hostApi"])["name"]
                    found.append(
                        Device(
                            index=index,
                            name=_text(info["name"]),
                            host_api=_text(host_api),
                            channels=info["maxInputChannels"],
                            rate_hz=round(info["defaultSampleRate"]),
                            is_default=index == default,
                            pcm=_text(info["name"]) if _text(host_api) == "ALSA" else "",
                        )
                    )
            return found

    def open(self, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int = 0, *, backend: str) -> Stream:
        """An open stream that has not started; `backend` is "portaudio" or "pyaudio".

        `resume_ns` is captured_ns of the stream that fed the chain before; 0: there was none.
        """
        if backend == "pyaudio":
            return _PyAudioStream(self._module, self._instance, chain, request, wake, resume_ns)
        if self._native is None:
            raise RecorderError(
                "PortAudio's functions cannot be looked up through PyAudio's extension module",
                advice="Use the backend 'pyaudio', or a PyAudio that is linked to a shared PortAudio.",
            )
        return _NativeStream(self._native, chain, request, wake, resume_ns)

    def open_output(
        self, index: int | None, rate_hz: int, block_samples: int, fill: Callable[[int, float], bytes]
    ) -> Any:
        """A started stream of mono int16 to the output with this index; None: the system's default.

        On PortAudio's thread `fill(samples, heard_s)` returns that many; the first is heard at `heard_s`, monotonic.
        """

        def on_block(_: None, samples: int, clock: dict[str, float], flags: int) -> tuple[bytes, int]:
            until_heard_s = max(0.0, clock["output_buffer_dac_time"] - clock["current_time"])
            return fill(samples, time.monotonic() + until_heard_s), self._module.paContinue

        with _life_cycle(), chatter_to_log():
            if index is not None and index not in range(self._instance.get_device_count()):
                _raise_for(-9996, "the speaker cannot be opened", f"PortAudio has no device {index}")
            try:
                return self._instance.open(
                    rate=rate_hz,
                    channels=1,
                    format=self._module.paInt16,
                    output=True,
                    output_device_index=index,
                    frames_per_buffer=block_samples,
                    stream_callback=on_block,
                )
            except OSError as error:
                _raise_for_oserror(error, f"the speaker cannot be opened with {layout_text(rate_hz, 1, 'int16')}")

    def close_output(self, stream: Any) -> None:
        """Stop it at once and give it back."""
        with _life_cycle():
            stream.close()


def _text(name: str | bytes) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _raise_for(code: int, what: str, text: str, host_code: int | None = None) -> NoReturn:
    host_errors = _HOST_ERRORS if sys.platform == "win32" else {}
    kind = _ERRORS.get(code) or host_errors.get(host_code or 0, RecorderError)
    raise kind(f"{what}: {text} (PortAudio {code})", portaudio_code=code, host_code=host_code)


def _described(request: StreamRequest) -> str:
    return layout_text(request.rate_hz, request.channels, request.format)


class _NativeStream(CoreStream):
    """The core's stream on PortAudio's own thread."""

    backend = prefix = "portaudio"

    def __init__(self, native: Any, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int) -> None:
        self._native, self._what = native, _described(request)
        config = ffi.new(
            "rva_portaudio_config *",
            {
                "device": -1 if request.device.index is None else request.device.index,
                "rate_hz": request.rate_hz,
                "channels": request.channels,
                "format": format_code(request.format),
                "block_samples": request.block_samples,
                "wake_fd": wake.write_fd,
                "buffer_s": request.buffer_s,
                "resume_ns": resume_ns,
                "is_served": request.is_served,
                "keeps_time": request.server_keeps_time,
                "priority": PRIORITY,
            },
        )
        out = ffi.new("rva_portaudio_stream **")
        with _life_cycle(), chatter_to_log():
            code = lib.rva_portaudio_open(native, chain.handle, config, out)
            if code:
                self._raise(code, f"the device cannot be opened with {self._what}")
        super().__init__(out[0], max(request.block_s, request.least_block_s))

    def _raise(self, code: int, what: str) -> NoReturn:
        text = ffi.string(lib.rva_portaudio_error_text(self._native, code)).decode(errors="replace")
        if code != _UNANTICIPATED_HOST_ERROR:
            _raise_for(code, what, text)
        host_code = ffi.new("int64_t *")
        host_text = ffi.string(lib.rva_portaudio_host_error(self._native, host_code)).decode(errors="replace")
        _raise_for(code, what, f"{text}: {host_text} ({host_code[0]})", host_code[0])

    def start(self) -> None:
        with _life_cycle(), chatter_to_log():
            code = lib.rva_portaudio_start(self._stream)
            if code:
                self._raise(code, f"the device cannot be started with {self._what}")

    def close(self) -> None:
        if self._stream is not None:
            with _life_cycle():
                super().close()

    def _close(self, stream: Any, last: Any) -> None:
        if code := lib.rva_portaudio_close(stream, last):
            self._raise(code, "the stream cannot be closed")

    def watch(self, stall_s: float) -> bool:
        return bool(self._call("watch", round(stall_s * 1e9)) == 0)


class _PyAudioStream(FedStream):
    """PyAudio's Python callback: every block waits for the interpreter. For where nothing better can be had."""

    backend = "pyaudio"

    def __init__(
        self, module: ModuleType, instance: Any, chain: Chain, request: StreamRequest, wake: Wake, resume_ns: int
    ) -> None:
        latency_s = max(request.block_s, request.least_block_s)
        super().__init__(chain, wake, time.monotonic(), resume_ns, latency_s)
        self._rate_hz = request.rate_hz
        self._continue, self._overflow = module.paContinue, module.paInputOverflow
        self._is_open = True
        self._asking = threading.Lock()  # a worker thread may close it meanwhile
        formats = {
            "int16": module.paInt16,
            "int24": module.paInt24,
            "int32": module.paInt32,
            "float32": module.paFloat32,
            "uint8": module.paUInt8,
        }
        try:
            self._pyaudio_stream = self._opened(instance, formats[request.format], request)
        except BaseException:
            super().close()
            raise

    def _opened(self, instance: Any, format: int, request: StreamRequest) -> Any:
        with _life_cycle(), chatter_to_log():
            index = request.device.index
            if index is None or index not in range(instance.get_device_count()):  # PyAudio would crash
                _raise_for(-9996, "the device cannot be opened", f"PortAudio has no device {index}")
            try:
                return instance.open(
                    rate=request.rate_hz,
                    channels=request.channels,
                    format=format,
                    input=True,
                    input_device_index=index,
                    frames_per_buffer=request.block_samples,
                    start=False,
                    stream_callback=self._on_block,
                )
            except OSError as error:
                _raise_for_oserror(error, f"the device cannot be opened with {_described(request)}")

    def _on_block(self, block: bytes, samples: int, clock: dict[str, float], flags: int) -> tuple[None, int]:
        arrived_s = time.monotonic()
        age_s = clock["current_time"] - clock["input_buffer_adc_time"] - samples / self._rate_hz
        is_timed = clock["input_buffer_adc_time"] > 0
        self.push(block, arrived_s, age_s if is_timed else None, has_overrun=bool(flags & self._overflow))
        return None, self._continue

    def start(self) -> None:
        with _life_cycle(), chatter_to_log():
            try:
                self._pyaudio_stream.start_stream()
            except OSError as error:
                _raise_for_oserror(error, "the device cannot be started")

    def close(self) -> None:
        with self._asking:
            was_open, self._is_open = self._is_open, False
        if was_open:
            with _life_cycle():
                self._pyaudio_stream.close()  # which aborts; PyAudio's stop_stream would wait for the device
            super().close()

    def watch(self, stall_s: float) -> bool:
        return False

    def statistics(self) -> StreamStatistics:
        counts = super().statistics()
        with self._asking:
            has_finished = self._is_open and counts.blocks > 0 and not self._pyaudio_stream.is_active()
        return replace(counts, has_finished=has_finished)


def _raise_for_oserror(error: OSError, what: str) -> NoReturn:
    """PyAudio's OSError has PortAudio's code where errno belongs."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    try:
        _raise_for(code, what, str(error.args[-1] if error.args else error))
    except MediaError as media_error:
        raise media_error from error
