"""The words that arguments and settings are chosen from, each list written once, for type checkers and at run time."""

from typing import Final, Literal, get_args

Backend = Literal["auto", "alsa", "pulse", "portaudio", "pyaudio"]
"""What captures."""
SampleFormat = Literal["int16", "int24", "int32", "float32", "uint8"]
"""Of a device's samples, in the machine's byte order; int24 is packed in three bytes."""
Profile = Literal["balanced", "low_latency", "high"]
"""Of resampling."""
Phase = Literal["linear", "minimum"]
"""Of the resampling filter."""
Pace = Literal["real", "full"]
"""How fast sound is given that has no clock of its own."""
TurnModeName = Literal["open", "ptt", "vad"]
"""A TurnMode as a word."""
ModeName = Literal["auto", "open", "ptt", "vad"]
"""How turns are taken; auto: as the platform says."""
DetectorName = Literal["energy", "neural"]
"""What hears speech."""
RecordingFormat = Literal["wav", "webm"]
"""Of a recorded message."""

BACKENDS: Final[tuple[Backend, ...]] = get_args(Backend)
SAMPLE_FORMATS: Final[tuple[SampleFormat, ...]] = get_args(SampleFormat)
PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
PHASES: Final[tuple[Phase, ...]] = get_args(Phase)
PACES: Final[tuple[Pace, ...]] = get_args(Pace)
MODES: Final[tuple[ModeName, ...]] = get_args(ModeName)
DETECTORS: Final[tuple[DetectorName, ...]] = get_args(DetectorName)
RECORDING_FORMATS: Final[tuple[RecordingFormat, ...]] = get_args(RecordingFormat)
