"""The platform's HTTP endpoints.

| status | what it becomes |
| --- | --- |
| 2xx | the typed result |
| 400 | BadRequestError |
| 401, 403 | one new token for all callers in flight, the request once more, then AuthenticationError |
| 402 | PaymentRequiredError |
| 503 | BusyError; before that, as many tries as fit into the time that the caller waits for a slot |
| 503 that is not JSON, from a gateway or a proxy | as 502: GatewayTimeoutError, not BusyError |
| 408, 429, 502, 504, no answer in time | up to four tries, backed off, then GatewayTimeoutError |
| no connection, or one that breaks | the same, then UnreachableError |
| a certificate that is refused | CertificateError |
| an HTTP proxy that refuses, or cannot be reached | ProxyError; tried again as above where it may pass |
| other 3xx, 4xx, and an answer that is not JSON or not HTTP | ProtocolError: this is no endpoint of the platform |
| other 5xx | ServerError |

`Retry-After` is honoured wherever there is a next try.
"""

import math
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trio

from ravatar_audio.api.answers import read_object, retry_after_s
from ravatar_audio.api.backoff import Backoff
from ravatar_audio.api.connecting import NameLookups
from ravatar_audio.api.heartbeat import Watchdog
from ravatar_audio.api.proxy import Proxy, choose_proxy
from ravatar_audio.api.results import ChatItem, ChatPage, Connection, LiveStart, parse_jwt_answer
from ravatar_audio.api.shared import Shared
from ravatar_audio.api.tls import make_ssl_context
from ravatar_audio.api.token_source import FetchToken, fetch_own_token
from ravatar_audio.api.tokens import Tokens
from ravatar_audio.errors import (
    AuthenticationError,
    BusyError,
    GatewayTimeoutError,
    ProxyError,
    RavatarError,
    SettingsError,
    UnreachableError,
)
from ravatar_audio.groups import finish
from ravatar_audio.observe.log import Log
from ravatar_audio.settings import PROJECT_ID, USER_ID, Settings

if TYPE_CHECKING:
    from ravatar_audio.api.exchange import Exchange

TRIES = 4
"""Most tries of a call that fails for a passing reason: the first, and as many again as the platform's demo makes."""

SAY_AGAIN_S = 20.0
"""Time after a warning of a failed try until the same reason is worth another."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request to the platform that has ended, for `Platform(on_call=…)`. Nothing secret is in it."""

    method: str
    path: str
    """As "/startLiveSession"."""
    status: int | None
    """Of the answer; None: there was none."""
    error_code: str | None
    """Of the error that it became; None: it was of use, or was cancelled (without a status)."""
    elapsed_s: float


class Platform:
    """The endpoints, for one user: an async context manager that owns the connections, the TLS context and the token.

    Safe to share between sessions and tasks. All calls raise errors of the RavatarError tree and nothing else.
    """

    def __init__(
        self,
        settings: Settings,
        user_id: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        shared: Shared | None = None,
        on_call: Callable[[HttpCall], None] | None = None,
        fetch_token: FetchToken | None = None,
    ) -> None:
        """Raises SettingsError for a user id that the platform would refuse, and for a proxy or files of no use.

        `shared` is what many clients of one process have in common, `ssl_context` that of TLS alone; default: all of
        its own. `on_call` is called with each HTTP request that has ended, tries included, and must return at once.
        `fetch_token` gives the tokens, in place of `POST /jwt`; it must return within `request_timeout_ms`.
        """
        if not USER_ID.fullmatch(user_id):
            raise SettingsError(f"user_id is {user_id!r}; it must be 1 to 128 letters, digits, '-' or '_'")
        if settings.project_id is not None and not PROJECT_ID.fullmatch(settings.project_id):
            raise SettingsError(f"project_id is {settings.project_id!r}; it must be 1 to 64 letters, digits or '-'")
        self.settings = settings
        self.user_id = user_id
        self.shared = shared
        self.watchdog: Watchdog | None = shared.watchdog if shared else None
        self.ssl_context: ssl.SSLContext = ssl_context or (shared.ssl_context if shared else make_ssl_context(settings))
        self.lookups: NameLookups = shared.lookups if shared else NameLookups(settings.lookup_timeout_ms / 1000)
        self._on_call, self._fetch_token = on_call, fetch_token
        self.log: Log = Log()
        self.tokens: Tokens = Tokens(self.request_token)
        for url in filter(None, (settings.api_url, settings.websocket_url, settings.token_url)):
            self.proxy_for(url)  # whatever is wrong with it is said now
        if (place := settings.in_the_clear) is not None:
            self.log.warning("%s is not encrypted: token and sound can be read by everybody on the way", place)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @cached_property
    def _exchange(self) -> "Exchange":
        return self._new_exchange(self.ssl_context)

    @cached_property
    def _token_exchange(self) -> "Exchange":
        """With the product's own back end: no cookie of one goes to the other."""
        return self._new_exchange(self.ssl_context, self.settings.token_url)

    def _new_exchange(self, ssl_context: ssl.SSLContext, url: str | None = None) -> "Exchange":
        from ravatar_audio.api.exchange import Exchange  # the HTTP library: only where something is asked

        return Exchange(
            ssl_context,
            self.lookups,
            self.proxy_for(url or self.settings.api_url),
            self.log,
            request_s=self.settings.request_timeout_ms / 1000,
            connect_s=self.settings.connect_timeout_ms / 1000,
        )

    def proxy_for(self, url: str) -> Proxy | None:
        """Return the HTTP proxy that a connection to `url` goes through, by the settings and the environment."""
        return choose_proxy(self.settings.proxy, url, os.environ)

    async def aclose(self) -> None:
        """Close the connections. May be called again."""
        for name in ("_exchange", "_token_exchange"):
            if name in self.__dict__:
                await getattr(self, name).aclose()

    async def request_token(self) -> str:
        """`POST /jwt`: a new token, or the product's own one. Use `tokens.get()`, which asks only when one is needed.

        With `fetch_token` that is asked; with the setting `token_url` that address is, by the same request and answer.
        """
        body = {"user_id": self.user_id}
        if self.settings.project_id is not None:
            body["project_id"] = self.settings.project_id
        if self._fetch_token is not None:
            token = await fetch_own_token(self._fetch_token, self.settings.request_timeout_ms / 1000)
        else:
            path = "/jwt" if self.settings.token_url is None else self.settings.token_url
            token = parse_jwt_answer(await self._call("POST", path, body=body, authorised=False))
        self.log.add_secret(token)
        return token

    async def connection(self) -> Connection:
        """`GET /connection`: the conversation's id, avatars and languages."""
        return Connection.parse(await self._call("GET", "/connection"))

    async def start_live(
        self,
        avatar_id: str,
        *,
        width: int = 1280,
        height: int = 720,
        slot_wait_s: float = 0.0,
        grace_s: float = 0.0,
        on_start: Callable[[LiveStart], None] = lambda start: None,
    ) -> LiveStart:
        """`POST /startLiveSession`: take a slot, waiting up to `slot_wait_s` for a free one.

        Cancelled while a request is under way, its answer is waited for `grace_s` longer; `on_start` gets what was
        answered, then as well, so that the slot can be given back.
        Width is 1 to 1920 pixels, height 1 to 1080; raises SettingsError for others, BusyError when no slot is free.
        """
        if not avatar_id:
            raise SettingsError("avatar_id is empty; choose an avatar that GET /connection offers")
        for name, value, limit in (("width", width, 1920), ("height", height, 1080)):
            if not 1 <= value <= limit:
                raise SettingsError(f"{name} is {value}; it must be 1 to {limit}")
        body = {"avatar_id": avatar_id, "width": str(width), "height": str(height)}

        def take(answer: Mapping[str, Any]) -> None:
            start = LiveStart.parse(answer)
            self.log.add_secret(start.license_id)
            on_start(start)

        def note_waiting() -> None:
            self.log.warning(
                "interrupted while the platform starts a live session: its answer is waited for, up to %g s, to end it",
                grace_s,
            )

        def note_lost() -> None:
            self.log.warning(
                "the answer to POST /startLiveSession was lost: if the platform has started a live session, it holds "
                "a slot until the platform ends it by itself"
            )

        async def once(*request: Any) -> Mapping[str, Any]:
            call = partial(self._once, *request)
            try:
                return await finish(call, take, grace_s, on_wait=note_waiting, on_lost=note_lost)
            except RavatarError as error:
                if error.details.get("is_answer_lost"):
                    note_lost()
                raise

        answer = await self._call("POST", "/startLiveSession", body=body, slot_wait_s=slot_wait_s, once=once)
        return LiveStart.parse(answer)

    async def end_live(self, license_id: str) -> None:
        """`POST /endLiveSession`: give the slot back.

        Tries follow each other quickly, as this is asked on the way out; also while the platform is busy.
        """
        backoff = Backoff(first_s=0.05, base_s=0.2, cap_s=2.0)
        await self._call(
            "POST", "/endLiveSession", body={"LicenseId": license_id}, slot_wait_s=math.inf, backoff=backoff
        )

    async def chat_page(self, page: int = 1, per_page: int = 20) -> ChatPage:
        """`GET /chat`: one page of the history, from 1."""
        query = {"user_id": self.user_id, "per_page": str(per_page), "page": str(page)}
        return ChatPage.parse(await self._call("GET", "/chat", query=query))

    async def chat(self, *, per_page: int = 20) -> AsyncIterator[ChatItem]:
        """Yield the history, page after page, in the platform's order."""
        page = 1
        while True:
            answer = await self.chat_page(page, per_page)
            for item in answer.items:
                yield item
            if not answer.has_more or not answer.items:
                return
            page += 1

    async def look_at(self, url: str) -> tuple[int, Mapping[str, str]]:
        """Return status and headers of any page, without its content or our token; for finding out why it cannot be
        shown.

        `url` may hold a token, so errors name its host only. Raises NetworkError or ProtocolError.
        """
        answer = await self._exchange.look_at(url)
        return answer.status, answer.headers

    async def look_unverified(self) -> Mapping[str, str]:
        """Return the headers at api_url, the server's certificate unchecked and without our token: for the time in
        them.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # nothing secret is sent, and what comes back is only compared
        exchange = self._new_exchange(context)
        try:
            return (await exchange.look_at(self.settings.api_url)).headers
        finally:
            await exchange.aclose()

    def cookies_for_websocket(self) -> str:
        """Return the Cookie header that the answers so far have set for it; empty where they have set none.

        A load balancer keeps a client at one server so, and the WebSocket must come to the one that the calls came to.
        """
        return self._exchange.cookies_for(self.settings.websocket_url)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        authorised: bool = True,
        slot_wait_s: float = 0.0,
        backoff: Backoff | None = None,
        once: Callable[..., Awaitable[Mapping[str, Any]]] | None = None,
    ) -> Mapping[str, Any]:
        """One call by the retry rules at the head of this module."""
        once = once or self._once
        backoff = backoff or Backoff(first_s=1.0, base_s=2.0, cap_s=8.0)
        slot_deadline_s = trio.current_time() + slot_wait_s
        may_refresh = authorised
        retry_log = _RetryLog(self.log)
        tries = 0
        while True:
            token = await self.tokens.get() if authorised else None
            tries += 1
            try:
                return await once(method, path, body, query, token)
            except AuthenticationError:
                if token is None or not may_refresh:
                    raise
                may_refresh = False
                self.tokens.invalidate(token)
                continue
            except BusyError as error:
                failure: RavatarError = error
                delay_s = backoff.next_delay_s(retry_after_s(error))
                if trio.current_time() + delay_s >= slot_deadline_s:
                    raise
            except (UnreachableError, GatewayTimeoutError, ProxyError) as error:
                failure = error
                delay_s = backoff.next_delay_s(retry_after_s(error))
                is_waiting = trio.current_time() + delay_s < slot_deadline_s < math.inf
                is_enough = tries >= TRIES or delay_s > self.settings.request_timeout_ms / 1000
                if not error.retryable or (is_enough and not is_waiting):
                    raise
            retry_log.note(failure, delay_s)
            await trio.sleep(delay_s)

    async def _once(
        self,
        method: str,
        path: str,
        body: Mapping[str, str] | None,
        query: Mapping[str, str] | None,
        token: str | None,
    ) -> Mapping[str, Any]:
        is_own = path == self.settings.token_url
        url = path if is_own else self.settings.api_url.rstrip("/") + path
        exchange = self._token_exchange if is_own else self._exchange
        call = f"{method} {path}"
        began_s = time.monotonic()
        status: int | None = None
        error_code: str | None = None
        try:
            answer = await exchange.fetch(method, url, call=call, body=body, query=query, token=token)
            status = answer.status
            return read_object(call, answer.status, answer.content, answer.headers, self.log.redact)
        except RavatarError as error:
            error_code = error.code
            raise
        finally:
            if self._on_call is not None:
                self._on_call(HttpCall(method, path, status, error_code, time.monotonic() - began_s))


class _RetryLog:
    """Warns of what is tried again: of the first failure, of another reason, and of the same one every 20 s.

    Being busy is said once: that may last for hours. All others are debug lines.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reason = ""
        self._said_s = -math.inf

    def note(self, failure: RavatarError, delay_s: float) -> None:
        """Note that a try has failed; the next one is in `delay_s`."""
        now_s = trio.current_time()
        is_stale = now_s - self._said_s >= SAY_AGAIN_S and not isinstance(failure, BusyError)
        is_news = is_stale or failure.message != self._reason
        if is_news:
            self._reason, self._said_s = failure.message, now_s
        (self._log.warning if is_news else self._log.debug)("%s; next try in %.1f s", failure.message, delay_s)
