"""One WebSocket: what a client says is checked, counted, recorded and answered."""

import base64
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import trio
from starlette.websockets import WebSocket, WebSocketDisconnect

from ravatar_audio.emulator.contract import ClientMessage, Violation, check_message, check_recording, media_type
from ravatar_audio.emulator.faults import STREAM_ERRORS, Fault, FaultScript
from ravatar_audio.emulator.platform_state import Live, PlatformState
from ravatar_audio.emulator.relay import RelayedConnection
from ravatar_audio.emulator.statistics import ConnectionStatistics
from ravatar_audio.emulator.turn_detector import HANGOVER_S, DetectedTurn
from ravatar_audio.frames import RATE_HZ

_CLOSING: Final = (WebSocketDisconnect, trio.BusyResourceError)  # the latter while the library sends its FIN
_OUTBOX: Final = 100
_POLICY_VIOLATION: Final = 1008
_NO_SOUND_SAMPLES: Final = 3 * RATE_HZ


class BrokenText(str):
    """Text whose encoding is not UTF-8; the server library sends what it is given."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b'{"type": "incoming", "answer": "\xff\xfe\xc0"}'


class ClientSocket:
    """Runs one accepted WebSocket. `number` counts the handshakes from 1."""

    def __init__(
        self,
        number: int,
        socket: WebSocket,
        user_id: str,
        platform: PlatformState,
        script: FaultScript,
        link: RelayedConnection | None,
        base_url: str,
    ) -> None:
        self.number: int = number
        self.user_id: str = user_id
        self._base_url = base_url
        self._socket, self._platform, self._script, self._link = socket, platform, script, link
        self._speaker = platform.speaker(user_id)
        self._outbox, self._answers = trio.open_memory_channel[str | bytes](_OUTBOX)
        self._lives: set[Live] = set()
        self._expired: set[Live] = set()
        self._opened_s = trio.current_time()
        self._closed_s: float | None = None
        self._messages = self._frames = self._replies = self._replies_dropped = 0
        self._newest_frame: tuple[ClientMessage, Live] | None = None
        self._quiet_s = math.inf
        """When a turn is over because no more of it has come."""
        self._close_code: int | None = None

    def statistics(self) -> ConnectionStatistics:
        """Return the counters as of now."""
        sniffer = self._link.sniffer if self._link else None
        return ConnectionStatistics(
            number=self.number,
            user_id=self.user_id,
            opened_s=self._opened_s,
            closed_s=self._closed_s,
            messages=self._messages,
            frames=self._frames,
            pings=sniffer.pings if sniffer else 0,
            pongs=sniffer.pongs if sniffer else 0,
            replies=self._replies,
            replies_dropped=self._replies_dropped,
            client_close_code=sniffer.close_code if sniffer else None,
            close_code=self._close_code,
            is_torn=bool(sniffer and sniffer.is_torn),
        )

    async def run(self, fault: Fault | None = None) -> None:
        """Serve until either side closes; a fault strikes at once."""
        self._platform.note_open(self, self.user_id)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send)
                self._greet()
                if fault is not None:
                    await self.apply(fault)
                await self._receive()
                nursery.cancel_scope.cancel()
        finally:
            self._closed_s = trio.current_time()
            if self._close_code is None:
                said = self._link.sniffer.close_code if self._link else None
                self._close_code = 1006 if said is None else said
            self._platform.note_closed(self, self.user_id)

    def may_carry(self, live: Live) -> bool:
        """Return whether it is one of this live session: it has carried it, or has not carried any, being silent."""
        return live in self._lives or (not self._lives and live.user_id == self.user_id)

    # -- to the client --

    def say(self, message: Mapping[str, Any] | str | bytes) -> None:
        """Send something; an answer that the client does not read in time is dropped and counted."""
        ready = message if isinstance(message, str | bytes) else json.dumps(message, ensure_ascii=False)
        try:
            self._outbox.send_nowait(ready)
        except trio.WouldBlock:
            self._replies_dropped += 1

    async def close(self, code: int, reason: str = "") -> None:
        """Say Close."""
        if self._close_code is None and self._closed_s is None:
            self._close_code = code
            with suppress(*_CLOSING):
                await self._socket.close(code, reason)

    async def _send(self) -> None:
        async for message in self._answers:
            if self._close_code is not None:
                return
            kind = "text" if isinstance(message, str) else "bytes"
            try:
                await self._socket.send({"type": "websocket.send", kind: message})
            except _CLOSING:
                return  # how it ended is for the receiver to see
            self._replies += 1

    def _emit(self, kind: str, text_field: str, text: str, **fields: Any) -> None:
        """A message of the platform, by the guide's names or by those seen on deployments."""
        now = datetime.now(UTC)
        if self._platform.settings.observed_names:
            self.say({"direction": kind, "content": text, **fields, "date": round(now.timestamp())})
        else:
            self.say({"type": kind, text_field: text, **fields, "timestamp": now.isoformat(timespec="milliseconds")})

    def _greet(self) -> None:
        active = self._platform.active_of(self.user_id)
        avatar_id = active[-1].avatar_id if active else self._platform.settings.avatars[0].id
        avatar = next(item for item in self._platform.settings.avatars if item.id == avatar_id)
        self._emit("connection", "message", avatar.greeting, avatar_id=avatar.id)

    def _answer(self, message: ClientMessage, live: Live | None, text: str, **fields: Any) -> None:
        """An avatar's answer, remembered."""
        if live is not None:
            live.said.append(("avatar", text))
        item = self._platform.remember(
            self.user_id,
            "incoming",
            text,
            avatar_id=message.avatar_id,
            chat_type="text" if message.kind == "text" else "voice",
            language_code=message.language,
            **fields,
        )
        if self._platform.settings.observed_names and "fileUrl" in fields:
            sound = base64.b64encode(message.data).decode()
            fields = {"audio_base64": f"data:{media_type(message.data)};base64,{sound}"}
        self._emit(
            "incoming",
            "answer",
            text,
            avatar_id=message.avatar_id,
            session=message.session,
            chat_type=item["chat_type"],
            requestType="text" if message.kind == "text" else "audio",
            isLive=live is not None,
            **fields,
        )

    def stream_error(self, error: str) -> None:
        """Send one of the platform's stream errors, as an event; its text is where the platform's own app looks for
        it.
        """
        self._emit("event", "content", STREAM_ERRORS[error], error=error)

    # -- from the client --

    async def _receive(self) -> None:
        while True:
            with trio.move_on_at(self._quiet_s) as patience:
                try:
                    event = await self._socket.receive()
                except WebSocketDisconnect:
                    return
            if patience.cancelled_caught:
                self._note_pause()
                continue
            if event["type"] != "websocket.receive":
                return
            self._messages += 1
            if (fault := self._script.strike("message")) is not None:
                await self.apply(fault)
                if self._close_code is not None:
                    continue
            text = event.get("text")
            try:
                self._take(check_message(event.get("bytes") or b"" if text is None else text, self._speaker))
            except Violation as violation:
                self._platform.note_violation("message", violation)
                self._refuse(violation)

    def _refuse(self, violation: Violation) -> None:
        """Answer what breaks the contract. Nobody knows how the platform words that: this is one way, and a setting."""
        if self._platform.settings.refusal is not None:
            self.say(self._platform.settings.refusal)
        else:
            self._emit("system", "message", str(violation), error="invalid_message", field=violation.field)

    def _take(self, message: ClientMessage) -> None:
        live = None
        if message.license_id is not None:
            live = self._platform.find_license(message.license_id, self.user_id)
            assert live is not None  # the contract has looked it up
            if not self._platform.is_active(live):
                if message.kind != "pcm" or live not in self._expired:  # once is enough for a stream
                    self.stream_error("Expired")
                self._expired.add(live)
                return
            if live.avatar_id != message.avatar_id:
                raise Violation("avatar_id", "it is not the avatar of this live session")
            live.attach(self.number)
            self._lives.add(live)
        match message.kind:
            case "text":
                self._take_text(message, live)
            case "voice":
                self._take_voice(message, live)
            case "pcm":
                assert live is not None  # the contract wants isLive for PCM
                self._take_pcm(message, live)

    def _remember(self, message: ClientMessage, live: Live | None, text: str, **fields: Any) -> None:
        if live is not None:
            live.said.append(("user", text))
        self._platform.remember(
            self.user_id,
            "outgoing",
            text,
            avatar_id=message.avatar_id,
            chat_type="text" if message.kind == "text" else "voice",
            language_code=message.language,
            **fields,
        )

    def _take_text(self, message: ClientMessage, live: Live | None) -> None:
        if live is not None:
            live.texts += 1
        self._remember(message, live, message.text)
        words = len(message.text.split())
        text = f"You wrote: {message.text} ({words} {'word' if words == 1 else 'words'}, in {message.language})"
        if live is not None and live.frames:
            text += f" I have heard {live.frames * 0.256:.1f} s of you in this session."
        self._answer(message, live, text)

    def _take_voice(self, message: ClientMessage, live: Live | None) -> None:
        if live is not None:
            live.voice_messages += 1
        length_s = check_recording(message.data)
        url = f"{self._base_url}/files/{self._platform.keep_voice(message.data)}"
        how = "push-to-talk" if message.is_push_to_talk else "voice"
        length = f"{length_s:.1f} s" if length_s is not None else f"{len(message.data)} bytes of WebM"
        self._remember(message, live, f"({how} message, {length})", fileUrl=url)
        self._answer(message, live, f"I got your {how} message of {length}; here it is again.", fileUrl=url)

    def _take_pcm(self, message: ClientMessage, live: Live) -> None:
        self._frames += 1
        for turn in live.take_frame(message, self.number, self._platform.folder):
            self._answer_turn(message, live, turn)
        self._newest_frame = message, live
        self._quiet_s = trio.current_time() + HANGOVER_S if live.turn_detector.is_in_turn else math.inf
        if not live.has_warned and live.turn_detector.zero_run_samples >= _NO_SOUND_SAMPLES:
            live.has_warned = True
            self._answer(message, live, "I hear nothing but zeros: is your microphone muted?")

    def _note_pause(self) -> None:
        """Sound has stopped coming in the midst of a turn, as a client does that sends turns only."""
        self._quiet_s = math.inf
        if self._newest_frame is not None:
            message, live = self._newest_frame
            if self._platform.is_active(live) and (turn := live.note_pause()) is not None:
                self._answer_turn(message, live, turn)

    def _answer_turn(self, message: ClientMessage, live: Live, turn: DetectedTurn) -> None:
        self._remember(message, live, f"({turn.length_s:.1f} s of speech)")
        self._answer(message, live, turn.sentence())

    # -- what goes wrong on purpose --

    async def apply(self, fault: Fault) -> None:
        """Carry out a fault of a message, or of the link."""
        match fault.do:
            case "close":
                await self.close(fault.code, fault.reason)
            case "delay":
                await trio.sleep(fault.delay_s)
            case "garbage":
                self.say("<html>502 Bad Gateway</html>")
            case "oversized":
                self.say({"type": "incoming", "answer": "x" * fault.size_bytes})
            case "binary":
                self.say(b"\x00\x01binary\xff")
            case "broken_text":
                self.say(BrokenText("broken"))
            case "stream_error":
                if fault.error == "Expired":
                    self._platform.expire_sessions()
                self.stream_error(fault.error)
            case "expire_session":
                self._platform.expire_sessions()
            case "forget":
                self._platform.forget(*fault.memories)
            case "expire_token":
                self._platform.tokens.expire_all()
                await self.close(_POLICY_VIOLATION, "token expired")
            case _:
                if self._link is not None:
                    self._link.apply(fault)
