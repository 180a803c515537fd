"""What an answer of the platform is: its JSON object, or the error that its status stands for. Pure.

http.py has the table.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from ravatar_audio.api.backoff import parse_retry_after
from ravatar_audio.api.link_end import redirect_target
from ravatar_audio.errors import (
    AuthenticationError,
    BadRequestError,
    BusyError,
    GatewayTimeoutError,
    PaymentRequiredError,
    ProtocolError,
    RavatarError,
    ServerError,
)

_PASSING = frozenset({408, 429, 502, 504})
MOST_SAID = 300
"""Characters of an answer's own words that an error repeats."""


def read_object(
    call: str, status: int, content: bytes, headers: Mapping[str, str], redact: Callable[[str], str]
) -> Mapping[str, Any]:
    """Return the answer's JSON object; raise the error that its status stands for. `redact` hides secrets in a text."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        data = None
    # Some answers carry their status in the body alone.
    if 200 <= status < 300 and isinstance(data, dict) and isinstance(inner := data.get("status"), int):
        status = inner
    if 200 <= status < 300:
        if not isinstance(data, dict):
            raise ProtocolError(f"{call} answered something that is no JSON object", status=status)
        return data
    said = data.get("error") or data.get("message") if isinstance(data, dict) else None
    said = redact(said)[:MOST_SAID] if isinstance(said, str) else None
    text = f"{call} answered {status}" + (f": {said}" if said is not None else "")
    if 300 <= status < 400 and (target := redirect_target(headers.get("Location", ""))):
        raise ProtocolError(
            f"{text}, a redirect to {target}",
            advice="Set api_url (and ws_url) to where the platform is; redirects are not followed with a token.",
            status=status,
        )
    details: dict[str, Any] = {"status": status, "error": said}
    retry_after = headers.get("Retry-After")
    if retry_after is not None:
        details["retry_after_s"] = parse_retry_after(retry_after, headers.get("Date", ""))
    is_gateway = status == 503 and not isinstance(data, dict)  # the platform says in JSON that it is busy
    raise (GatewayTimeoutError if is_gateway else error_type(status))(text, **details)


def error_type(status: int) -> type[RavatarError]:
    """Return the error that a status stands for."""
    exact: dict[int, type[RavatarError]] = {
        400: BadRequestError,
        401: AuthenticationError,
        402: PaymentRequiredError,
        403: AuthenticationError,
        503: BusyError,
    }
    if status in exact:
        return exact[status]
    if status in _PASSING:
        return GatewayTimeoutError
    return ServerError if status >= 500 else ProtocolError


def retry_after_s(error: RavatarError) -> float:
    """Return how long the server asked to wait, in seconds; 0 where it did not say."""
    value = error.details.get("retry_after_s")
    return value if isinstance(value, float) else 0.0
