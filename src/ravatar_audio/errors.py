"""One tree for everything that can be expected to go wrong.

RavatarError                    every error of this package
├── SettingsError               a setting, an option or an argument has a value that cannot be used
├── NothingHeardError           a recording has ended, and no turn had begun in it
├── SoundLostError              a run has lost sound that could have waited
├── MediaError                  the microphone; `code` is one of the platform's media errors
│   ├── PermissionDeniedError       permission_denied
│   ├── DeviceNotFoundError         no_specified_media_found
│   ├── DeviceInUseError            media_in_use
│   ├── ConstraintsError            invalid_media_constraints
│   ├── RecorderError               recorder_error
│   └── MediaAbortedError           media_aborted
├── PlatformError               the platform answered, and refused
│   ├── BadRequestError             400: what was sent is not accepted
│   ├── AuthenticationError         401, 403: unknown project, or a token that a fresh one did not cure
│   ├── PaymentRequiredError        402
│   ├── BusyError                   503: no free slot
│   ├── SessionExpiredError         the live session has ended on the server
│   ├── StreamError                 a stream error of Live Mode
│   ├── ServerError                 any other status from 500: the platform has failed
│   └── ProtocolError               an answer that is not what the protocol says
└── NetworkError                no answer: address, TLS, time-out, a connection that broke
    ├── UnreachableError            the address cannot be reached
    ├── CertificateError            the server's certificate is refused
    ├── ProxyError                  the HTTP proxy on the way refuses, or cannot be reached
    ├── GatewayTimeoutError         504, or no answer in time
    └── LinkError                   the WebSocket: refused, or lost for good

Each carries `code` (a stable word), `message` (what happened, with the value), `advice` (what to do, in a sentence that
a kiosk can show) and `retryable` (whether the same call may succeed later, as it is). `exit_code` is what the command
line ends with. Causes are chained (`__cause__`), and codes of libraries and hosts are kept in `details`.

Where Python has a word of its own for it, an error is that too: SettingsError is a ValueError, NetworkError a
ConnectionError, GatewayTimeoutError a TimeoutError, PermissionDeniedError and AuthenticationError a PermissionError.
"""

import sys
from collections.abc import Mapping
from typing import ClassVar, Self

from ravatar_audio.printable import one_line


class RavatarError(Exception):
    """Base of the tree. `details` holds codes and values that help to find the cause; never a token.

    `message` and `advice` are one line each, and safe to print: what others said in them is escaped.
    """

    code: ClassVar[str] = "error"
    default_advice: ClassVar[str] = "Look at the log with --debug."
    retryable: bool = False
    """As a rule for this kind; an error that is final says no, whatever its kind does."""
    exit_code: ClassVar[int] = 1

    def __init__(
        self, message: str, *, advice: str | None = None, retryable: bool | None = None, **details: object
    ) -> None:
        message = one_line(message)
        super().__init__(message)
        self.message = message
        self.advice: str = one_line(advice or self.default_advice)
        if retryable is not None:
            self.retryable = retryable
        self.details = details

    def replaced(
        self, *, message: str | None = None, advice: str | None = None, details: Mapping[str, object] | None = None
    ) -> Self:
        """Return the same error, saying more: these for its own, and these details besides its own."""
        other = type(self)(message or self.message, advice=advice or self.advice, retryable=self.retryable)
        other.details = self.details | dict(details or {})
        return other


class SettingsError(RavatarError, ValueError):
    """A setting, an option or an argument has a value that cannot be used."""

    code = "invalid_settings"
    default_advice = "Correct the value and start again."
    exit_code = 2


class NothingHeardError(RavatarError):
    """A recording has ended, and no turn had begun in it."""

    code = "nothing_heard"
    default_advice = "Speak louder, or hold the button longer; with the mode 'open' everything is recorded."
    retryable = True
    exit_code = 7


class SoundLostError(RavatarError):
    """A run has ended in order but for sound that was lost, of a source that could have waited: a file, a pipe."""

    code = "sound_lost"
    default_advice = "Run it again; where a microphone is behind the pipe, which cannot wait, say so with --endless."
    retryable = True
    exit_code = 8


class MediaError(RavatarError):
    """The microphone. The advice is for the system it happens on; the error's own `details` keep the host's codes."""

    code = "media_error"
    exit_code = 3
    advice_by_system: ClassVar[Mapping[str, str]] = {}
    """By sys.platform: what to do there; `default_advice` is for other systems."""

    def __init__(
        self, message: str, *, advice: str | None = None, retryable: bool | None = None, **details: object
    ) -> None:
        super().__init__(message, advice=advice or self.advice_on(sys.platform), retryable=retryable, **details)

    @classmethod
    def advice_on(cls, system: str) -> str:
        """Return what to do on a system, named as sys.platform names it."""
        return cls.advice_by_system.get(system, cls.default_advice)


class PermissionDeniedError(MediaError, PermissionError):
    """The user or the system refused the microphone."""

    code = "permission_denied"
    default_advice = "Allow this program to use the microphone."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": "Add the user to the group 'audio' (sudo usermod -aG audio USER) and log in again; "
        "a systemd service needs SupplementaryGroups=audio, a container --device /dev/snd --group-add audio.",
        "darwin": "Allow it in System Settings, Privacy & Security, Microphone, for the program that runs this "
        "(the terminal, as a rule), and start that program again; if it is not listed there, "
        "'tccutil reset Microphone' lets macOS ask again.",
        "win32": "Allow it in Settings, Privacy & security, Microphone ('start ms-settings:privacy-microphone'): "
        "'Microphone access', 'Let apps access your microphone' and 'Let desktop apps access your microphone' "
        "must be on.",
    }


class DeviceNotFoundError(MediaError):
    """The requested device does not exist."""

    code = "no_specified_media_found"
    default_advice = "No microphone found: connect one, or choose another; 'ravatar-audio devices' lists them."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": "Connect it, or choose one that 'ravatar-audio devices' lists; "
        "'arecord -l' (package alsa-utils) shows what the kernel has.",
        "darwin": "Connect it, or choose one that 'ravatar-audio devices' lists; "
        "'system_profiler SPAudioDataType' shows what the system has.",
        "win32": "Connect it, or choose one that 'ravatar-audio devices' lists; it must be allowed in Settings, "
        "System, Sound, Input ('start ms-settings:sound'), and 'mmsys.cpl' shows disabled ones under Recording.",
    }
    retryable = True


class DeviceInUseError(MediaError):
    """Another program holds the device."""

    code = "media_in_use"
    default_advice = "Microphone in use: close the program that records from it."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": "Close the program that records from it; 'sudo fuser -v /dev/snd/*' (package psmisc) names it. "
        "A sound server's device (--device default) serves many programs at once.",
        "darwin": "Close the program that records from it; Control Center, in the menu bar, names it while the orange "
        "dot is there.",
        "win32": "Close the program that records from it (the microphone in the taskbar names it), or keep it from "
        "having the device alone: 'mmsys.cpl', Recording, Properties, Advanced, Exclusive Mode.",
    }
    retryable = True


class ConstraintsError(MediaError):
    """The asked-for rate, format or channels are not supported."""

    code = "invalid_media_constraints"
    default_advice = "Leave rate, channels and format out, or leave 'strict' out, to use what the device offers."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": f"{default_advice} 'ravatar-audio devices' shows what that is.",
        "darwin": f"{default_advice} 'Audio MIDI Setup' shows what that is, and sets it.",
        "win32": f"{default_advice} Settings, System, Sound, Input, the microphone's page, Format shows what that is, "
        "and sets it.",
    }


class RecorderError(MediaError):
    """Capture could not be set up, or failed while it ran."""

    code = "recorder_error"
    default_advice = "Restart the recording; if it fails again, reconnect the microphone."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": "Restart the recording; if it fails again, reconnect the microphone, and look at 'sudo dmesg | tail' "
        "or restart the sound server (systemctl --user restart wireplumber pipewire pipewire-pulse, "
        "or pulseaudio -k).",
        "darwin": "Restart the recording; if it fails again, reconnect the microphone, "
        "or restart the sound system (sudo killall coreaudiod).",
        "win32": "Restart the recording; if it fails again, reconnect the microphone, or restart the service "
        "'Windows Audio' (Restart-Service Audiosrv, in a PowerShell that runs as administrator).",
    }
    retryable = True


class MediaAbortedError(MediaError):
    """Capture was stopped from outside."""

    code = "media_aborted"
    default_advice = "The microphone went away: connect it again and try once more."
    advice_by_system: ClassVar[dict[str, str]] = {
        "linux": f"{default_advice} 'sudo dmesg | tail' says why, "
        "and on a Raspberry Pi 'vcgencmd get_throttled' whether its power is too weak.",
        "darwin": f"{default_advice} 'system_profiler SPAudioDataType' shows whether the system has it; "
        "if it goes again and again, use another port or a hub with power of its own.",
        "win32": f"{default_advice} If it goes again and again: Device Manager ('devmgmt.msc'), USB Root Hub, "
        "Properties, Power Management, and do not let the computer turn it off.",
    }
    retryable = True


class PlatformError(RavatarError):
    """The platform answered, and refused. `details["status"]` is the HTTP status where there was one."""

    code = "platform_error"
    exit_code = 5


class BadRequestError(PlatformError):
    """400: what was sent is not accepted."""

    code = "bad_request"
    default_advice = "Correct the value that the message names."


class AuthenticationError(PlatformError, PermissionError):
    """401 or 403: unknown project, or a token that is refused although it is fresh."""

    code = "authentication_failed"
    default_advice = "Check the project id and the platform's address."


class PaymentRequiredError(PlatformError):
    """402: subscription or balance."""

    code = "payment_required"
    default_advice = "Pay or upgrade the subscription of this RAVATAR project."


class BusyError(PlatformError):
    """503: no free slot."""

    code = "busy"
    default_advice = "All AI assistants are busy at the moment. Please try again later."
    retryable = True


class SessionExpiredError(PlatformError):
    """The live session has ended on the server."""

    code = "session_expired"
    default_advice = "Start a new session."
    retryable = True


class StreamError(PlatformError):
    """A stream error of Live Mode: "Something went wrong"."""

    code = "stream_error"
    default_advice = "The session has ended; start it again."
    retryable = True


class ServerError(PlatformError):
    """Any other status from 500: the platform has failed."""

    code = "server_error"
    default_advice = "The platform has a problem. Please try again later."
    retryable = True


class ProtocolError(PlatformError):
    """An answer that is not what the protocol says."""

    code = "protocol_error"
    default_advice = "Check that the address is that of a RAVATAR platform."


class NetworkError(RavatarError, ConnectionError):
    """No answer: address, TLS, time-out, a connection that broke."""

    code = "network_error"
    default_advice = "Check the network and the platform's address."
    retryable = True
    exit_code = 4


class UnreachableError(NetworkError):
    """The address cannot be reached."""

    code = "unreachable"


class CertificateError(NetworkError):
    """A certificate is refused: the server's (not trusted, for another host, out of date), or by the server ours."""

    code = "certificate_refused"
    default_advice = "Check the address and this machine's clock; name a private authority's certificates as ca_file."
    retryable = False


class ProxyError(NetworkError):
    """The HTTP proxy on the way refuses, or cannot be reached: the platform has not been asked.

    `details["status"]` is the proxy's status where it gave one. A proxy that may answer otherwise soon is `retryable`.
    """

    code = "proxy_failed"
    default_advice = "Check the proxy's address, user and password: the setting 'proxy', or HTTPS_PROXY and ALL_PROXY."
    retryable = False


class GatewayTimeoutError(NetworkError, TimeoutError):
    """504, or no answer in time."""

    code = "gateway_timeout"
    default_advice = "The platform did not answer in time. Please try again."


class LinkError(NetworkError):
    """The WebSocket was refused, or lost for good. `details["close_code"]` or `details["status"]` says how."""

    code = "link_failed"
