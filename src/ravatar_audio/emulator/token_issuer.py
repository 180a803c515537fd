"""The platform's tokens: JSON Web Tokens (RFC 7519), signed with HMAC-SHA256. Pure but for the clock it is given."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from typing import Any


class TokenRefused(Exception):  # noqa: N818 - an answer of the platform, not a failure of this program
    """`code` is missing_token, invalid_token or token_expired."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class TokenIssuer:
    """Issues tokens and checks them. `lifetime_s` counts from the issue; `clock` gives unix seconds.

    Those that have the same `key` accept each other's; default: one of its own.
    """

    def __init__(self, lifetime_s: float, clock: Callable[[], float] = time.time, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)
        self._clock = clock
        self._oldest_valid = 0
        self.lifetime_s = lifetime_s
        self.issued: int = 0

    def issue(self, user_id: str, project_id: str | None) -> str:
        """Issue a token for this user; its `exp` is in unix seconds."""
        now = self._clock()
        claims: dict[str, Any] = {"user_id": user_id, "iat": int(now), "exp": now + self.lifetime_s, "n": self.issued}
        if project_id is not None:
            claims["project_id"] = project_id
        self.issued += 1
        signed = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def check(self, token: str | None) -> str:
        """Return the user of a valid token. Raises TokenRefused."""
        if not token:
            raise TokenRefused("missing_token")
        signed, _, signature = token.rpartition(".")
        if not hmac.compare_digest(self._signature(signed).encode(), signature.encode("utf-8", "replace")):
            raise TokenRefused("invalid_token")
        claims = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if claims["n"] < self._oldest_valid or self._clock() >= claims["exp"]:
            raise TokenRefused("token_expired")
        return str(claims["user_id"])

    def expire_all(self) -> None:
        """Let every token issued so far count as expired."""
        self._oldest_valid = self.issued

    def forget_all(self) -> None:
        """Forget every token issued so far, as a platform that was started again with another key."""
        self._key = secrets.token_bytes(32)

    def _signature(self, signed: str) -> str:
        return _base64url(hmac.digest(self._key, signed.encode("utf-8", "replace"), hashlib.sha256))


def _encode(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
