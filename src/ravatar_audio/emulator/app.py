"""The HTTP endpoints, and the handshake of the WebSocket: a Starlette application."""

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from ravatar_audio.emulator import contract, page
from ravatar_audio.emulator.client_socket import ClientSocket
from ravatar_audio.emulator.contract import Violation
from ravatar_audio.emulator.faults import Fault, FaultScript
from ravatar_audio.emulator.files import file_answer
from ravatar_audio.emulator.platform_state import BUSY, Live, PlatformState
from ravatar_audio.emulator.relay import RelayedConnection
from ravatar_audio.emulator.statistics import ConnectionStatistics
from ravatar_audio.emulator.token_issuer import TokenRefused
from ravatar_audio.observe.log import line_logger

_log = line_logger(__name__)

_Handler = Callable[[Request], Awaitable[Response]]
_ERRORS = {402: "payment_required", 403: "token_expired", 500: "token_generation_failed", 503: BUSY}


class App:
    """Endpoints over a `PlatformState`; `find_link` gives the link whose server-side port a request came from."""

    def __init__(
        self,
        platform: PlatformState,
        script: FaultScript,
        find_link: Callable[[int], RelayedConnection | None],
        api_url: str,
    ) -> None:
        self._platform = platform
        self._script = script
        self._find_link = find_link
        self._api_url = api_url
        self._handshakes = 0
        self.open: list[ClientSocket] = []
        self.ended: list[ConnectionStatistics] = []
        routes = [
            Route("/jwt", self._endpoint("jwt", self._jwt), methods=["POST"]),
            Route("/connection", self._endpoint("connection", self._connection), methods=["GET"]),
            Route("/startLiveSession", self._endpoint("startLiveSession", self._start), methods=["POST"]),
            Route("/endLiveSession", self._endpoint("endLiveSession", self._end), methods=["POST"]),
            Route("/chat", self._endpoint("chat", self._chat), methods=["GET"]),
            Route("/stream/{stream_id}", self._endpoint("stream", self._stream), methods=["GET"]),
            Route("/stream/{stream_id}/state", self._stream_state, methods=["GET"]),
            Route("/files/{name}", self._file, methods=["GET"]),
            Route("/icons/{name}", self._icon, methods=["GET"]),
            WebSocketRoute("/ws/chat", self._converse),
        ]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=["*"],
            allow_headers=["*"],
            allow_private_network=True,
            expose_headers=["Retry-After", "Accept-Ranges", "Content-Range"],
        )
        self.asgi: Starlette = Starlette(routes=routes, middleware=[cors])

    @property
    def connections(self) -> tuple[ConnectionStatistics, ...]:
        """All WebSockets, in the order of their handshakes."""
        known = [*self.ended, *(conversation.statistics() for conversation in self.open)]
        return tuple(sorted(known, key=lambda item: item.number))

    # -- what all endpoints have in common --

    def _endpoint(self, name: str, handler: _Handler) -> _Handler:
        async def answer(request: Request) -> Response:
            response = await self._answer(name, handler, request)
            self._platform.requests[name][response.status_code] += 1
            _log.debug("%s %s: %d", request.method, name, response.status_code)
            return response

        return answer

    async def _answer(self, name: str, handler: _Handler, request: Request) -> Response:
        fault = self._script.strike(name, "http")
        if fault is not None and (response := await self._go_wrong(fault, request)) is not None:
            return response
        try:
            return await handler(request)
        except Violation as violation:
            self._platform.note_violation(name, violation)
            values = {"error": violation.code, "field": violation.field, "message": str(violation)}
            return _json({"status": violation.status, "result": "failure", **values}, violation.status)
        except TokenRefused as refused:
            return _json({"status": 403, "error": refused.code}, 403)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody

    async def _go_wrong(self, fault: Fault, request: Request) -> Response | None:
        """Carry out a fault; None when the endpoint shall answer as ever."""
        match fault.do:
            case "status":
                headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
                if fault.body == "html":
                    return _page(fault.status, headers)
                error = _ERRORS.get(fault.status, "scripted_fault")
                return _json({"status": fault.status, "result": "failure", "error": error}, fault.status, headers)
            case "garbage":
                return Response("<html>502 Bad Gateway</html>", media_type="application/json")
            case "oversized":
                return _json({"status": 200, "result": "x" * fault.size_bytes}, 200)
            case "delay":
                await trio.sleep(fault.delay_s)
            case "expire_token":
                self._platform.tokens.expire_all()
            case "expire_session":
                self._platform.expire_sessions()
            case "forget":
                self._platform.forget(*fault.memories)
            case _:
                if (link := self._link(request)) is not None:
                    link.apply(fault)
        return None

    def _link(self, request: HTTPConnection) -> RelayedConnection | None:
        return self._find_link(request.client.port) if request.client else None

    def _user(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return self._platform.tokens.check(token if scheme.lower() == "bearer" else None)

    def _base_url(self, request: HTTPConnection) -> str:
        """This emulator's address as the client knows it."""
        host = request.headers.get("host")
        return f"{self._api_url.partition('://')[0]}://{host}" if host else self._api_url

    # -- the endpoints --

    async def _jwt(self, request: Request) -> Response:
        user_id, project_id = contract.check_jwt_request(contract.as_object(await request.body(), "body"))
        projects = self._platform.settings.projects
        if projects is not None and project_id not in projects:
            raise Violation("project_id", "there is no such project", code="project_not_found", status=401)
        token = self._platform.tokens.issue(user_id, project_id)
        return _json({"result": "success", "token" if self._platform.settings.observed_names else "jwt": token})

    async def _connection(self, request: Request) -> Response:
        user_id = self._user(request)
        settings = self._platform.settings
        observed = settings.observed_names
        base = self._base_url(request)
        avatars = [
            {
                "id" if observed else "_id": avatar.id,
                "name": avatar.name,
                "hasLiveMode": avatar.has_live_mode,
                "greetingText": avatar.greeting,
                "previewIcons": dict.fromkeys(("small", "medium", "large"), f"{base}/icons/{avatar.id}.svg"),
                "startButtonIcon": f"{base}/icons/start.svg",
            }
            for avatar in settings.avatars
        ]
        languages = [{"name": name, "code" if observed else "language_code": code} for name, code in settings.languages]
        return _json(
            {
                "status": 200,
                "session": self._platform.new_session(user_id),
                "avatars_info": avatars,
                "languages": languages,
                "chat_types": ["text", "voice"],
                "vadEnabled": settings.vad_enabled,
            }
        )

    async def _start(self, request: Request) -> Response:
        user_id = self._user(request)
        body = contract.as_object(await request.body(), "body")
        avatar_id, width, height = contract.check_start_request(body, self._platform.live_avatar_ids)
        live = self._platform.start_live(user_id, avatar_id, (width, height))
        if live is None:
            return _json({"status": 503, "error": BUSY}, 503)
        url = f"{self._base_url(request)}/stream/{live.stream_id}"
        return _json({"status": 200, "LicenseId": live.license_id, "streamingUrl": url})

    async def _end(self, request: Request) -> Response:
        user_id = self._user(request)
        license_id = contract.check_end_request(contract.as_object(await request.body(), "body"))
        live = self._platform.find_license(license_id, user_id)
        if live is None:
            raise Violation("LicenseId", "it is no LicenseId that /startLiveSession gave to this user")
        live.end_calls += 1
        live.finish("ended")
        return _json({"status": 200})

    async def _chat(self, request: Request) -> Response:
        user_id = self._user(request)
        per_page, page = contract.check_history_request(request.query_params, user_id)
        items, has_more = self._platform.history(user_id, per_page, page)
        return _json({"payload": items, "has_more_messages": has_more})

    async def _stream(self, request: Request) -> Response:
        try:
            self._shown(request)
        except TokenRefused as refused:
            return page.refusal(403, "No access", f"The token of this address is refused: {refused.code}.")
        except KeyError:
            return page.refusal(404, "No such session", "This streaming address belongs to no live session.")
        return page.page(self._platform.settings.frame_ancestors)

    async def _stream_state(self, request: Request) -> Response:
        try:
            live = self._shown(request)
        except TokenRefused as refused:
            return _json({"status": 403, "error": refused.code}, 403)
        except KeyError:
            return _json({"status": 404, "error": "not_found"}, 404)
        since = request.query_params.get("since", "0")
        since_hops = int(since[:12]) if since.isascii() and since.isdigit() else 0
        return _json(page.state(live, self._platform.avatar_name(live.avatar_id), since_hops))

    def _shown(self, request: Request) -> Live:
        """The live session of a streaming address, for its own user."""
        user_id = self._platform.tokens.check(request.query_params.get("token"))
        live = self._platform.find_stream(request.path_params["stream_id"])
        if live is None:
            raise KeyError
        if live.user_id != user_id:
            raise TokenRefused("invalid_token")
        return live

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        data = self._platform.files.get(name)
        if data is None:
            return _json({"status": 404, "error": "not_found"}, 404)
        return file_answer(data, f'"{name}"', request.headers)

    async def _icon(self, request: Request) -> Response:
        letter = request.path_params["name"][0].upper()
        letter = letter if letter.isalnum() else "?"
        return Response(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">'
            '<circle cx="32" cy="32" r="32" fill="#2b6cb0"/>'
            f'<text x="32" y="43" font-family="sans-serif" font-size="32" text-anchor="middle" fill="#fff">{letter}'
            "</text></svg>",
            media_type="image/svg+xml",
        )

    # -- the WebSocket --

    async def _converse(self, socket: WebSocket) -> None:
        link = self._link(socket)
        fault = self._script.strike("socket")
        response = await self._handshake_fault(fault, link) if fault is not None else None
        user_id = ""
        if response is None:
            try:
                user_id = self._platform.tokens.check(socket.query_params.get("token"))
            except TokenRefused as refused:
                response = _json({"status": 403, "error": refused.code}, 403)
        self._platform.requests["socket"][101 if response is None else response.status_code] += 1
        if response is not None:
            await socket.send_denial_response(response)
            return
        await socket.accept()
        self._handshakes += 1
        base_url = self._base_url(socket)
        conversation = ClientSocket(self._handshakes, socket, user_id, self._platform, self._script, link, base_url)
        self.open.append(conversation)
        try:
            await conversation.run(fault if fault is not None and fault.do == "close" else None)
        finally:
            self.open.remove(conversation)
            self.ended.append(conversation.statistics())

    async def _handshake_fault(self, fault: Fault, link: RelayedConnection | None) -> Response | None:
        match fault.do:
            case "status":
                headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
                if fault.body == "html":
                    return _page(fault.status, headers)
                return _json({"status": fault.status, "error": "scripted_fault"}, fault.status, headers)
            case "delay":
                await trio.sleep(fault.delay_s)
            case "garbage" if link is not None:
                link.substitute(b"SSH-2.0-OpenSSH_9.2\r\n")
            case "expire_token":
                self._platform.tokens.expire_all()
            case "expire_session":
                self._platform.expire_sessions()
            case "forget":
                self._platform.forget(*fault.memories)
            case _ if link is not None:
                link.apply(fault)
        return None


def _page(status: int, headers: dict[str, str]) -> Response:
    """What answers in the platform's place."""
    return Response(f"<html><body>{status}</body></html>", status, headers, media_type="text/html")


def _json(values: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(values, status, headers)
