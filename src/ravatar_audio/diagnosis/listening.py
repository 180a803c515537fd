"""Two seconds of the microphone, and what they say about it. `judge` is pure."""

import contextlib
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import trio

from ravatar_audio.capture import Microphone
from ravatar_audio.capture.devices.arrays import known_layout
from ravatar_audio.capture.devices.channels import ChannelsLook, decode, look_at_channels, numbers_text
from ravatar_audio.capture.devices.device import layout_text
from ravatar_audio.capture.streams.stream import PRIORITY
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.errors import ConstraintsError
from ravatar_audio.frames import RATE_HZ, Frame, dbfs
from ravatar_audio.settings import Settings

QUIET_PEAK_DBFS = -70.0
"""Least peak of a live microphone: in a quiet room it reaches more by its own noise."""
OFFSET_MAX_DBFS = -40.0
"""Largest offset, 1 % of full scale: beyond it an offset takes headroom and disturbs detectors of level."""
DRIFT_MAX_PPM = 500.0
"""Largest drift: a quartz is good to 100 ppm; beyond this the device is wrong about its rate."""

GAIN = {
    "linux": "alsamixer, F4",
    "darwin": "System Settings, Sound, Input: Input volume",
    "win32": "Settings, System, Sound, Input: Input volume",
}
"""Where the gain is set, by sys.platform."""
MUTED = {
    "linux": "in the mixer (alsamixer, F4), or in the sound server (pactl set-source-mute @DEFAULT_SOURCE@ 0)",
    "darwin": "its Input volume is 0 (System Settings, Sound, Input), or this program may not use it (System Settings, "
    "Privacy & Security, Microphone)",
    "win32": "in Settings, System, Sound, Input, or this program may not use it (Settings, Privacy & security, "
    "Microphone)",
}
SUSPENDED = {
    "linux": "; behind a sound server, wake a suspended source: pactl suspend-source NAME 0 "
    "('ravatar-audio devices' has the names)."
}

LOOK_S = 4.0
"""Longest sound of all channels that is looked at."""
STAMP_ERROR_S = 0.005
"""How far time stamps may wander that are not the device's own: behind a sound server they are estimates."""


@dataclass(frozen=True, slots=True)
class SoundReport:
    """What came from the microphone. Levels are of int16 samples at 16 kHz."""

    name: str
    device: str
    """Rate, channels and format."""
    refusal: str
    """Why the device's own are taken in place of what was asked for; empty when that was not so."""
    backend: str
    block_s: float
    seconds: float
    samples: int
    peak: int
    energy: int
    total: int
    """Sum of all samples, for the offset."""
    clipped: int
    overruns: int
    lost_samples: int
    ring_dropped_samples: int
    drift_ppm: float
    is_real_time: bool
    """Its audio thread has a real-time priority that we gave it."""
    drift_error_ppm: float
    """Twice the standard error of the drift, and what the stamps add; infinity when it is not known."""
    channels: ChannelsLook | None = None
    """Each channel by itself; None of a device that has one, or gave nothing."""

    @property
    def offset(self) -> float:
        return self.total / self.samples if self.samples else 0.0


async def listen(settings: Settings, seconds: float) -> SoundReport:
    """Open the settings' microphone and listen. Raises its MediaError or SettingsError."""
    frames: list[Frame] = []
    async with Microphone.from_settings(settings) as microphone:
        microphone.tap(min(seconds, LOOK_S))
        with trio.move_on_after(seconds + 0.256):  # the last frame takes a moment to fill
            async for frame in microphone:
                frames.append(frame)
                if sum(item.length_samples for item in frames) >= seconds * RATE_HZ:
                    break
        counts = microphone.statistics()
        refusal, channels = refusal_of(microphone), look_at(microphone)
        device = layout_text(microphone.rate_hz, microphone.channels, microphone.format)
        name, backend = microphone.name, microphone.backend
    drift_ppm, drift_error_ppm = clock_drift_ppm(frames, 0.0 if backend == "alsa" else STAMP_ERROR_S)
    return SoundReport(
        name=name,
        device=device,
        refusal=refusal,
        backend=backend,
        block_s=counts.block_s,
        seconds=seconds,
        samples=sum(frame.length_samples for frame in frames),
        peak=max((frame.peak for frame in frames), default=0),
        energy=sum(hop.energy for frame in frames for hop in frame.hops),
        total=sum(int(np.frombuffer(frame.pcm, "<i2").sum(dtype=np.int64)) for frame in frames),
        clipped=sum(frame.clipped for frame in frames),
        overruns=counts.device_overruns,
        lost_samples=counts.device_lost_samples,
        ring_dropped_samples=counts.ring_dropped_samples,
        drift_ppm=drift_ppm,
        is_real_time=counts.is_real_time,
        drift_error_ppm=drift_error_ppm,
        channels=channels,
    )


def look_at(microphone: Microphone, usb_id: str = "") -> ChannelsLook | None:
    """Return what its tap has of each channel; `usb_id` is the device's where that does not say."""
    sound, heard = microphone.tapped()
    if not sound or microphone.channels < 2:
        return None
    known = known_layout(usb_id or (microphone.device.usb_id if microphone.device else ""), microphone.channels)
    if usb_id and known:
        heard = known.heard
    samples = decode(sound, microphone.channels, microphone.format)
    return look_at_channels(samples, microphone.rate_hz, heard, known)


def refusal_of(microphone: Microphone) -> str:
    """Return what the microphone's event says about constraints that were not met; empty without one."""
    with microphone.events() as events, contextlib.suppress(trio.WouldBlock, trio.EndOfChannel):
        while (event := events.receive_nowait()).kind != ConstraintsError.code:
            pass
        return event.message
    return ""


def clock_drift_ppm(frames: Sequence[Frame], stamp_error_s: float = 0.0) -> tuple[float, float]:
    """Return by how much the device's clock is fast against the system's, and twice the standard error. Pure.

    A straight line by least squares through the frames' ends: samples that had come, over the time of the last one at
    the microphone. Frames before a gap are left out. With fewer than three, the error is infinite. `stamp_error_s` is
    how far the time stamps may wander.
    """
    first = max((number for number, frame in enumerate(frames) if frame.discontinuity), default=0)
    frames = frames[first:]
    if len(frames) < 3:
        return 0.0, math.inf
    at_s = np.array([frame.captured_s for frame in frames])
    at_s -= at_s.mean()
    ahead_s = np.array([frame.position_samples + frame.length_samples for frame in frames]) / RATE_HZ
    ahead_s -= ahead_s.mean() + at_s
    spread = float(at_s @ at_s)
    if spread <= 0:
        return 0.0, math.inf
    slope = float(at_s @ ahead_s) / spread
    residual = ahead_s - slope * at_s
    error = math.sqrt(float(residual @ residual) / (len(frames) - 2) / spread)
    return slope * 1e6, 1e6 * (2 * error + stamp_error_s / float(at_s[-1] - at_s[0]))


def judge(heard: SoundReport) -> Iterator[Finding]:
    """Yield what is to be said about it. Pure."""
    what = f"{heard.name}: {heard.device}, captured by the backend {heard.backend}"
    if not heard.samples:
        yield Finding(
            "capture",
            "error",
            f"{what}; nothing came in {heard.seconds:g} s",
            "Reconnect the microphone" + SUSPENDED.get(sys.platform, "."),
            3,
        )
        return
    yield Finding("capture", "ok", f"{what} in blocks of {1e3 * heard.block_s:.1f} ms")
    yield judge_thread(heard)
    if heard.refusal:
        advice = ConstraintsError.default_advice
        yield Finding("constraints", "warning", f"{ConstraintsError.code}: {heard.refusal}", advice)
    if heard.channels is not None:
        yield judge_channels(heard.channels)
    yield judge_level(heard)
    yield judge_clipping(heard)
    yield judge_offset(heard)
    yield judge_losses(heard)
    yield judge_drift(heard)


def judge_channels(look: ChannelsLook) -> Finding:
    """Show each channel in a line, and which to hear."""
    heard = f"{numbers_text(look.heard)} {'are averaged' if len(look.heard) > 1 else 'is heard'}"
    said = "\n".join(["; ".join([heard, *look.reasons]), *map(str, look.channels)])
    return Finding("channels", "warning", said, f"{look.advice}.") if look.reasons else Finding("channels", "ok", said)


def judge_thread(heard: SoundReport) -> Finding:
    """Report the priority that the audio thread had while it was listened to, by its backend."""
    whose = "our own thread" if heard.backend == "alsa" else "PortAudio's thread"
    if heard.is_real_time:
        while_it_comes = "" if heard.backend == "alsa" else ", which it has only while sound comes"
        return Finding("audio thread", "ok", f"{whose}, at real-time priority {PRIORITY}{while_it_comes}")
    if heard.backend == "pyaudio":
        said = "a Python callback, which no priority helps: it waits for the interpreter"
        return Finding("audio thread", "warning", said, "Leave the backend out, or take alsa or portaudio.")
    if sys.platform != "linux":
        return Finding("audio thread", "ok", f"{whose}, at the priority that the system gives it")
    said = f"{whose}, without a real-time priority of ours"
    return Finding("audio thread", "ok", f"{said}; 'priority' below says whether it may have one")


def of_system(advice: Mapping[str, str]) -> str:
    """Return the advice for the system that this runs on; where that is unknown, Linux's."""
    return advice.get(sys.platform, advice["linux"])


def judge_level(heard: SoundReport) -> Finding:
    if heard.peak == 0:
        return Finding(
            "level",
            "warning",
            f"digital silence: {heard.seconds:g} s of nothing but zeros, which no live microphone sends",
            f"It is muted: by a switch on it, or {of_system(MUTED)}. Else it is dead.",
        )
    rms_dbfs = dbfs(math.sqrt(heard.energy / heard.samples))
    said = f"peak {dbfs(heard.peak):.1f} dBFS, RMS {rms_dbfs:.1f} dBFS in {heard.seconds:g} s"
    if dbfs(heard.peak) < QUIET_PEAK_DBFS:
        return Finding(
            "level",
            "warning",
            f"{said}: hardly anything is heard",
            f"Speak while this runs; if it stays so, raise the microphone's gain ({of_system(GAIN)}) or choose another "
            "one.",
        )
    return Finding("level", "ok", said)


def judge_clipping(heard: SoundReport) -> Finding:
    if heard.clipped:
        return Finding(
            "clipping",
            "warning",
            f"{heard.clipped} samples at full scale",
            f"Lower the microphone's gain ({of_system(GAIN)}), or speak from further away.",
        )
    return Finding("clipping", "ok", "no sample at full scale")


def judge_offset(heard: SoundReport) -> Finding:
    share = heard.offset / 32_768
    said = f"{100 * share:+.2f} % of full scale"
    if abs(share) > 10 ** (OFFSET_MAX_DBFS / 20):
        return Finding(
            "DC offset",
            "warning",
            said,
            "A fault of cheap microphones: it takes headroom, and disturbs detectors of level. --dc-block takes it out "
            "(dc_block = true in the settings).",
        )
    return Finding("DC offset", "ok", said)


def judge_losses(heard: SoundReport) -> Finding:
    if heard.overruns or heard.ring_dropped_samples:
        lost_ms = 1e3 * (heard.lost_samples + heard.ring_dropped_samples) / RATE_HZ
        return Finding(
            "losses",
            "warning",
            f"{heard.overruns} overruns, {lost_ms:.0f} ms of sound lost in {heard.seconds:g} s",
            "The machine is too busy, or the microphone's power or USB connection is bad: look at priority and power "
            "below, try another port without a hub.",
        )
    return Finding("losses", "ok", f"no overrun, nothing lost in {heard.seconds:g} s")


def judge_drift(heard: SoundReport) -> Finding:
    if math.isinf(heard.drift_error_ppm):
        return Finding("clock drift", "skipped", "too little sound came in one piece to tell the clock's drift")
    said = f"{heard.drift_ppm:+.0f} ppm, give or take {max(1.0, heard.drift_error_ppm):.0f}, against the system's clock"
    if abs(heard.drift_ppm) - heard.drift_error_ppm > DRIFT_MAX_PPM:
        return Finding(
            "clock drift",
            "warning",
            said,
            "The device is wrong about its rate, or loses sound unnoticed: try another rate (--rate) or port.",
        )
    coarse = f" ({heard.seconds:g} s tell it coarsely; --listen 60 better)" if heard.seconds < 30 else ""
    return Finding("clock drift", "ok", said + coarse)
