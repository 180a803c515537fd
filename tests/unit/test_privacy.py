"""A microphone that the privacy settings of macOS or Windows refuse is permission_denied, whatever PortAudio says."""

import sys
from typing import NoReturn

import pytest

from ravatar_audio.capture.devices.privacy import privacy_error
from ravatar_audio.capture.streams import device_stream
from ravatar_audio.capture.streams.device_stream import DeviceRequest, DeviceStream
from ravatar_audio.errors import ConstraintsError, MediaError, PermissionDeniedError, RecorderError

CONSENT = r"Software\Microsoft\Windows\CurrentVersion\CapabilityAccessManager\ConsentStore\microphone"
WANTED = DeviceRequest(None, None, None, None, 0.01, 0.1, "portaudio")


def of_windows(**denied: str) -> PermissionDeniedError | None:
    """What is said where these keys say Deny, and others nothing or Allow."""

    def read(hive: str, path: str) -> str | None:
        if hive in denied and path == CONSENT + denied[hive]:
            return "Deny"
        return "Allow" if path == CONSENT else None

    return privacy_error("win32", read_switch=read)


@pytest.mark.parametrize(
    ("hive", "key", "switch"),
    [
        ("HKEY_LOCAL_MACHINE", "", "'Microphone access'"),
        ("HKEY_CURRENT_USER", "", "'Let apps access your microphone'"),
        ("HKEY_CURRENT_USER", r"\NonPackaged", "'Let desktop apps access your microphone'"),
    ],
)
def test_windows_names_the_switch_that_is_off(hive: str, key: str, switch: str) -> None:
    error = of_windows(**{hive: key})
    assert error is not None
    assert switch in error.message
    assert error.advice == PermissionDeniedError.advice_on("win32")
    assert of_windows() is None


@pytest.mark.parametrize(("status", "refused"), [(None, False), (0, False), (1, True), (2, True), (3, False)])
def test_macos_refuses_what_was_refused_or_is_restricted(status: int | None, refused: bool) -> None:
    error = privacy_error("darwin", read_status=lambda: status)
    assert (error is not None) == refused
    if error is not None:
        assert error.advice == PermissionDeniedError.advice_on("darwin")


def test_other_systems_are_not_asked() -> None:
    def read(*_: object) -> NoReturn:
        pytest.fail("it was asked")

    assert privacy_error("linux", read_switch=read, read_status=read) is None


@pytest.mark.parametrize(
    "said",
    [
        RecorderError("Unanticipated host error", portaudio_code=-9999, host_code=1),
        ConstraintsError("Invalid sample rate", portaudio_code=-9997),
        RecorderError("Internal PortAudio error", portaudio_code=-9986),
    ],
    ids=lambda error: str(error.details["portaudio_code"]),
)
def test_whatever_portaudio_says_the_refusal_is_told_and_its_code_kept(
    said: MediaError, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = PermissionDeniedError("the privacy settings refuse the microphone")
    monkeypatch.setattr(device_stream, "privacy_error", lambda: refusal)

    def fail(*_: object) -> NoReturn:
        raise said

    monkeypatch.setattr(DeviceStream, "_find", fail)
    with pytest.raises(PermissionDeniedError) as caught:
        DeviceStream(WANTED)
    assert caught.value.details["portaudio_code"] == said.details["portaudio_code"]
    assert caught.value.__cause__ is said


def test_this_system_can_be_asked() -> None:
    error = privacy_error()
    assert error is None or sys.platform != "linux"
