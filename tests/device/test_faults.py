"""What goes wrong with microphones that are not opened again: each fault gives the right error, and nothing hangs."""

from typing import Any

import pytest

from tests.device.microphones import MakeMicrophones, Pcm, run_child

pytestmark = pytest.mark.device

BACKENDS = {"alsa": "alsa:usbmic", "portaudio": "usbmic"}


def meet(
    usb_microphone: MakeMicrophones,
    backend: str,
    *pcms: Pcm,
    at_open: str = "ok",
    then: str = "",
    **microphone: Any,
) -> dict[str, Any]:
    microphones = usb_microphone(*pcms)
    microphones.control("usbmic", at_open)
    request = {
        "microphone": {"device": BACKENDS[backend], "backend": backend, "recover_s": 0} | microphone,
        "control": str(microphones.control_file("usbmic")),
        "steps": [then] if then else [],
        "limit_s": 20,
    }
    return run_child(microphones, "tests.device.fault_child", request, limit_s=40)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("at_open", "code", "words"),
    [
        pytest.param(
            "eacces",
            "permission_denied",
            "Permission denied",
            marks=[
                pytest.mark.row("media permission_denied"),
                pytest.mark.fault("permission refused", "alsa", "portaudio"),
            ],
        ),
        pytest.param(
            "ebusy",
            "media_in_use",
            "busy",
            marks=[pytest.mark.row("media media_in_use"), pytest.mark.fault("busy", "alsa", "portaudio")],
        ),
        pytest.param(
            "enodev",
            "no_specified_media_found",
            "No such device",
            marks=pytest.mark.row("media no_specified_media_found"),
        ),
    ],
)
def test_a_device_that_cannot_be_opened_says_why(
    usb_microphone: MakeMicrophones, backend: str, at_open: str, code: str, words: str
) -> None:
    answer = meet(usb_microphone, backend, at_open=at_open)
    assert answer["error"] == code
    assert words in answer["message"]
    assert answer["advice"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("constraint", [{"rate_hz": 12_345}, {"channels": 7}])
@pytest.mark.row("media invalid_media_constraints")
@pytest.mark.fault("rate refused", "alsa", "portaudio")
@pytest.mark.fault("channels refused", "alsa", "portaudio")
def test_constraints_that_the_device_does_not_have_are_refused(
    usb_microphone: MakeMicrophones, backend: str, constraint: dict[str, Any]
) -> None:
    answer = meet(usb_microphone, backend, strict=True, **constraint)
    assert answer["error"] == "invalid_media_constraints"
    assert "48000 Hz; 1 to 2 channels; int16" in answer["message"], "it must say what the device can do"


@pytest.mark.parametrize("backend", BACKENDS)
def test_constraints_fall_back_to_the_device_unless_they_are_strict(
    usb_microphone: MakeMicrophones, backend: str
) -> None:
    answer = meet(usb_microphone, backend, rate_hz=12_345)
    assert "error" not in answer
    assert answer["frames"] > 8
    (kind, said), *_ = answer["events"]
    assert kind == "invalid_media_constraints"
    for words in ("12345 Hz", "it has 48000 Hz; 1 to 2 channels; int16", "taken instead: 48000 Hz, 2 channels, int16"):
        assert words in said


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_latency_that_the_device_does_not_have_is_told_and_where_that_is_strict_refused(
    usb_microphone: MakeMicrophones, backend: str
) -> None:
    slow = Pcm(channels=(1, 1), period_min=4_800)  # of 48 kHz: 100 ms
    answer = meet(usb_microphone, backend, slow, block_s=0.01, strict=True)
    assert answer["error"] == "invalid_media_constraints"
    for words in ("blocks of 10 ms were asked for; the device's are 100.0 ms", "it has 48000 Hz; 1 channel; int16"):
        assert words in answer["message"]
    answer = meet(usb_microphone, backend, slow, block_s=0.01)
    assert "error" not in answer
    assert answer["frames"] > 8
    told = [said for kind, said in answer["events"] if kind == "invalid_media_constraints"]
    assert len(told) == 1
    assert told[0].startswith("blocks of 10 ms were asked for; the device's are ")
    assert "stalled" not in dict(answer["events"]), "three of its own blocks may be missing before that is a stall"
    answer = meet(usb_microphone, backend, block_s=0.01, strict=True)
    assert "error" not in answer, "one that has it is taken"
    assert "invalid_media_constraints" not in dict(answer["events"])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.row("media no_constraints")
def test_no_constraints_are_noted_and_the_devices_own_are_taken(usb_microphone: MakeMicrophones, backend: str) -> None:
    answer = meet(usb_microphone, backend)
    (kind, said), *_ = answer["events"]
    assert kind == "no_constraints"
    assert "48000 Hz, 2 channels, int16" in said
    assert answer["frames"] > 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_that_nothing_has_is_refused_with_what_there_is(usb_microphone: MakeMicrophones, backend: str) -> None:
    answer = meet(usb_microphone, backend, device="webcam")
    assert answer["error"] == "no_specified_media_found"
    if backend == "portaudio":
        assert "usbmic" in answer["message"]


@pytest.mark.parametrize(
    ("backend", "fault", "words"),
    [
        ("alsa", "unplug", "ended the stream"),  # at once; test_recovery.py has how soon
        ("alsa", "hup", "ended the stream"),
        ("alsa", "stall", "has sent nothing for"),
        ("portaudio", "hup", "has sent nothing for"),  # its thread never ends, and is left behind
        ("portaudio", "stall", "has sent nothing for"),
    ],
)
@pytest.mark.row("media media_aborted")
def test_a_microphone_that_goes_away_is_noticed(
    usb_microphone: MakeMicrophones, backend: str, fault: str, words: str
) -> None:
    answer = meet(usb_microphone, backend, then=fault)
    assert answer["error"] == "media_aborted"
    assert answer["frames"] >= 1
    assert words in answer["message"]
    assert answer["unaccounted"] == 0
