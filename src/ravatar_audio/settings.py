"""One frozen Settings: arguments over RAVATAR_* environment variables over a TOML file over defaults."""

import contextlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

from ravatar_audio.addresses import encoded_host, is_loopback, normal_url, place
from ravatar_audio.choices import (
    BACKENDS,
    DETECTORS,
    MODES,
    PROFILES,
    SAMPLE_FORMATS,
    Backend,
    DetectorName,
    ModeName,
    Profile,
    SampleFormat,
)
from ravatar_audio.deprecation import REMOVED_IN
from ravatar_audio.errors import SettingsError
from ravatar_audio.setting_values import as_canceller, checked

log: logging.Logger = logging.getLogger("ravatar_audio")

USER_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
PROJECT_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_DEBUG_VARIABLES = ("RAVATAR_DEBUG_LOGS", "VITE_DEBUG_LOGS")  # the platform's own names for it


def _setting(
    default: Any,
    text: str,
    *,
    low: int | None = None,
    high: int | None = None,
    one_of: Any = (),
    is_secret: bool = False,
    replaced_by: str = "",
    flags: tuple[str, ...] = (),
) -> Any:
    metadata = {"help": text, "low": low, "high": high, "one_of": tuple(one_of)}
    metadata |= {"is_secret": is_secret, "replaced_by": replaced_by, "flags": flags}
    return field(default=default, metadata=metadata, repr=not is_secret)


def _renamed(new: str) -> Any:
    """The old name of a setting: it still works, with a warning, and is not shown."""
    return _setting(None, f"Old name of {new}.", replaced_by=new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set, each with its default; `Settings.load` reads the environment and a file as well.

    The environment's name of a setting is RAVATAR_ and its name in capitals (RAVATAR_API_URL); the file's is its name.
    Raises SettingsError for a value that cannot be used, with the value and what is allowed.
    """

    api_url: str = _setting("https://chat.rvtr.ai", "Address of the platform's HTTP endpoints.")
    ws_url: str | None = _setting(None, "Address of the WebSocket; default: /ws/chat at api_url.")
    user_id: str | None = _setting(None, "Stable id of this user or device; default: made once and kept in state_dir.")
    token_url: str | None = _setting(
        None, "Address at the product's own back end that answers as POST /jwt does; default: /jwt at api_url."
    )
    project_id: str | None = _setting(None, "RAVATAR project, 1-64 letters, digits, '-'.")
    avatar_id: str | None = _setting(None, "Avatar to talk to; default: the first with Live Mode.")
    language: str | None = _setting(None, "Language code of the conversation; default: the platform's first.")
    client_name: str = _setting("ravatar-audio", "Name of the client application that messages carry.")
    width: int = _setting(1280, "Width of the rendered avatar in pixels.", low=1, high=1920)
    height: int = _setting(720, "Height of the rendered avatar in pixels.", low=1, high=1080)

    slot_wait_s: float = _setting(
        0.0, "Seconds to wait at the start while all assistants are busy.", low=0, high=86_400
    )
    renew: bool = _setting(False, "Begin a new live session when the platform ends one.")
    linger_s: float = _setting(
        2.0, "Seconds that a command waits for answers when its sound has ended.", low=0, high=3_600
    )

    device: str | None = _setting(
        None, "Microphone: usb:VID:PID[:SERIAL], card:ID, or its name or a part of it; default: the system's."
    )
    fallback: str | None = _setting(None, "Microphone to use while the other is missing, named in the same way.")
    fallback_after_ms: int = _setting(
        3_000, "How long a microphone that went away may stay away before the fallback is used.", low=0, high=600_000
    )
    stand_in: str | None = _renamed("fallback")
    stand_in_after_ms: int | None = _renamed("fallback_after_ms")
    backend: Backend = _setting(  # noqa: RUF009 - a field, of a choice of words
        "auto",
        "What captures: ALSA hardware or a sound server directly, PortAudio's thread, or its Python callback.",
        one_of=BACKENDS,
    )
    rate_hz: int | None = _setting(None, "Device rate; default: the device's own.", low=8_000, high=192_000)
    channels: int | None = _setting(None, "Device channels to open; default: the device's own.", low=1, high=32)
    format: SampleFormat | None = _setting(  # noqa: RUF009 - a field, of a choice of words
        None, "Device sample format; default: the device's own.", one_of=SAMPLE_FORMATS
    )
    strict: bool = _setting(
        False, "Refuse a rate, channels, format or latency that the device does not have, instead of taking its own."
    )
    latency_ms: float | None = _setting(
        None, "Length of a device block in ms, as nearly as the device can; default: 10.", low=1, high=100
    )
    pipe_timeout_ms: int = _setting(
        10_000, "How long nothing may come from a pipe before that is an error; 0: any time.", low=0, high=86_400_000
    )
    endless: bool = _setting(False, "A microphone is behind the pipe: it waits for nobody, and its end is an error.")
    channels_heard: str = _setting(
        "auto",
        "Channels to average: 'auto' (a known array's processed one; else both of two, the first of more), 'all', or "
        "numbers from 0 with commas, as '0' or '0,2'.",
    )
    heard: str | None = _renamed("channels_heard")
    profile: Profile = _setting("balanced", "Resampling profile.", one_of=PROFILES)  # noqa: RUF009 - as above
    gain_db: float = _setting(0.0, "Gain before quantisation, in dB.", low=-60, high=60)
    dc_block: bool = _setting(False, "Take out a constant offset, as cheap USB microphones have one.")
    ring_ms: int = _setting(2_048, "Sound that the ring holds for a busy program.", low=256, high=600_000)
    lock_memory: bool = _setting(False, "Keep the whole process in memory, so that sound never waits for a disk.")
    outbox_ms: int = _setting(2_048, "Sound that waits for a slow or broken network.", low=256, high=600_000)

    mode: ModeName = _setting(  # noqa: RUF009 - a field, of a choice of words
        "auto",
        "How turns are taken: always open, push-to-talk, voice activity; auto: as the platform says (vadEnabled).",
        one_of=MODES,
    )
    pre_roll_ms: int = _setting(300, "Sound from before the button or the voice.", low=0, high=5_000)
    tail_ms: int = _setting(200, "Sound after the button was let go.", low=0, high=5_000)
    trailing_silence_ms: int = _setting(
        1_000,
        "Silence that a live session sends after push-to-talk: a detector on the server ends the turn by it.",
        low=0,
        high=10_000,
    )
    shortest_press_ms: int = _setting(200, "A shorter press of the button sends nothing.", low=0, high=5_000)
    press_cap_ms: int = _setting(120_000, "Longest turn of push-to-talk.", low=1_000, high=3_600_000)
    hangover_ms: int = _setting(900, "Silence that ends a turn of voice activity.", low=50, high=10_000)
    onset_ms: int = _setting(32, "Speech without a break that begins a turn.", low=0, high=1_000)
    max_turn_ms: int = _setting(15_000, "Longest turn of voice activity; the next follows.", low=1_000, high=600_000)
    cap_ms: int | None = _renamed("max_turn_ms")
    detector: DetectorName = _setting(  # noqa: RUF009 - a field, of a choice of words
        "energy", "What hears speech: loudness, or a neural network (extra 'vad').", one_of=DETECTORS
    )
    speech_dbfs: float = _setting(-33.98, "RMS from which the energy detector hears speech.", low=-90, high=0)
    half_duplex: bool = _setting(False, "Do not listen while the avatar speaks: for loudspeakers.")
    barge_in_dbfs: float | None = _setting(
        None, "RMS of a voice that interrupts the avatar with half_duplex; default: none does.", low=-90, high=0
    )
    echo_ms: int = _setting(300, "How long the avatar's voice hangs in the room.", low=0, high=5_000)

    echo_cancellation: str = _setting(
        "off",
        "Take what the loudspeaker plays out of the microphone's sound: by our own filter, or by WebRTC's (extra "
        "'webrtc'); in a file or a variable 'true' means 'own'.",
        one_of=("off", "own", "webrtc"),
        flags=("--echo",),
    )
    reference: str = _setting(
        "monitor",
        "What the loudspeaker plays: 'monitor' (the sound server's default one), 'channel:N' (of the microphone, from "
        "0), or a device.",
    )
    noise_suppression_db: int = _setting(
        0, "Hold noise down by 6, 12 or 18 dB (extra 'webrtc'); 0: not at all.", one_of=(0, 6, 12, 18)
    )
    gain_control: bool = _setting(False, "Bring voices to one level, -24 dBFS, behind detectors and meters.")

    request_timeout_ms: int = _setting(30_000, "Limit of one HTTP request.", low=1, high=600_000)
    connect_timeout_ms: int = _setting(
        5_000, "Limit of connecting the WebSocket, handshake included, name look-up not.", low=1, high=600_000
    )
    lookup_timeout_ms: int = _setting(
        20_000, "Limit of looking up the WebSocket's host name; a dead name server takes 5 s.", low=1, high=600_000
    )
    ping_interval_ms: int = _setting(2_000, "Quiet on the WebSocket after which a ping is sent.", low=100, high=600_000)
    pong_timeout_ms: int = _setting(
        2_500, "How long a ping may stay unanswered; a server that never answers is learnt.", low=100, high=600_000
    )
    stuck_send_ms: int = _setting(
        3_000, "How long no byte of a message may be taken before the connection is made again.", low=100, high=600_000
    )
    unacknowledged_ms: int = _setting(
        5_000, "How long nothing of what is under way may be acknowledged (Linux).", low=100, high=600_000
    )
    proxy: str | None = _setting(
        None,
        "HTTP proxy for all connections, http://[USER:PASSWORD@]HOST:PORT, or 'none'; "
        "default: as HTTPS_PROXY, http_proxy, ALL_PROXY and NO_PROXY say.",
        is_secret=True,
    )
    ca_file: str | None = _setting(None, "File of certificates to trust besides the system's (PEM).")
    lenient_ca: bool = _setting(
        False, "Accept certificates of a private authority that Python's stricter check (3.13) refuses; no other check."
    )
    client_cert: str | None = _setting(None, "File of the certificate that the server wants of us (PEM).")
    client_key: str | None = _setting(None, "File of its key, without a password; default: in client_cert (PEM).")
    metrics_prometheus: int | None = _setting(
        None,
        "Port of 127.0.0.1 at which a Prometheus page is served, as /metrics (extra 'metrics'); 0: any free one.",
        low=0,
        high=65_535,
    )
    metrics_otlp: str | None = _setting(
        None, "Address to push metrics to, by OTLP over HTTP: http://HOST:4318/v1/metrics (extra 'metrics')."
    )
    metrics_interval_ms: int = _setting(15_000, "How often metrics are pushed.", low=1_000, high=3_600_000)
    record: str | None = _setting(
        None, "Folder for a flight recording: all sound, and what became of it (extra 'record')."
    )
    record_mb: int = _setting(
        500, "Most that recordings take in the folder; the oldest go first.", low=5, high=1_000_000
    )
    record_hours: int = _setting(24, "How long recordings are kept.", low=1, high=8_760)
    state_dir: str | None = _setting(
        None, "Folder for what must outlive the program; default: the user's state folder."
    )
    debug: bool = _setting(False, "Log every request, message and error; sound as length and level only.")

    def __post_init__(self) -> None:
        self._take_old_names()
        object.__setattr__(self, "echo_cancellation", as_canceller(self.echo_cancellation))
        for item in fields(self):
            object.__setattr__(self, item.name, checked(item.name, getattr(self, item.name), item.type, item.metadata))
        for name in ("api_url", "ws_url", "token_url", "metrics_otlp"):
            object.__setattr__(self, name, normal_url(name, getattr(self, name)))
        _check_pattern("user_id", self.user_id, USER_ID, "1 to 128 letters, digits, '-' or '_'")
        _check_pattern("project_id", self.project_id, PROJECT_ID, "1 to 64 letters, digits or '-'")
        if self.ca_file is not None and not Path(self.ca_file).is_file():
            raise SettingsError(f"ca_file {self.ca_file!r} is not a file; name a PEM file of certificates")
        self.heard_channels  # noqa: B018 - raises for what cannot be read
        self.reference_channel  # noqa: B018

    def _take_old_names(self) -> None:
        for item in fields(self):
            name, value = item.metadata["replaced_by"], getattr(self, item.name)
            if name and value is not None:
                log.warning("the setting '%s' is now '%s'; the old name goes in %s", item.name, name, REMOVED_IN)
                object.__setattr__(self, name, value)
                object.__setattr__(self, item.name, None)

    @classmethod
    def load(
        cls, file: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None, **given: Any
    ) -> Self:
        """Arguments over environment over file over defaults; arguments that are None count as not given.

        `file` defaults to RAVATAR_SETTINGS. Raises SettingsError for a file that cannot be read and for unknown names.
        An empty variable counts as not set. A variable RAVATAR_* that no setting has, but one nearly, is warned of; it
        may be another program's.
        """
        environ = os.environ if environ is None else environ
        names = {item.name for item in fields(cls)}
        values: dict[str, Any] = {}
        path = file or environ.get("RAVATAR_SETTINGS")
        if path:
            values |= _read_file(Path(path), names)
        values |= {name: text for name in names if (text := environ.get(f"RAVATAR_{name.upper()}"))}
        for key in _DEBUG_VARIABLES:
            if text := environ.get(key):
                values["debug"] = text
        _warn_of_misspelt(environ, names)
        return cls(**values | {name: value for name, value in given.items() if value is not None})

    @property
    def websocket_url(self) -> str:
        """ws_url, or /ws/chat at api_url with wss for https; all of it in ASCII."""
        parts = urlsplit(self.ws_url or self.api_url)
        host = parts.hostname or ""
        with contextlib.suppress(UnicodeError):  # connecting says what is wrong with it
            host = host if host.isascii() else encoded_host(host)
        netloc = place(host, parts.port)
        if self.ws_url is not None:
            return urlunsplit((parts.scheme, netloc, parts.path, "", ""))
        scheme = "wss" if parts.scheme == "https" else "ws"
        return urlunsplit((scheme, netloc, parts.path.rstrip("/") + "/ws/chat", "", ""))

    @property
    def in_the_clear(self) -> str | None:
        """An address, of api_url, ws_url and token_url, that is not encrypted and leaves this machine, or None."""
        for url in filter(None, (self.api_url, self.websocket_url, self.token_url)):
            parts = urlsplit(url)
            if parts.scheme in ("http", "ws") and not is_loopback(parts.hostname or ""):
                return f"{parts.scheme}://{parts.netloc}"
        return None

    @property
    def heard_channels(self) -> tuple[int, ...] | str | None:
        """The channels to average, "all", or None for what the device suggests."""
        if self.channels_heard in ("all", "auto"):
            return "all" if self.channels_heard == "all" else None
        try:
            return tuple(int(part) for part in self.channels_heard.split(","))
        except ValueError:
            raise SettingsError(
                f"channels_heard is {self.channels_heard!r}; it is 'auto', 'all' or channel numbers from 0, as '0,2'"
            ) from None

    @property
    def reference_channel(self) -> int | None:
        """The microphone's channel that hears what the loudspeaker plays; None where the reference is another."""
        kind, _, number = self.reference.partition(":")
        if kind != "channel":
            return None
        if not (number.isascii() and number.isdigit() and int(number) < 32):
            raise SettingsError(
                f"reference is {self.reference!r}; a channel's is 'channel:' and 0 to 31, as 'channel:5'"
            )
        return int(number)

    @property
    def state_path(self) -> Path:
        """The folder for what must outlive the program; it may not exist yet. Raises SettingsError without a home."""
        if self.state_dir is not None:
            return Path(self.state_dir)
        if base := os.environ.get("XDG_STATE_HOME"):
            return Path(base) / "ravatar-audio"
        try:
            return Path.home() / ".local" / "state" / "ravatar-audio"
        except RuntimeError:
            raise SettingsError(
                "this user has no home folder (no HOME, and no entry in passwd), so nothing can be kept",
                advice="Set state_dir (RAVATAR_STATE_DIR) to a folder, or HOME.",
            ) from None


def _read_file(path: Path, names: set[str]) -> dict[str, Any]:
    import tomllib  # most programs have no such file

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # editors of Windows begin files with a BOM
    except OSError as error:
        raise SettingsError(f"settings file {str(path)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"settings file {str(path)!r} is not UTF-8 text: byte {error.start} is 0x{error.object[error.start]:02x}",
            advice="Save it as UTF-8.",
        ) from error
    except (ValueError, RecursionError) as error:  # ValueError: an integer of more digits than Python reads, too
        raise SettingsError(f"settings file {str(path)!r} is not valid TOML: {error}") from error
    if unknown := sorted(set(values) - names):
        hints = [f"{name} (did you mean {near}?)" if (near := _meant(name, names)) else name for name in unknown]
        raise SettingsError(f"settings file {str(path)!r} has unknown names: {', '.join(hints)}")
    return values


def _meant(name: str, names: set[str]) -> str | None:
    """The setting whose name was probably misspelt."""
    import difflib  # only then

    known = {known.removesuffix("_hz").removesuffix("_db").removesuffix("_ms"): known for known in names}
    known |= {name: name for name in names}
    return next((known[near] for near in difflib.get_close_matches(name, known, 1, 0.75)), None)


def _warn_of_misspelt(environ: Mapping[str, str], names: set[str]) -> None:
    known = names | {"settings", "debug_logs"}
    for key in environ:
        name = key.removeprefix("RAVATAR_").lower()
        if name != key.lower() and name not in known and (near := _meant(name, known)):
            log.warning("%s in the environment is no setting; did you mean RAVATAR_%s?", key, near.upper())


def _check_pattern(name: str, value: str | None, pattern: re.Pattern[str], allowed: str) -> None:
    if value is not None and not pattern.fullmatch(value):
        raise SettingsError(f"{name} is {value!r}; it must be {allowed}")
