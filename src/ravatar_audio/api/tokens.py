"""The JWT: fetched once for all who wait, and renewed shortly before it expires."""

import base64
import json
import math
import time
from collections.abc import Awaitable, Callable

import trio

LIFETIME_MAX_S = 86_400.0
"""Longest use of a token: a JWT of the platform is good for a day, also where it does not say so itself."""


def token_lifetime_s(token: str, *, now_s: float | None = None) -> float:
    """Return the seconds that a JWT is good for when it is fresh; infinite when it does not say. The signature is not
    checked.

    `exp - iat` is preferred to `exp - now`, as it holds also where this machine's clock is wrong.
    """
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        expiry_s = float(claims["exp"])
        issued_s = float(claims.get("iat", time.time() if now_s is None else now_s))
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError):
        return math.inf
    lifetime_s = expiry_s - issued_s
    # A fresh token that seems to have expired says that a clock is wrong; the platform is left to judge it.
    return lifetime_s if lifetime_s > 0 else math.inf


class Tokens:
    """Gives out a token that is believed to be valid; however many ask, one request is made."""

    def __init__(self, fetch: Callable[[], Awaitable[str]], *, margin_s: float = 60.0) -> None:
        """`fetch` gets a new token; it is renewed `margin_s` before its expiry, or at 90 % of a short life."""
        self._fetch = fetch
        self._margin_s = margin_s
        self._lock = trio.Lock()
        self._token: str | None = None
        self._renew_at_s = math.inf
        self._fetched = trio.lowlevel.ParkingLot()

    @property
    def current(self) -> str | None:
        """The token in use, or None before the first and after a refusal."""
        return self._token

    async def get(self) -> str:
        """Return a token; raises what fetching it raises. Who waits meanwhile gets the same one, or tries in turn."""
        if self._token is None or trio.current_time() >= self._renew_at_s:
            async with self._lock:
                if self._token is None or trio.current_time() >= self._renew_at_s:
                    token = await self._fetch()
                    lifetime_s = min(token_lifetime_s(token), LIFETIME_MAX_S)
                    margin_s = min(self._margin_s, 0.1 * lifetime_s)
                    self._renew_at_s = trio.current_time() + lifetime_s - margin_s
                    self._token = token
                    self._fetched.unpark_all()
        return self._token

    async def wait_due(self) -> None:
        """Wait until the token is to be renewed because of its age. Without one, the next is waited for first."""
        await trio.lowlevel.checkpoint()
        while self._token is None or trio.current_time() < self._renew_at_s:
            with trio.move_on_at(math.inf if self._token is None else self._renew_at_s):
                await self._fetched.park()

    def invalidate(self, token: str) -> None:
        """Forget this token, which the platform has refused. A newer one, fetched by somebody else meanwhile, stays."""
        if self._token == token:
            self._token = None
