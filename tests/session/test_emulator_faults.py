"""Every fault that can be scripted, over a real socket: what a client sees of it.

`SHOWN` lists each fault with the test that shows it; the last test here holds it against what faults exist.
"""

import json
from collections.abc import Callable
from typing import TypeVar

import pytest
import trio
import trio.testing

from ravatar_audio.emulator import Fault
from ravatar_audio.emulator.faults import ACTIONS, ENDPOINTS, STREAM_ERRORS

from ..frames import frame_pcm
from .emulator_client import close_reason, drain, open_emulator, open_raw

SHOWN: set[tuple[str, str]] = set()
_Test = TypeVar("_Test", bound=Callable[..., object])
either = pytest.mark.parametrize("secured", [False, True], ids=["ws", "wss"])


def shows(at: str, *actions: str) -> Callable[[_Test], _Test]:
    """The test shows these actions at a place."""
    SHOWN.update((at, action) for action in actions)
    return lambda test: test


# -- calls of an endpoint --


@shows("endpoint", "status")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_any_status_on_any_endpoint_for_n_calls(endpoint: str) -> None:
    async with open_emulator(f"{endpoint} status=503 times=2 retry_after_s=7") as (emulator, client):
        method = "POST" if endpoint in ("jwt", "startLiveSession", "endLiveSession") else "GET"
        path = f"/{endpoint}" if endpoint != "stream" else "/stream/none"
        answers = [await client.call(method, path, {} if method == "POST" else None) for _ in range(3)]
    assert [answer.status_code for answer in answers[:2]] == [503, 503]
    assert [answer.headers["retry-after"] for answer in answers[:2]] == ["7", "7"]
    assert answers[2].status_code != 503
    assert emulator.statistics().faults_fired == 2
    assert emulator.statistics().requests[endpoint][503] == 2


@pytest.mark.parametrize("status", [402, 403, 500, 503, 504])
async def test_each_status_of_the_table_can_be_answered(status: int) -> None:
    async with open_emulator(f"http status={status}") as (_, client):
        assert (await client.call("GET", "/connection")).status_code == status
        assert (await client.call("GET", "/connection")).status_code == 200


@shows("endpoint", "delay")
async def test_a_delayed_answer_comes_late_but_whole() -> None:
    async with open_emulator("connection delay=0.2") as (_, client):
        began_s = trio.current_time()
        answer = await client.call("GET", "/connection")
        assert trio.current_time() - began_s >= 0.2
        assert answer.json()["status"] == 200


@shows("endpoint", "garbage", "oversized")
async def test_garbage_and_an_oversized_answer_instead_of_json() -> None:
    async with open_emulator("connection garbage", "chat oversized=300000") as (_, client):
        answer = await client.call("GET", "/connection")
        with pytest.raises(json.JSONDecodeError):
            answer.json()
        assert len((await client.call("GET", "/chat")).content) > 300_000


@shows("endpoint", "expire_token", "expire_session")
async def test_a_call_at_which_token_or_session_expire() -> None:
    async with open_emulator("connection expire_session", "connection expire_token after=1") as (emulator, client):
        await client.start_live()
        assert (await client.call("GET", "/connection")).status_code == 200
        assert emulator.statistics().live[0].state == "expired"
        answer = await client.call("GET", "/connection")
        assert (answer.status_code, answer.json()["error"]) == (403, "token_expired")
        await client.login()
        assert (await client.call("GET", "/connection")).status_code == 200


@shows("endpoint", "reset")
@either
async def test_an_answer_that_is_a_reset(secured: bool) -> None:
    async with (
        open_emulator("connection reset", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        await raw.ask("/connection", client.jwt)
        assert await raw.rest() == (b"", "RST")


@shows("endpoint", "hang_up")
@either
@pytest.mark.parametrize("after_bytes", [0, 20])
async def test_an_answer_that_ends_in_the_middle(secured: bool, after_bytes: int) -> None:
    async with (
        open_emulator(f"connection hang_up={after_bytes}", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        await raw.ask("/connection", client.jwt)
        data, ending = await raw.rest()
    assert (len(data), ending) == (after_bytes, "FIN")
    assert data == b"HTTP/1.1 200 \r\ncontent-length: "[:after_bytes]


@shows("endpoint", "black_hole")
@either
async def test_a_black_hole_acknowledges_nothing_and_can_end(secured: bool) -> None:
    async with (
        open_emulator("connection black_hole=0.3", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        began_s = trio.current_time()
        await raw.ask("/connection", client.jwt)
        await _until(lambda: emulator.statistics().faults_fired == 1)
        await raw.ask("/connection", client.jwt)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert raw.unacknowledged_bytes > 0
        assert b"200" in await raw.answer()
        assert trio.current_time() - began_s >= 0.3
        assert b"200" in await raw.answer()  # the system sends again what was lost


@shows("endpoint", "stop_reading")
async def test_a_server_that_stops_reading_answers_what_it_has_read() -> None:
    async with open_emulator("connection stop_reading=0.3") as (emulator, client), open_raw(emulator) as raw:
        began_s = trio.current_time()
        await raw.ask("/connection", client.jwt)
        assert b"200" in await raw.answer()
        await raw.ask("/connection", client.jwt)
        assert b"200" in await raw.answer()
        assert trio.current_time() - began_s >= 0.3


@shows("endpoint", "slow")
@either
async def test_a_slow_line_takes_its_time(secured: bool) -> None:
    async with (
        open_emulator("connection slow=8000", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        began_s = trio.current_time()
        await raw.ask("/connection", client.jwt)
        answer = await raw.answer()
        assert trio.current_time() - began_s >= 0.7 * len(answer) / 8000


# -- the WebSocket's handshake --


@shows("socket", "status")
@either
async def test_a_handshake_that_is_rejected_with_a_status(secured: bool) -> None:
    async with open_emulator("socket status=503 retry_after_s=2", secured=secured) as (emulator, client):
        refused = await client.refused()
        assert refused.status_code == 503
        assert (b"retry-after", b"2") in [(name.lower(), value) for name, value in refused.headers or ()]
        async with client.socket() as socket:
            await socket.get_message()
        assert emulator.statistics().requests["socket"] == {503: 1, 101: 1}


@shows("socket", "hang_up")
@either
@pytest.mark.parametrize("after_bytes", [0, 25])
async def test_a_hang_up_in_the_middle_of_the_handshake(secured: bool, after_bytes: int) -> None:
    async with (
        open_emulator(f"socket hang_up={after_bytes}", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        await raw.upgrade(client.jwt)
        data, ending = await raw.rest()
    assert (data, ending) == (b"HTTP/1.1 101 \r\nsec-websocket-accept: "[:after_bytes], "FIN")


@shows("socket", "reset")
async def test_a_reset_in_the_handshake() -> None:
    async with open_emulator("socket reset") as (emulator, client), open_raw(emulator) as raw:
        await raw.upgrade(client.jwt)
        assert await raw.rest() == (b"", "RST")


@shows("socket", "garbage")
@either
async def test_a_handshake_answered_by_something_that_is_not_http(secured: bool) -> None:
    async with (
        open_emulator("socket garbage", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        await raw.upgrade(client.jwt)
        data, ending = await raw.rest()
    assert (data, ending) == (b"SSH-2.0-OpenSSH_9.2\r\n", "FIN")


@shows("socket", "delay", "black_hole", "stop_reading", "slow")
@pytest.mark.parametrize("fault", ["delay=0.3", "black_hole=0.3"])
async def test_a_handshake_that_takes_long(fault: str) -> None:
    async with open_emulator(f"socket {fault}") as (_, client):
        began_s = trio.current_time()
        async with client.socket() as socket:
            await socket.get_message()
        assert trio.current_time() - began_s >= 0.3


@pytest.mark.parametrize("fault", ["stop_reading=0.3", "slow=8000"])
async def test_a_handshake_after_which_messages_are_read_late(fault: str) -> None:
    async with open_emulator(f"socket {fault}") as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            began_s = trio.current_time()
            await socket.send_message(client.pcm_message(frame_pcm(0)))
            await _until(lambda: emulator.statistics().frames == 1)
            assert trio.current_time() - began_s >= 0.25


@shows("socket", "expire_token", "expire_session")
async def test_a_handshake_at_which_token_or_session_expire() -> None:
    async with open_emulator("socket expire_token", "socket expire_session after=1") as (emulator, client):
        await client.start_live()
        assert (await client.refused()).status_code == 403
        await client.login()
        async with client.socket():
            assert emulator.statistics().live[0].state == "expired"


@shows("socket", "close")
async def test_a_flapping_server_accepts_and_closes_at_once() -> None:
    async with open_emulator("socket close=1013 times=2") as (emulator, client):
        for _ in range(2):
            async with client.socket() as socket:
                assert (await close_reason(socket)).code == 1013
        async with client.socket() as socket:
            await socket.get_message()
        await _until(lambda: len(emulator.statistics().close_codes) == 3)
        assert emulator.statistics().close_codes == (1013, 1013, 1000)


# -- messages --


@shows("message", "close")
@either
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 4001, 4403])
async def test_a_close_with_a_code_at_message_k(secured: bool, code: int) -> None:
    async with open_emulator(f"message close={code} after=2 reason=scripted", secured=secured) as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            for index in range(3):
                await socket.send_message(client.pcm_message(frame_pcm(index)))
            reason = await close_reason(socket)
        assert (reason.code, reason.reason) == (code, "scripted")
        await _until(lambda: bool(emulator.statistics().close_codes))
        assert emulator.statistics().close_codes == (code,)
        assert emulator.statistics().frames == 2


@shows("message", "reset", "hang_up")
@either
@pytest.mark.parametrize("fault", ["reset", "hang_up"])
async def test_a_link_that_breaks_at_message_k(secured: bool, fault: str) -> None:
    async with open_emulator(f"message {fault} after=1", secured=secured) as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            for index in range(2):
                await socket.send_message(client.pcm_message(frame_pcm(index)))
            reason = await close_reason(socket)
        assert reason.code == 1006
        await _until(lambda: bool(emulator.statistics().close_codes))
        assert emulator.statistics().connections[0].client_close_code is None


@shows("message", "black_hole")
@either
async def test_a_black_hole_at_message_k_swallows_what_follows(secured: bool) -> None:
    async with (
        open_emulator("message black_hole", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        await raw.upgrade(client.jwt)
        assert (await raw.stream.receive_some()).startswith(b"HTTP/1.1 101")
        await raw.stream.send_all(b"\x81\x80\0\0\0\0")
        await _until(lambda: emulator.statistics().faults_fired == 1)
        await raw.stream.send_all(b"\x81\x80\0\0\0\0")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert raw.unacknowledged_bytes > 0
        assert emulator.statistics().connections[0].messages == 1


@shows("message", "no_pongs")
@either
async def test_after_message_k_pings_are_not_answered_and_texts_are(secured: bool) -> None:
    async with open_emulator("message no_pongs after=1", secured=secured) as (emulator, client):
        async with client.socket() as socket:
            await socket.send_message(client.text_message("one", live=False))
            await socket.get_message()
            with trio.fail_after(5):
                await socket.ping(b"")
            await socket.send_message(client.text_message("two", live=False))
            await socket.get_message()
            with trio.move_on_after(0.3) as scope:
                await socket.ping(b"")
            assert scope.cancelled_caught
            await socket.send_message(client.text_message("three", live=False))
            await socket.get_message()
        assert emulator.statistics().violation_count == 0


@shows("message", "stop_reading")
@either
async def test_stop_reading_at_message_k_blocks_the_sender_and_loses_nothing(secured: bool) -> None:
    fault = "message stop_reading=0.5"
    async with open_emulator(fault, secured=secured, receive_buffer_bytes=16_384) as (emulator, client):
        await client.start_live()
        sent = [frame_pcm(index) for index in range(40)]
        async with client.socket() as socket, trio.open_nursery() as nursery:
            nursery.start_soon(drain, socket)
            began_s = trio.current_time()
            for pcm in sent:
                await socket.send_message(client.pcm_message(pcm))
            assert trio.current_time() - began_s >= 0.4  # 40 frames do not fit into buffers
            await _until(lambda: emulator.statistics().frames == 40)
            nursery.cancel_scope.cancel()
        assert emulator.statistics().violation_count == 0


@shows("message", "slow", "delay")
@pytest.mark.parametrize("fault", ["slow=40000", "delay=0.25"])
async def test_a_server_that_is_slow_from_message_k_on(fault: str) -> None:
    async with open_emulator(f"message {fault}") as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            began_s = trio.current_time()
            for index in range(3):
                await socket.send_message(client.pcm_message(frame_pcm(index)))
            await _until(lambda: emulator.statistics().frames == 3)
            assert trio.current_time() - began_s >= 0.25


@shows("message", "garbage", "oversized", "binary", "broken_text")
@either
async def test_messages_that_no_client_expects(secured: bool) -> None:
    faults = ("message garbage", "message oversized=400000", "message binary", "message broken_text")
    async with open_emulator(*faults, secured=secured) as (_, client), client.socket() as socket:
        await socket.get_message()
        for check in (_is_no_json, _is_oversized, _is_binary):
            await socket.send_message(client.text_message("hello", live=False))
            assert check(await socket.get_message())
            assert "You wrote: hello" in await socket.get_message()
        await socket.send_message(client.text_message("hello", live=False))
        reason = await close_reason(socket)
    assert reason.code == 1007  # invalid payload: the text was not UTF-8


def _is_no_json(message: str | bytes) -> bool:
    try:
        json.loads(message)
    except json.JSONDecodeError:
        return True
    return False


def _is_oversized(message: str | bytes) -> bool:
    return len(message) > 400_000


def _is_binary(message: str | bytes) -> bool:
    return isinstance(message, bytes)


@shows("message", "stream_error")
@pytest.mark.parametrize(("error", "message"), STREAM_ERRORS.items())
async def test_each_stream_error_of_the_table_is_an_event(error: str, message: str) -> None:
    async with open_emulator(Fault(at="message", do="stream_error", error=error)) as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            await socket.send_message(client.pcm_message(frame_pcm(0)))
            event = json.loads(await socket.get_message())
        assert (event["type"], event["error"], event["content"]) == ("event", error, message)
        assert emulator.statistics().live[0].state == ("expired" if error == "Expired" else "active")


@shows("message", "expire_session", "expire_token")
async def test_token_and_session_expire_at_message_k() -> None:
    faults = ("message expire_session after=1", "message expire_token after=2")
    async with open_emulator(*faults) as (emulator, client):
        await client.start_live()
        async with client.socket() as socket:
            await socket.get_message()
            for index in range(2):
                await socket.send_message(client.pcm_message(frame_pcm(index)))
            assert json.loads(await socket.get_message())["content"] == "Session expired"
            assert emulator.statistics().frames == 1
            await socket.send_message(client.pcm_message(frame_pcm(2)))
            reason = await close_reason(socket)
        assert reason.code == 1008
        assert (await client.call("GET", "/connection")).status_code == 403


async def test_a_fault_can_strike_now_on_every_open_socket() -> None:
    async with open_emulator() as (emulator, client), client.socket() as one, client.socket() as two:
        await emulator.strike(Fault(at="message", do="close", code=1012))
        for socket in (one, two):
            reason = await close_reason(socket)
            assert reason.code == 1012


async def test_two_black_holes_on_one_socket_end_and_the_emulator_lives_on() -> None:
    async with open_emulator() as (emulator, client), client.socket() as socket:
        await socket.get_message()  # the greeting
        for duration_s in (0.05, 0.1):
            await emulator.strike(Fault(at="message", do="black_hole", duration_s=duration_s))
        await trio.sleep(0.2)  # both have to end, and nothing tells when
        emulator.send({"type": "system", "message": "there again"})
        assert "there again" in await socket.get_message()


# -- connections --


@shows("accept", "reset", "hang_up")
@pytest.mark.parametrize(("fault", "ending"), [("reset", "RST"), ("hang_up", "FIN")])
async def test_a_connection_that_ends_as_soon_as_it_is_accepted(fault: str, ending: str) -> None:
    async with open_emulator(f"accept {fault}") as (emulator, _), open_raw(emulator) as raw:
        assert await raw.rest() == (b"", ending)


@shows("accept", "delay", "black_hole", "stop_reading", "slow")
@either
@pytest.mark.parametrize("fault", ["delay=0.3", "black_hole=0.3", "stop_reading=0.3", "slow=2000"])
async def test_a_connection_that_is_accepted_but_not_served_at_once(secured: bool, fault: str) -> None:
    async with (
        open_emulator(f"accept {fault}", secured=secured) as (emulator, client),
        open_raw(emulator) as raw,
    ):
        began_s = trio.current_time()
        await raw.ask("/connection", client.jwt)
        assert b"200" in await raw.answer()
        assert trio.current_time() - began_s >= 0.3


@shows("endpoint", "forget")
@shows("socket", "forget")
@shows("message", "forget")
@pytest.mark.parametrize("place", ["chat", "socket", "message"])
async def test_a_platform_that_forgets_knows_neither_token_nor_conversation_nor_slot(place: str) -> None:
    async with open_emulator(f"{place} forget") as (emulator, client):
        await client.start_live()
        if place == "chat":
            assert (await client.call("GET", "/chat")).status_code == 403
        elif place == "socket":
            assert (await client.refused()).status_code == 403
        else:
            async with client.socket() as socket:
                await socket.get_message()
                await socket.send_message(client.text_message("who am I?"))
                refusal = json.loads(await socket.get_message())
                assert (refusal["type"], refusal["field"]) == ("system", "session")
        assert (await client.call("GET", "/connection")).status_code == 403
        assert [live.state for live in emulator.statistics().live] == ["forgotten"]
        assert emulator.statistics().slots_free == 4


def test_every_fault_that_exists_is_shown_here() -> None:
    kinds = dict.fromkeys((*ENDPOINTS, "http"), "endpoint")
    assert {(kinds.get(place, place), action) for place, actions in ACTIONS.items() for action in actions} == SHOWN


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await trio.lowlevel.checkpoint()
