"""Real PortAudio streams on virtual microphones: nothing is lost, repeated or changed on the way to a frame."""

import itertools
import math
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ravatar_audio.native import Chain
from tests.device.microphones import MakeMicrophones, Pcm, ramp, run_child
from tests.device.watched import Watched

pytestmark = pytest.mark.device

CHILD = "tests.device.capture_child"
SECONDS = 5.0


def expected(heard: dict[str, Any], first: int = 0) -> bytes:
    """The frames' samples when nothing was lost: the same ramp through the chain, without a device."""
    block = ramp(heard["device_samples"], heard["channels"], heard["format"], first)
    pcm = bytearray()
    with Chain(
        rate_hz=heard["rate_hz"], channels=heard["channels"], format=heard["format"], capacity_frames=1_000
    ) as chain:
        chain.push(block)
        chain.finish()
        for frame in chain.take_all():
            pcm += frame.pcm[: 2 * frame.length_samples]
    return bytes(pcm)


def assert_nothing_lost(heard: dict[str, Any], pcm: bytes, seconds: float) -> None:
    assert heard["device_overruns"] == heard["device_lost_samples"] == heard["ring_dropped_samples"] == 0, heard
    assert heard["pending_samples"] == 0
    assert heard["device_samples"] >= (seconds - 0.2) * heard["rate_hz"]
    assert heard["device_samples"] <= (heard["open_s"] + 0.5) * heard["rate_hz"]
    got, wanted = np.frombuffer(pcm, "<i2"), np.frombuffer(expected(heard), "<i2")
    assert len(got) == len(wanted) == heard["captured_samples"]
    differing = np.flatnonzero(got != wanted)
    assert not len(differing), f"first difference at sample {differing[0]} of {len(got)}, {len(differing)} in all"


def test_no_sample_is_lost_or_repeated_in_any_rate_format_and_number_of_channels(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    kinds = [*itertools.product((48_000, 44_100), (1, 2, 4), ("int16", "int24", "float32")), (16_000, 1, "int16")]
    pcms = {
        f"mic_{rate_hz}_{channels}_{format}": Pcm(
            f"mic_{rate_hz}_{channels}_{format}", (rate_hz,), (channels, channels), (format,)
        )
        for rate_hz, channels, format in kinds
    }
    # Everything through both backends at once; a microphone can be opened only once, so each has its own.
    pcms |= {f"alsa_{name}": replace(pcm, name=f"alsa_{name}") for name, pcm in pcms.items()}
    # Cards that tell their position in steps, finer and coarser than a block: our thread looks too early there.
    steps = {f"alsa_steps_of_{step}": step for step in (48, 441, 480, 1_000)}
    pcms |= {name: Pcm(name, (48_000,), (1, 1), ("int16",), step=step) for name, step in steps.items()}
    streams = [{"name": name, "device": f"alsa:{name}" if name.startswith("alsa_") else name} for name in pcms]
    answer = run_child(
        usb_microphone(*pcms.values()),
        CHILD,
        {"folder": str(tmp_path), "seconds": SECONDS, "streams": streams},
        limit_s=SECONDS + 60,
    )["streams"]
    assert answer.keys() == pcms.keys()
    for name, pcm in pcms.items():
        heard = answer[name]
        opened = (heard["backend"], heard["rate_hz"], heard["channels"], heard["format"])
        backend = "alsa" if name.startswith("alsa_") else "portaudio"
        assert opened == (backend, pcm.rates[0], pcm.channels[0], pcm.formats[0]), "the device's own is taken"
        assert_nothing_lost(heard, (tmp_path / f"{name}.pcm").read_bytes(), SECONDS)
    for name in ("mic_16000_1_int16", "alsa_mic_16000_1_int16"):
        plain = (tmp_path / f"{name}.pcm").read_bytes()
        assert plain == ramp(len(plain) // 2, 1, "int16"), "what comes in at 16 kHz goes out as it is"


def test_24_bits_in_32_are_taken_without_what_pads_them(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    streams = [{"name": "padded", "device": "alsa:padded"}]
    microphones = usb_microphone(Pcm("padded", channels=(2, 2), formats=("padded",)))
    answer = run_child(microphones, CHILD, {"folder": str(tmp_path), "seconds": 1.0, "streams": streams}, limit_s=60)
    heard = answer["streams"]["padded"]
    assert (heard["backend"], heard["format"]) == ("alsa", "int32")
    assert heard["clipped"] == 0
    assert_nothing_lost(heard, (tmp_path / "padded.pcm").read_bytes(), 1.0)


ODD = (
    Pcm("odd_rate", (37_800,), (1, 1)),
    Pcm("odd_rates", (4_000, 37_800, 250_000), (2, 2)),
    Pcm("nine", (16_000,), (9, 9)),
    Pcm("most", (16_000,), (32, 32)),
)


def test_a_device_of_an_unusual_rate_or_of_many_channels_is_opened_as_it_is(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    streams = [{"name": pcm.name, "device": f"alsa:{pcm.name}"} for pcm in ODD]
    request = {"folder": str(tmp_path), "seconds": 1.0, "streams": streams}
    answer = run_child(usb_microphone(*ODD), CHILD, request, limit_s=60)["streams"]
    opened = {name: (heard["rate_hz"], heard["channels"]) for name, heard in answer.items()}
    assert opened == {"odd_rate": (37_800, 1), "odd_rates": (37_800, 2), "nine": (16_000, 9), "most": (16_000, 32)}
    for name, heard in answer.items():
        assert_nothing_lost(heard, (tmp_path / f"{name}.pcm").read_bytes(), 1.0)


def test_a_microphone_that_has_another_rate_when_it_is_back_is_opened_with_that(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    microphones = usb_microphone(Pcm("usbmic"))
    with Watched(microphones, device="alsa:usbmic") as watched:
        watched.until("frames")
        microphones.control("usbmic", "unplug")
        watched.until("event", "reopening")
        configuration = microphones.folder / "asound.conf"
        text = configuration.read_text(encoding="utf-8").replace('rates "48000"', 'rates "37800"')
        configuration.write_text(text, encoding="utf-8")
        microphones.control("usbmic", "ok")
        watched.until("event", "reopened")
        watched.until("frames")
        watched.finish()


def test_listing_the_devices_again_and_again_does_not_disturb_a_running_stream(
    usb_microphone: MakeMicrophones, tmp_path: Path
) -> None:
    microphones = usb_microphone(Pcm("direct"), Pcm("served"), Pcm("shared", exclusive=False), Pcm("idle"))
    streams = [
        {"name": "direct", "device": "alsa:direct"},
        {"name": "served", "device": "served"},
        {"name": "shared", "device": "alsa:shared"},
    ]
    request = {"folder": str(tmp_path), "seconds": 4.0, "streams": streams, "enumerate": True}
    answer = run_child(microphones, CHILD, request, limit_s=60)
    for name, heard in answer["streams"].items():
        assert_nothing_lost(heard, (tmp_path / f"{name}.pcm").read_bytes(), 4.0)
    assert len(answer["listed"]) >= 2, "by this process and by another one"
    assert min(answer["listed"]) >= 2, "what is idle or shared is listed all the while"


def write_tone(path: Path, rate_hz: int, frequency_hz: float, amplitude: float, *, seconds: int = 1) -> None:
    """Stereo: the tone on the left, twice its frequency on the right."""
    at = np.arange(seconds * rate_hz) / rate_hz
    columns = [amplitude * np.sin(2 * np.pi * factor * frequency_hz * at) for factor in (1, 2)]
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, rate_hz, 0, "NONE", ""))
        file.writeframes(np.round(np.stack(columns, axis=1) * 32_767).astype("<i2").tobytes())


def spectrum_dbfs(pcm: bytes) -> tuple[np.ndarray[Any, np.dtype[np.float64]], float]:
    """Levels of a whole number of seconds at 16 kHz against a full-scale sine, by hertz; and the RMS in dBFS."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float64) / 32_768
    samples = samples[16_000 : 16_000 + len(samples) // 16_000 * 16_000 - 32_000]  # without beginning and end
    seconds = len(samples) // 16_000
    levels = np.abs(np.fft.rfft(samples))[::seconds] * 2 / len(samples)
    return 20 * np.log10(np.maximum(levels, 1e-9)), 20 * math.log10(float(np.sqrt(np.mean(samples**2))))


def test_a_tone_keeps_its_level_and_gains_no_other(usb_microphone: MakeMicrophones, tmp_path: Path) -> None:
    amplitude = 0.5
    pcms = []
    for rate_hz in (44_100, 48_000):
        write_tone(tmp_path / f"{rate_hz}.wav", rate_hz, 1_000, amplitude)
        pcms.append(Pcm(f"tone_{rate_hz}", (rate_hz,), (2, 2), source=str(tmp_path / f"{rate_hz}.wav")))
    streams = [{"name": pcm.name, "device": pcm.name, "channels_heard": [0]} for pcm in pcms]
    answer = run_child(
        usb_microphone(*pcms), CHILD, {"folder": str(tmp_path), "seconds": 4.0, "streams": streams}, limit_s=60
    )["streams"]
    for name in answer:
        levels, rms_dbfs = spectrum_dbfs((tmp_path / f"{name}.pcm").read_bytes())
        assert abs(levels[1_000] - 20 * math.log10(amplitude)) < 0.02, name
        assert abs(rms_dbfs - 20 * math.log10(amplitude / math.sqrt(2))) < 0.02, name
        others = np.delete(levels, [999, 1_000, 1_001])
        assert np.max(others) < -95, f"{name}: {np.argmax(others)} Hz has {np.max(others):.1f} dBFS"


@pytest.mark.parametrize("device", ["usbmic", "alsa:usbmic"])
def test_sound_that_the_device_lost_is_counted_to_within_a_block(
    usb_microphone: MakeMicrophones, tmp_path: Path, device: str
) -> None:
    rate_hz = 16_000  # passes unchanged, so that the ramp says how much is really missing
    microphones = usb_microphone(Pcm("usbmic", (rate_hz,), (1, 1)))
    heard = run_child(
        microphones,
        CHILD,
        {
            "folder": str(tmp_path),
            "seconds": 3.0,
            "streams": [{"name": "lossy", "device": device, "reopen_s": 5.0}],
            "after_s": 1.0,
            "control": [str(microphones.control_file("usbmic")), f"lose {rate_hz // 2}"],
        },
        limit_s=60,
    )["streams"]["lossy"]
    got = np.frombuffer((tmp_path / "lossy.pcm").read_bytes(), "<i2").astype(np.int64)
    assert len(got) == heard["captured_samples"]
    steps = np.diff(got) % 32_768
    missing = steps[steps != 1] - 1
    assert heard["device_overruns"] == len(missing) >= 1, "each gap is told"
    assert missing.sum() >= rate_hz // 2
    block = rate_hz // 100
    assert abs(heard["device_lost_samples"] - missing.sum()) <= block * len(missing)


def test_without_portaudios_functions_the_python_callback_takes_over_and_says_so_once(
    usb_microphone: MakeMicrophones,
) -> None:
    answer = run_child(usb_microphone(), "tests.device.pyaudio_child", {}, limit_s=60)
    assert answer["backends"] == ["pyaudio", "pyaudio"]
    assert min(answer["peaks"]) > 0
    (said,) = answer["said"]
    assert "Python callback" in said
