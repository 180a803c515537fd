"""What the end of a WebSocket means: go on, refresh the token first, or stop. Pure.

| how it ended | verdict | why |
| --- | --- | --- |
| handshake 401, 403; close 1008, 4401, 4403 | refresh | the token is refused: a new one, then one more try |
| handshake 402; close 4402 | final** | subscription or balance |
| handshake 408, 425, 429, 5xx | retry | the server is busy or restarts; Retry-After is honoured |
| any other handshake status | final* | the address is no WebSocket of this platform |
| close 1003, 1009, 1010 | final | the server wants no such message: it would happen again |
| close 1002, 1007; a message that breaks the protocol, a message that is too large | retry | a damaged line |
| any other close code, and none at all | retry | restart, overload, idle limit, broken network |
| messages that refuse what is sent, again and again | retry | it may have forgotten the session, which is renewed |
| a stream error of Live Mode that only concerns the connection ("Connection timeout") | retry | what the guide says |
| no connection, time-out, handshake cut off | retry | the network |
| a call for a token or a new slot that fails once the session has begun | retry | an outage |
| certificate refused | final* | the wrong host, or a CA that is not trusted |
| proxy refuses | final* | the user, the password or the host that it is asked for |
| answer to the handshake that is not HTTP | final* | the address is no WebSocket server |

final*: the address is wrong, unless it has worked before. Then something else answers in its place for a while (a
deployment, a captive portal), and it is tried again.

final**: before the session has begun. Afterwards it may pass, as may the refusal of a fresh token, until the platform
has said it again and again in its own words: see session/retries.py.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ravatar_audio.errors import (
    AuthenticationError,
    BadRequestError,
    CertificateError,
    LinkError,
    PaymentRequiredError,
    RavatarError,
    SessionExpiredError,
    UnreachableError,
)
from ravatar_audio.printable import one_line

ABNORMAL_CLOSURE = 1006
"""What a connection that ended without a Close frame counts as (RFC 6455, 7.1.5)."""

_REFRESH_STATUS = frozenset({401, 403})
_RETRY_STATUS = frozenset({408, 425, 429})
_REFRESH_CODES = frozenset({1008, 4401, 4403})
_FINAL_CODES = frozenset({1003, 1009, 1010, 4402})


class Verdict(Enum):
    """What to do after a link has ended."""

    RETRY = "retry"
    REFRESH = "refresh"
    FINAL = "final"


class Cause(Enum):
    """How a link ended."""

    PLATFORM = "the platform cannot be asked"
    UNREACHABLE = "the address cannot be reached"
    TIMEOUT = "no answer in time"
    CERTIFICATE = "the server's certificate is refused"
    PROXY = "the proxy refuses"
    NOT_WEBSOCKET = "the answer is no WebSocket handshake"
    REFUSED = "the handshake was refused"
    CLOSED = "the connection was closed"
    SILENT = "the peer is silent"
    STREAM_ERROR = "the platform reports a stream error"
    NOT_ACCEPTED = "the platform refuses what is sent"
    VIOLATION = "the peer has sent what the WebSocket protocol forbids"


@dataclass(slots=True, eq=False)
class LinkDown(Exception):  # noqa: N818 - a state of the link; not an error yet
    """A link could not be had, or is over. Between link and session only; users see it as an event or as an error."""

    cause: Cause
    why: str = ""
    close_code: int | None = None
    status: int | None = None
    retry_after_s: float = 0.0
    is_own_word: bool = False
    """The platform itself says so: in its own JSON, or by a Close frame; not a proxy, a firewall or a portal."""

    def __str__(self) -> str:
        number = self.close_code or self.status
        text = self.cause.value + (f" ({number})" if number else "")
        return f"{text}: {one_line(self.why)}" if self.why else text

    @property
    def verdict(self) -> Verdict:
        """By the table at the head of this module."""
        if self.cause in (Cause.CERTIFICATE, Cause.PROXY, Cause.NOT_WEBSOCKET):
            return Verdict.FINAL
        if self.cause is Cause.REFUSED:
            status = self.status or 0
            if status in _REFRESH_STATUS:
                return Verdict.REFRESH
            return Verdict.RETRY if status in _RETRY_STATUS or status >= 500 else Verdict.FINAL
        if self.cause is not Cause.CLOSED:
            return Verdict.RETRY
        if self.close_code in _REFRESH_CODES:
            return Verdict.REFRESH
        return Verdict.FINAL if self.close_code in _FINAL_CODES else Verdict.RETRY

    @property
    def is_about_address(self) -> bool:
        """Something answered that cannot be this platform: final*, in the table."""
        if self.cause is Cause.REFUSED:
            return self.verdict is Verdict.FINAL and not self.is_payment
        return self.cause in (Cause.CERTIFICATE, Cause.PROXY, Cause.NOT_WEBSOCKET)

    @property
    def is_payment(self) -> bool:
        """The platform asks for payment."""
        return self.status == 402 or self.close_code == 4402

    @property
    def is_platform_refusal(self) -> bool:
        """A call to an endpoint was refused: 400, 401, 402 or 403, by whoever answered."""
        return isinstance(self.__cause__, BadRequestError | AuthenticationError | PaymentRequiredError)

    def error(self) -> RavatarError:
        """Return what the user gets when there is no further try."""
        if isinstance(cause := self.__cause__, RavatarError):
            return cause.replaced()
        details: dict[str, Any] = {"close_code": self.close_code, "status": self.status}
        is_final = self.verdict is Verdict.FINAL
        if self.cause is Cause.NOT_ACCEPTED:
            return SessionExpiredError(f"{self}; a new session did not help")
        if self.verdict is Verdict.REFRESH:
            return AuthenticationError(f"the WebSocket refuses a fresh token: {self}", **details)
        if self.is_payment:
            return PaymentRequiredError(f"the WebSocket was refused: {self}", **details)
        if self.cause is Cause.CERTIFICATE:
            return CertificateError(f"the WebSocket cannot be opened: {self}")
        if self.cause is Cause.UNREACHABLE:
            return UnreachableError(f"the WebSocket cannot be opened: {self}")
        return LinkError(f"the WebSocket cannot be used: {self}", retryable=not is_final, **details)


def redirect_target(location: str) -> str:
    """Return where a Location header leads, without its query, which may hold a secret; empty where it is none."""
    try:
        parts = urlsplit(location)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:300]
