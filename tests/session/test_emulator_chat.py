"""The emulator's WebSocket: each row of the messages' tables is sent over a real socket, and answered."""

import base64
import io
import json
import wave
from typing import Any

import pytest
from trio_websocket import WebSocketConnection

from ravatar_audio.emulator import Fault

from ..frames import frame_pcm
from .emulator_client import Client, close_reason, open_emulator


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(frame_pcm(0) * 4)
    return buffer.getvalue()


async def say(socket: WebSocketConnection, message: str) -> dict[str, Any]:
    """Send, and the next answer."""
    await socket.send_message(message)
    answer: dict[str, Any] = json.loads(await socket.get_message())
    return answer


def voice(client: Client, *, live: bool, **fields: Any) -> str:
    sound = {"chat_type": "voice", "requestType": "audio", "file_base64_data": base64.b64encode(wav()).decode()}
    return json.dumps(client.fields(live=live) | sound | fields)


@pytest.mark.parametrize("live", [False, True], ids=["chat mode", "live mode"])
@pytest.mark.row("say text")
async def test_row_text(live: bool) -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            answer = await say(socket, client.text_message("How are you?", live=live))
        assert (answer["type"], answer["chat_type"], answer["requestType"]) == ("incoming", "text", "text")
        assert answer["isLive"] is live
        assert answer["answer"] == "You wrote: How are you? (3 words, in en-US)"
        assert emulator.statistics().live[0].texts == live


@pytest.mark.parametrize("live", [False, True], ids=["chat mode", "live mode"])
@pytest.mark.parametrize("held", [{}, {"isPushToTalk": True}], ids=["vad", "push-to-talk"])
@pytest.mark.row("say recorded voice", "voice used in")
async def test_row_recorded_voice(live: bool, held: dict[str, bool]) -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            answer = await say(socket, voice(client, live=live, **held))
        assert (answer["type"], answer["chat_type"], answer["requestType"]) == ("incoming", "voice", "audio")
        assert f"{'push-to-talk' if held else 'voice'} message of 1.0 s" in answer["answer"]
        assert (await client.http.get(answer["fileUrl"])).content == wav()
        assert (emulator.folder / "voice-1.wav").read_bytes() == wav()
        assert emulator.statistics().live[0].voice_messages == live


@pytest.mark.row("observed spelling")
async def test_messages_can_come_by_the_names_seen_on_deployments() -> None:
    async with open_emulator(observed_names=True, login=False) as (emulator, client):
        client.jwt = (await client.http.post("/jwt", json={"user_id": "user-1"})).json()["token"]
        client.session = (await client.call("GET", "/connection")).json()["session"]
        async with client.socket() as socket:
            greeting = json.loads(await socket.get_message())
            assert greeting.keys() == {"direction", "content", "avatar_id", "date"}
            answer = await say(socket, voice(client, live=False))
            assert (answer["direction"], "fileUrl" in answer) == ("incoming", False)
            assert "voice message of 1.0 s" in answer["content"]
            head, _, sound = answer["audio_base64"].partition(",")
            assert (head, base64.b64decode(sound)) == ("data:audio/wav;base64", wav())
            assert (await say(socket, "nonsense"))["direction"] == "system"
            await emulator.strike(Fault(at="message", do="stream_error", error="Busy"))
            event = json.loads(await socket.get_message())
            assert (event["direction"], event["error"]) == ("event", "Busy")


@pytest.mark.row("say live PCM voice", "voice used in")
async def test_row_live_pcm_voice_with_a_declared_gap() -> None:
    async with open_emulator(reply_every_s=0.5) as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            await socket.send_message(client.pcm_message(frame_pcm(0)))
            answer = await say(socket, client.pcm_message(frame_pcm(3), lost_samples=8192))
            assert "0.5 s of sound" in answer["answer"]
            assert "8192 samples were missing" in answer["answer"]
        live = emulator.statistics().live[0]
        assert (live.frames, live.samples, live.declared_gaps, live.declared_lost_samples) == (2, 8192, 1, 8192)
        assert [(mark.position_samples, mark.why, mark.lost_samples) for mark in live.marks] == [
            (4096, "declared", 8192)
        ]


async def test_a_stream_of_zeros_is_pointed_out_once() -> None:
    async with open_emulator() as (_, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            for _ in range(20):
                await socket.send_message(client.pcm_message(bytes(8192)))
            answer = await say(socket, client.text_message("Well?"))
            assert "nothing but zeros" in answer["answer"]
            assert "You wrote" in json.loads(await socket.get_message())["answer"]


async def test_a_live_session_goes_on_over_a_new_connection_and_the_recording_marks_where() -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        for index in range(2):
            async with client.socket() as socket:
                await socket.get_message()
                await socket.send_message(client.pcm_message(frame_pcm(index)))
                await say(socket, client.text_message("there?"))
        statistics = emulator.statistics()
        live = statistics.live[0]
        assert (live.connections, live.samples) == ((1, 2), 8192)
        assert [(mark.position_samples, mark.why) for mark in live.marks] == [(4096, "connection")]
        assert live.wav is not None
        with wave.open(str(live.wav)) as file:
            assert file.readframes(8192) == frame_pcm(0) + frame_pcm(1)
        assert statistics.close_codes == (1000, 1000)
        assert [connection.frames for connection in statistics.connections] == [1, 1]


async def test_an_expired_session_is_told_once_per_connection_for_sound_and_always_for_text() -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            emulator.expire_sessions()
            for index in range(5):
                await socket.send_message(client.pcm_message(frame_pcm(index)))
            for _ in range(2):
                event = await say(socket, client.text_message("hello?"))
                assert (event["type"], event["error"], event["content"]) == ("event", "Expired", "Session expired")
            assert json.loads(await socket.get_message())["error"] == "Expired"
        assert emulator.statistics().frames == 0


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("not json", "message"),
        (b"\x00\x01", "message"),
        ("[]", "message"),
        ("[" * 100_000, "message"),
        ('{"isLive": "yes"}', "isLive"),
    ],
    ids=["no json", "binary", "array", "deep", "type"],
)
async def test_a_violation_is_answered_with_the_field_and_counted_and_the_socket_stays(
    message: str | bytes, field: str
) -> None:
    async with open_emulator() as (emulator, client), client.socket() as socket:
        await socket.get_message()
        await socket.send_message(message)
        answer = json.loads(await socket.get_message())
        assert (answer["type"], answer["error"], answer["field"]) == ("system", "invalid_message", field)
        assert (await say(socket, client.text_message("hello", live=False)))["type"] == "incoming"
        violation = emulator.statistics().violations[0]
        assert (violation.where, violation.field) == ("message", field)


async def test_a_message_for_another_avatar_than_the_sessions_is_a_violation() -> None:
    async with open_emulator() as (_, client):
        await client.start_live("ben")
        async with client.socket() as socket:
            greeting = json.loads(await socket.get_message())
            assert greeting["message"].startswith("Hi, this is Ben.")
            assert (await say(socket, client.text_message("Ava?")))["field"] == "avatar_id"


async def test_text_beyond_the_basic_plane_is_echoed_and_kept() -> None:
    async with open_emulator() as (_, client), client.socket() as socket:
        await socket.get_message()
        answer = await say(socket, client.text_message("Grüße 🎙 日本", live=False))
        assert "Grüße 🎙 日本" in answer["answer"]
        history = await client.call("GET", "/chat", params={"user_id": "user-1", "per_page": 2, "page": 1})
        assert history.json()["payload"][1]["request"] == "Grüße 🎙 日本"


async def test_any_message_can_be_sent_from_python() -> None:
    async with open_emulator() as (emulator, client), client.socket() as socket:
        await socket.get_message()
        for message in ({"direction": "incoming", "content": "hi", "new": [1]}, "plain", b"\x00"):
            emulator.send(message)
            received = await socket.get_message()
            assert (json.loads(received) if isinstance(message, dict) else received) == message


@pytest.mark.row("bad UTF-8")
async def test_text_that_is_not_utf_8_ends_the_connection_and_nothing_else() -> None:
    async with open_emulator() as (_, client), client.socket() as socket:
        await socket.get_message()
        assert client.raw is not None
        await client.raw.stream.send_all(b"\x81\x82\0\0\0\0\xff\xfe")
        assert (await close_reason(socket)).code in (1006, 1007)  # the server library does not say Close
        assert (await client.call("GET", "/connection")).status_code == 200
