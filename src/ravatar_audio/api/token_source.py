"""A token from the program itself, as its own back end gives it: asked for within a limit, and checked."""

from collections.abc import Awaitable, Callable

import trio

from ravatar_audio.errors import (
    AuthenticationError,
    GatewayTimeoutError,
    ProtocolError,
    RavatarError,
    UnreachableError,
)

FetchToken = Callable[[], Awaitable[str]]
"""Gives a new token each time that it is called: at first, before the old one expires, and after a refusal."""

_LONGEST = 16_384


async def fetch_own_token(fetch: FetchToken, limit_s: float) -> str:
    """Call the program's `fetch`.

    An error of the RavatarError tree passes as it is. Raises GatewayTimeoutError after `limit_s`, UnreachableError for
    an OSError, AuthenticationError for any other error, and ProtocolError for what is no token. None shows a token.
    """
    try:
        with trio.fail_after(limit_s):
            token = await fetch()
    except RavatarError:
        raise
    except (trio.TooSlowError, TimeoutError) as error:
        raise GatewayTimeoutError(f"fetch_token gave no token within {limit_s:g} s") from error
    except PermissionError as error:
        raise AuthenticationError(f"fetch_token was refused a token: {_kind(error)}", advice=_ADVICE) from error
    except OSError as error:
        raise UnreachableError(f"fetch_token did not get a token: {_kind(error)}", advice=_ADVICE) from error
    except Exception as error:
        raise AuthenticationError(f"fetch_token has failed: {_kind(error)}", advice=_ADVICE) from error
    if not isinstance(token, str):
        raise ProtocolError(f"fetch_token returned a {type(token).__name__}; a token is a str", advice=_ADVICE)
    if not (0 < len(token) <= _LONGEST and token.isascii() and token.isprintable() and " " not in token):
        raise ProtocolError(
            f"fetch_token returned {len(token)} characters that are no token: 1 to {_LONGEST} of ASCII, without spaces",
            advice=_ADVICE,
        )
    return token


_ADVICE = "Look at the program's own source of tokens; the cause says what happened in it."


def _kind(error: Exception) -> str:
    return type(error).__name__  # its text may hold what it should not
