"""The platform's side, in the order in which things must work."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import trio

from ravatar_audio.api import name_servers
from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.link_end import LinkDown
from ravatar_audio.api.proxy import NO_PROXY, PROXY_VARIABLES, Proxy
from ravatar_audio.api.results import Connection, viewer_url
from ravatar_audio.api.tls import CLOCK_CODES
from ravatar_audio.api.tokens import token_lifetime_s
from ravatar_audio.diagnosis.finding import Finding, FindingError, attempt
from ravatar_audio.errors import CertificateError, RavatarError, UnreachableError
from ravatar_audio.session.selection import choose_language, choose_live_avatar
from ravatar_audio.settings import Settings

CLOCK_TOLERANCE_S = 60.0
"""Largest difference of the clocks: beyond it tokens count as expired, or not yet valid, although they are fine."""


class PlatformChecks:
    """Name, address, TLS, clock, token, connection data, WebSocket; with `with_slot` a live slot and its page.

    Where a proxy stands between, name and address are the proxy's: the platform's need not be known here.
    """

    def __init__(self, platform: Platform, *, with_slot: bool) -> None:
        self.platform = platform
        self.settings: Settings = platform.settings
        self.with_slot = with_slot
        parts = urlsplit(self.settings.api_url)
        self.is_tls: bool = parts.scheme == "https"
        self.proxy: Proxy | None = platform.proxy_for(self.settings.api_url)
        self.host: str
        self.port: int
        self.host, self.port = parts.hostname or "", parts.port or (443 if self.is_tls else 80)
        if self.proxy is not None:
            self.host = self.proxy.host
            self.port = self.proxy.port
        self._is_clock_suspect = False
        self._headers: Mapping[str, str] = {}
        self._connection: Connection | None = None
        self._page: str = ""

    async def run(self) -> AsyncIterator[Finding]:
        """Yield each finding as it is made. After a problem, what depends on it is skipped."""
        steps: list[tuple[str, Callable[[], Awaitable[str]]]] = [
            ("name", self.check_name),
            ("address", self.check_address),
            ("TLS and HTTP", self.check_http),
            ("clock", self.check_clock),
            ("token", self.check_token),
            ("connection data", self.check_connection),
            ("WebSocket", self.check_websocket),
        ]
        if self.with_slot:
            steps += [("live slot", self.check_slot), ("streaming page", self.check_page)]
        if (used := proxies_used(self.platform)) is not None:
            yield Finding("proxy", "ok", used)
        failed = ""
        for name, check in steps:
            if failed and not (name == "clock" and self._is_clock_suspect):
                yield Finding(name, "skipped", f"needs {failed}")
                continue
            finding = await attempt(name, check)
            if finding.status == "error":
                failed = name
            yield finding

    async def check_name(self) -> str:
        began_s = trio.current_time()
        try:
            found = await trio.socket.getaddrinfo(self.host, self.port, type=trio.socket.SOCK_STREAM)
        except OSError as error:
            why = "; ".join([str(error.strerror), *await name_servers.slow_ones(self.host, name_servers.configured())])
            raise UnreachableError(
                f"the host {self.host!r} cannot be found: {why}",
                advice=f"Check {'the proxy' if self.proxy else 'api_url'}, the network and its name server.",
            ) from error
        took_s = trio.current_time() - began_s
        if took_s > name_servers.SLOW_S:
            slow = await name_servers.slow_ones(self.host, name_servers.configured())
            raise FindingError(
                "; ".join([f"looking up {self.host} took {took_s:.1f} s", *slow]),
                "Take the slow name server out of the network's settings; each new connection waits for it.",
            )
        return f"{self.host} is {', '.join(sorted({str(item[4][0]) for item in found}))}"

    async def check_address(self) -> str:
        began_s = time.monotonic()
        limit_s = self.settings.connect_timeout_ms / 1000
        try:
            with trio.fail_after(limit_s):
                stream = await trio.open_tcp_stream(self.host, self.port)
        except (OSError, trio.TooSlowError) as error:
            why = f"no answer in {limit_s:g} s" if isinstance(error, trio.TooSlowError) else "it is refused"
            raise UnreachableError(
                f"no connection to {self.host}:{self.port}: {why}",
                advice="Check the proxy's address and port."
                if self.proxy
                else "Check api_url's port, and whether a firewall or proxy stands between.",
            ) from error
        await stream.aclose()
        return f"{self.host}:{self.port} answers in {(time.monotonic() - began_s) * 1e3:.0f} ms"

    async def check_http(self) -> str:
        try:
            status, self._headers = await self.platform.look_at(self.settings.api_url)
        except CertificateError as error:
            if error.details.get("verify_code") in CLOCK_CODES:  # then the clock is the first thing to look at
                with suppress(RavatarError):
                    self._headers = await self.platform.look_unverified()
                    self._is_clock_suspect = True
            raise
        secured = "TLS and HTTP work" if self.is_tls else "HTTP works, without TLS"
        said = f"{secured} (status {status} at the root)"
        if (place := self.settings.in_the_clear) is not None:
            raise FindingError(
                f"{said}; {place} is not encrypted: token and sound can be read on the way",
                "Use https:// and wss:// addresses.",
            )
        return said

    async def check_clock(self) -> str:
        try:
            theirs_s = parsedate_to_datetime(self._headers["date"]).timestamp()
        except (KeyError, ValueError):
            return "the platform does not say its time"
        ahead_s = time.time() - theirs_s
        if abs(ahead_s) > CLOCK_TOLERANCE_S:
            direction = "ahead" if ahead_s > 0 else "behind"
            raise FindingError(
                f"this machine's clock is {abs(ahead_s):.0f} s {direction} of the platform's",
                "Set the clock (on Linux: timedatectl set-ntp true); tokens count as expired otherwise.",
            )
        return f"within {max(1, round(abs(ahead_s)))} s of the platform's"

    async def check_token(self) -> str:
        token = await self.platform.tokens.get()
        lifetime_s = token_lifetime_s(token)
        return "issued" if lifetime_s == float("inf") else f"issued, valid for {lifetime_s / 3600:.1f} h"

    async def check_connection(self) -> str:
        connection = self._connection = await self.platform.connection()
        avatar = choose_live_avatar(connection, self.settings.avatar_id)
        language = choose_language(connection, self.settings.language)
        return (
            f"{len(connection.avatars)} avatars, {len(connection.languages)} languages; "
            f"{avatar.name or avatar.id} would be taken, in {language.code}"
        )

    async def check_websocket(self) -> str:
        limits = LinkLimits.from_settings(self.settings)
        token = await self.platform.tokens.get()
        try:
            async with open_link(
                self.settings.websocket_url,
                token,
                self.platform.ssl_context,
                limits,
                lookups=self.platform.lookups,
                proxy=self.platform.proxy_for(self.settings.websocket_url),
                cookies=self.platform.cookies_for_websocket(),
            ) as link:
                handshake_s = link.handshake_s
        except LinkDown as down:
            raise down.error() from down
        return f"open after {handshake_s * 1e3:.0f} ms"

    async def check_slot(self) -> str:
        assert self._connection is not None
        avatar = choose_live_avatar(self._connection, self.settings.avatar_id)
        start = await self.platform.start_live(avatar.id, width=self.settings.width, height=self.settings.height)
        with trio.CancelScope(shield=True):
            await self.platform.end_live(start.license_id)
        token = await self.platform.tokens.get()
        self._page = viewer_url(start.streaming_url, token, page_is_https=self.is_tls)
        return "taken and given back"

    async def check_page(self) -> str:
        host = urlsplit(self._page).hostname
        if not host:
            raise FindingError("the platform named no streaming page", "Ask the platform's support.", exit_code=5)
        status, headers = await self.platform.look_at(self._page)
        if status >= 400 and status not in (401, 403, 404, 410):  # the slot has been given back: these are in order
            raise FindingError(f"the streaming page at {host} answers {status}", "Try again later.", exit_code=5)
        if why := forbids_framing(headers):
            raise FindingError(
                f"the streaming page at {host} forbids framing ({why})",
                "Open it in a window of its own, or have the platform allow your site.",
            )
        return f"{host} answers and may be framed"


def proxies_used(platform: Platform) -> str | None:
    """Return which proxy HTTP and the WebSocket go through; None where none is set at all."""
    settings = platform.settings
    http, websocket = map(platform.proxy_for, (settings.api_url, settings.websocket_url))
    if http is not None and http == websocket:
        return f"HTTP and WebSocket go through {http}"
    if http is not None or websocket is not None:
        return f"HTTP goes {_way(http)}, the WebSocket {_way(websocket)}"
    if settings.proxy == NO_PROXY:
        return "none is used: the setting says so"
    named = any(os.environ.get(name) for name in (*PROXY_VARIABLES, *map(str.upper, PROXY_VARIABLES)))
    return "none is used: the environment names one, but not for these addresses (NO_PROXY)" if named else None


def _way(proxy: Proxy | None) -> str:
    return f"through {proxy}" if proxy else "directly"


def forbids_framing(headers: Mapping[str, str]) -> str:
    """Return which header keeps a page out of other sites' frames; empty when none does."""
    lowered = {name.lower(): value for name, value in headers.items()}
    for directive in lowered.get("content-security-policy", "").split(";"):
        words = directive.split()
        if words and words[0].lower() == "frame-ancestors":  # it goes before X-Frame-Options
            return "" if "*" in words else f"frame-ancestors {' '.join(words[1:])}"
    option = lowered.get("x-frame-options", "").strip()
    return f"X-Frame-Options {option}" if option.upper() in ("DENY", "SAMEORIGIN") else ""
