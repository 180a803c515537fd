"""PortAudio through PyAudio, where PyAudio is made up: what it says when it fails, and two threads at one stream."""

import ctypes
import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ravatar_audio._core import ffi, lib
from ravatar_audio.capture import Device
from ravatar_audio.capture.host.wakeup import Wake
from ravatar_audio.capture.streams import portaudio
from ravatar_audio.capture.streams.portaudio import PortAudio, _NativeStream, _PyAudioStream
from ravatar_audio.capture.streams.stream import StreamRequest
from ravatar_audio.errors import (
    ConstraintsError,
    DeviceInUseError,
    DeviceNotFoundError,
    MediaError,
    PermissionDeniedError,
    RecorderError,
)
from ravatar_audio.native import Chain
from tests.conftest import ROOT, needs, starts_a_process
from tests.device.microphones import build_shared

FORMATS = dict.fromkeys(("paInt16", "paInt24", "paInt32", "paFloat32", "paUInt8", "paContinue", "paInputOverflow"), 0)
DEVICE = Device(0, "made up", "ALSA", 1, 16_000, True)


def test_portaudio_that_cannot_be_initialised_is_a_microphone_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(-9999, "Unanticipated host error")

    monkeypatch.setattr(portaudio, "_import_pyaudio", lambda: SimpleNamespace(PyAudio=refuse))
    with pytest.raises(RecorderError, match="PortAudio cannot be initialised: Unanticipated host error") as caught:
        PortAudio()
    assert caught.value.details["portaudio_code"] == -9999
    assert not portaudio._lock.locked()


def test_a_stream_is_not_closed_while_it_is_asked_whether_it_runs() -> None:
    calls: list[str] = []

    class MadeUpStream:
        def is_active(self) -> bool:
            closer.start()
            closer.join(0.1)  # which it does not do; a closed stream would be read after its memory was freed
            calls.append("asked")
            return True

        def close(self) -> None:
            calls.append("closed")

    instance: Any = SimpleNamespace(get_device_count=lambda: 1, open=lambda **_: MadeUpStream())
    with Chain(rate_hz=16_000) as chain:
        request = StreamRequest(DEVICE, 16_000, 1, "int16", 0.01, 0.1)
        stream = _PyAudioStream(SimpleNamespace(**FORMATS), instance, chain, request, Wake(), 0)  # type: ignore[arg-type]
        closer = threading.Thread(target=stream.close)
        stream._on_block(bytes(320), 160, {"current_time": 0.0, "input_buffer_adc_time": 0.0}, 0)
        assert not stream.statistics().has_finished
        closer.join(10)
        assert calls == ["asked", "closed"]
        stream.close()
        assert not stream.statistics().has_finished
        assert calls == ["asked", "closed"]


@starts_a_process
def test_sound_that_comes_while_a_stream_is_being_closed_counts_to_its_end(tmp_path: Path) -> None:
    needs("cc")
    path = build_shared(ROOT / "tests" / "c" / "late_portaudio.c", tmp_path / "late_portaudio.so")
    loaded = ctypes.CDLL(str(path))  # the core takes only what the process has loaded
    out = ffi.new("rva_portaudio **")
    assert lib.rva_portaudio_bind(os.fsencode(path), out) == lib.RVA_OK, loaded
    wake = Wake()
    with Chain(rate_hz=16_000) as chain:
        request = StreamRequest(DEVICE, 16_000, 1, "int16", 0.01, 0.1)
        stream = _NativeStream(out[0], chain, request, wake, 0)
        stream.start()
        before = stream.statistics()
        stream.close()
        after = stream.statistics()
        assert (before.blocks, after.blocks) == (1, 2)
        assert chain.statistics().device_samples == 320
    assert after.captured_ns > before.captured_ns, "or the gap that follows would begin too soon"
    wake.close()
    lib.rva_portaudio_unbind(out[0])


def hresult(value: int) -> int:
    """As a 32-bit signed number, which PortAudio's host codes are on Windows."""
    return value - 2**32


@pytest.mark.parametrize(
    ("code", "host_code", "kind"),
    [
        (-9998, None, ConstraintsError),  # paInvalidChannelCount
        (-9997, None, ConstraintsError),  # paInvalidSampleRate
        (-9996, None, DeviceNotFoundError),  # paInvalidDevice
        (-9994, None, ConstraintsError),  # paSampleFormatNotSupported
        (-9993, None, DeviceNotFoundError),  # paBadIODeviceCombination
        (-9985, None, DeviceInUseError),  # paDeviceUnavailable
        (-9986, None, RecorderError),  # paInternalError
        (-9999, -5, RecorderError),  # ALSA's EIO
        (-9999, hresult(0x80070005), PermissionDeniedError),  # E_ACCESSDENIED
        (-9999, hresult(0x88890004), DeviceNotFoundError),  # AUDCLNT_E_DEVICE_INVALIDATED
        (-9999, hresult(0x8889000A), DeviceInUseError),  # AUDCLNT_E_DEVICE_IN_USE
        (-9999, hresult(0x88890008), ConstraintsError),  # AUDCLNT_E_UNSUPPORTED_FORMAT
        (-9999, 1, RecorderError),  # MMSYSERR_ERROR
        (-9999, 4, DeviceInUseError),  # MMSYSERR_ALLOCATED
        (-9999, 32, ConstraintsError),  # WAVERR_BADFORMAT
    ],
)
def test_portaudios_codes_and_the_hosts_are_the_platforms_errors_and_are_kept(
    code: int, host_code: int | None, kind: type[MediaError], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(kind, match=f"it fails: why .PortAudio {code}.") as caught:
        portaudio._raise_for(code, "it fails", "why", host_code)
    assert caught.value.details == {"portaudio_code": code, "host_code": host_code}
