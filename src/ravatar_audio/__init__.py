"""A real-time voice front end for the RAVATAR avatar platform: microphone to WebSocket, with a C core.

The rooms, from the ground up; each uses those above it in this list, never those below:

errors, frames      one tree of errors; frames as pure data; deprecation: old names that still work
settings            one frozen Settings; groups: exception groups, taken apart
native, converter   the C core (csrc/) as a chain with a ring; the conversion alone
capture             microphones, and the sources that stand in for them
processing          echo cancellation
turns               push-to-talk and voice activity as pure state machines
observe             histograms, the debug log, observers: metrics
api                 the platform's side: messages, HTTP, tokens, the WebSocket
playback            a loudspeaker for replies: Player
session             where capture and api meet: LiveSession, ChatSession
diagnosis           every examination of the doctor: diagnose()
emulator, testing   a local platform; helpers for tests
embedding           a trio loop in a thread of its own
asyncio, blocking   the same names for programs on an asyncio loop, and for programs of threads
cli                 the commands

Names are loaded when they are first used, so that `import ravatar_audio` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from ravatar_audio._version import __version__

if TYPE_CHECKING:
    from ravatar_audio.api.messages import (
        ConnectionMessage,
        EventMessage,
        Reply,
        ServerMessage,
        StreamFault,
        SystemMessage,
        UnknownMessage,
    )
    from ravatar_audio.capture import (
        CaptureStatistics,
        Device,
        FileSource,
        Microphone,
        PipeSource,
        PushSource,
        Source,
        SyntheticSource,
        list_devices,
        open_source,
    )
    from ravatar_audio.converter import Converter
    from ravatar_audio.diagnosis import Finding, diagnose
    from ravatar_audio.emulator import Emulator, EmulatorSettings
    from ravatar_audio.errors import MediaError, NetworkError, PlatformError, RavatarError, SettingsError
    from ravatar_audio.frames import FRAME_BYTES, FRAME_SAMPLES, HOP_SAMPLES, RATE_HZ, Frame, Hop
    from ravatar_audio.playback import Played, Player, PlayerStatistics
    from ravatar_audio.processing import VoiceSource, VoiceStatistics
    from ravatar_audio.session import (
        ChatSession,
        ConversationRenewed,
        LinkLost,
        LinkUp,
        LiveSession,
        LiveStatistics,
        Recordings,
        SendingAccepted,
        SendingRefused,
        SessionRenewed,
        StreamingUrlChanged,
        TurnSource,
    )
    from ravatar_audio.session.sound_file import read_recording
    from ravatar_audio.settings import Settings
    from ravatar_audio.turns import Gate, Recording, TurnEvent, TurnEventKind, TurnMode, TurnRules

_HOMES = {
    "api.messages": ("ConnectionMessage EventMessage Reply ServerMessage StreamFault SystemMessage UnknownMessage"),
    "capture": (
        "CaptureStatistics Device FileSource Microphone PipeSource PushSource Source SyntheticSource "
        "list_devices open_source"
    ),
    "converter": "Converter",
    "diagnosis": "Finding diagnose",
    "emulator": "Emulator EmulatorSettings",
    "errors": "MediaError NetworkError PlatformError RavatarError SettingsError",
    "frames": "FRAME_BYTES FRAME_SAMPLES HOP_SAMPLES RATE_HZ Frame Hop",
    "playback": "Played Player PlayerStatistics",
    "processing": "VoiceSource VoiceStatistics",
    "session": (
        "ChatSession ConversationRenewed LinkLost LinkUp LiveSession LiveStatistics Recordings SendingAccepted "
        "SendingRefused SessionRenewed StreamingUrlChanged TurnSource"
    ),
    "session.sound_file": "read_recording",
    "settings": "Settings",
    "turns": "Gate Recording TurnEvent TurnEventKind TurnMode TurnRules",
}
_HOME = {name: room for room, names in _HOMES.items() for name in names.split()}

__all__ = [
    "FRAME_BYTES",
    "FRAME_SAMPLES",
    "HOP_SAMPLES",
    "RATE_HZ",
    "CaptureStatistics",
    "ChatSession",
    "ConnectionMessage",
    "ConversationRenewed",
    "Converter",
    "Device",
    "Emulator",
    "EmulatorSettings",
    "EventMessage",
    "FileSource",
    "Finding",
    "Frame",
    "Gate",
    "Hop",
    "LinkLost",
    "LinkUp",
    "LiveSession",
    "LiveStatistics",
    "MediaError",
    "Microphone",
    "NetworkError",
    "PipeSource",
    "PlatformError",
    "Played",
    "Player",
    "PlayerStatistics",
    "PushSource",
    "RavatarError",
    "Recording",
    "Recordings",
    "Reply",
    "SendingAccepted",
    "SendingRefused",
    "ServerMessage",
    "SessionRenewed",
    "Settings",
    "SettingsError",
    "Source",
    "StreamFault",
    "StreamingUrlChanged",
    "SyntheticSource",
    "SystemMessage",
    "TurnEvent",
    "TurnEventKind",
    "TurnMode",
    "TurnRules",
    "TurnSource",
    "UnknownMessage",
    "VoiceSource",
    "VoiceStatistics",
    "__version__",
    "diagnose",
    "list_devices",
    "open_source",
    "read_recording",
]


_RENAMED = {"EventKind": "TurnEventKind", "Mode": "TurnMode"}


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        from ravatar_audio.deprecation import warn_renamed

        warn_renamed("name", f"{__name__}.{name}", f"{__name__}.{_RENAMED[name]}", stacklevel=2)
        return getattr(importlib.import_module(__name__), _RENAMED[name])
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
