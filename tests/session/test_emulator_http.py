"""The emulator's HTTP side over a real socket: each endpoint, each error of the guide, for programs and browsers."""

import contextlib
import itertools
import json
import random
import ssl
from typing import Any

import pytest
import trio
import trio.testing

from ravatar_audio.emulator import Emulator, EmulatorSettings, server_tls
from ravatar_audio.emulator.platform_state import PlatformState
from ravatar_audio.errors import SettingsError

from ..frames import frame_pcm
from .emulator_client import open_client, open_emulator, open_raw

METHODS = {
    "/jwt": "POST",
    "/connection": "GET",
    "/startLiveSession": "POST",
    "/endLiveSession": "POST",
    "/chat": "GET",
    "/stream/any": "GET",
    "/stream/any/state": "GET",
}


# -- POST /jwt --


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"user_id": "user-1"}, 200, None),
        ({"user_id": "user-1", "project_id": "known"}, 200, None),
        pytest.param({"user_id": "no good"}, 400, "invalid_user_id", marks=pytest.mark.row("jwt invalid_user_id")),
        pytest.param(
            {"user_id": "user-1", "project_id": "no_good"},
            400,
            "invalid_project_id",
            marks=pytest.mark.row("jwt invalid_project_id"),
        ),
        pytest.param(
            {"user_id": "user-1", "project_id": "unknown"},
            401,
            "project_not_found",
            marks=pytest.mark.row("jwt project_not_found"),
        ),
    ],
)
async def test_jwt_answers_with_the_errors_of_the_guide(body: object, status: int, code: str | None) -> None:
    async with open_emulator(login=False, projects=("known", None)) as (emulator, client):
        answer = await client.http.post("/jwt", json=body)
    assert answer.status_code == status
    if code is None:
        assert answer.json().keys() == {"result", "jwt"}
        assert answer.json()["result"] == "success"
    else:
        assert (answer.json()["result"], answer.json()["error"]) == ("failure", code)
        assert emulator.statistics().violations[0].where == "jwt"


@pytest.mark.row("jwt token_generation_failed")
async def test_jwt_can_fail_with_500() -> None:
    async with open_emulator("jwt status=500") as (_, client):
        answer = await client.http.post("/jwt", json={"user_id": "user-1"})
    assert (answer.status_code, answer.json()["error"]) == (500, "token_generation_failed")


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"user_id": "a"', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/jwt", "/startLiveSession", "/endLiveSession"])
async def test_a_body_that_is_no_json_object_is_400_and_named(path: str, body: bytes) -> None:
    async with open_emulator() as (_, client):
        answer = await client.http.post(path, content=body, headers={"Authorization": f"Bearer {client.jwt}"})
    assert (answer.status_code, answer.json()["field"]) == (400, "body")


# -- tokens: 403 --


@pytest.mark.parametrize("path", [path for path in METHODS if path != "/jwt" and "stream" not in path])
@pytest.mark.parametrize(
    ("header", "code"),
    [("", "missing_token"), ("Bearer x.y.z", "invalid_token"), ("Basic abc", "missing_token")],
)
@pytest.mark.row("bearer token")
async def test_every_endpoint_wants_a_token(path: str, header: str, code: str) -> None:
    async with open_emulator(login=False) as (_, client):
        answer = await client.http.request(METHODS[path], path, headers={"Authorization": header} if header else {})
    assert (answer.status_code, answer.json()["error"]) == (403, code)


async def test_an_expired_token_is_403_at_http_and_at_the_handshake_until_a_new_one_comes() -> None:
    async with open_emulator() as (emulator, client):
        emulator.expire_tokens()
        answer = await client.call("GET", "/connection")
        assert (answer.status_code, answer.json()["error"]) == (403, "token_expired")
        refused = await client.refused()
        assert refused.status_code == 403
        await client.login()
        async with client.socket() as socket:
            assert json.loads(await socket.get_message())["type"] == "connection"


async def test_tokens_expire_by_the_clock() -> None:
    async with open_emulator(token_lifetime_s=0.1, login=False) as (_, client):
        client.jwt = (await client.http.post("/jwt", json={"user_id": "user-1"})).json()["jwt"]
        await trio.sleep(0.12)  # the lifetime is what is tested
        assert (await client.call("GET", "/connection")).json()["error"] == "token_expired"


@pytest.mark.parametrize("token", ["", "x.y.z"])
async def test_a_handshake_without_a_valid_token_is_rejected(token: str) -> None:
    async with open_emulator() as (emulator, client):
        refused = await client.refused(token)
        assert refused.status_code == 403
        assert emulator.statistics().requests["socket"] == {403: 1}


# -- GET /connection --


@pytest.mark.parametrize("observed", [False, True])
async def test_connection_says_all_that_the_guide_lists(observed: bool) -> None:
    async with open_emulator(login=False, observed_names=observed, vad_enabled=True) as (_, client):
        token = (await client.http.post("/jwt", json={"user_id": "user-1"})).json()["token" if observed else "jwt"]
        client.jwt = token
        values = (await client.call("GET", "/connection")).json()
        assert values.keys() == {"status", "session", "avatars_info", "languages", "chat_types", "vadEnabled"}
        avatar, language = values["avatars_info"][0], values["languages"][0]
        assert avatar.keys() == {
            "id" if observed else "_id",
            "name",
            "hasLiveMode",
            "greetingText",
            "previewIcons",
            "startButtonIcon",
        }
        assert language.keys() == {"name", "code" if observed else "language_code"}
        assert values["vadEnabled"] is True
        for size in ("small", "medium", "large"):
            icon = await client.http.get(avatar["previewIcons"][size])
            assert icon.headers["content-type"] == "image/svg+xml"


# -- live sessions --


async def test_slots_run_out_and_come_back() -> None:
    async with open_emulator(slots=2) as (emulator, client):
        await client.start_live()
        first = client.license_id
        await client.start_live("ben")
        busy = await client.call("POST", "/startLiveSession", {"avatar_id": "ava"})
        assert busy.status_code == 503
        assert busy.json() == {"status": 503, "error": "All AI assistants are busy at the moment"}
        client.license_id = first
        await client.end_live()
        assert emulator.statistics().slots_free == 1
        await client.start_live()
        assert emulator.statistics().slots_free == 0


async def test_start_names_what_is_wrong_with_it() -> None:
    async with open_emulator() as (emulator, client):
        for body, field in [
            ({}, "avatar_id"),
            ({"avatar_id": "clara"}, "avatar_id"),
            ({"avatar_id": "ava", "width": "1921"}, "width"),
            ({"avatar_id": "ava", "height": 720}, "height"),
        ]:
            answer = await client.call("POST", "/startLiveSession", body)
            assert (answer.status_code, answer.json()["field"]) == (400, field)
        assert emulator.statistics().live == ()
        assert emulator.statistics().violation_count == 4


async def test_end_may_be_called_again_but_only_with_a_license_of_ones_own() -> None:
    async with open_emulator() as (emulator, client):
        await client.start_live()
        await client.end_live()
        await client.end_live()
        assert emulator.statistics().live[0].end_calls == 2
        client.user_id = "user-2"
        await client.login()
        answer = await client.call("POST", "/endLiveSession", {"LicenseId": client.license_id})
        assert (answer.status_code, answer.json()["field"]) == (400, "LicenseId")


@pytest.mark.parametrize("limit", ["session_idle_s", "session_lifetime_s"])
async def test_a_forgotten_live_session_gives_its_slot_back(limit: str) -> None:
    limits: dict[str, Any] = {limit: 0.1}
    async with open_emulator(slots=1, **limits) as (emulator, client):
        await client.start_live()
        await trio.sleep(0.12)  # the limit is what is tested
        assert emulator.statistics().slots_free == 1
        assert emulator.statistics().live[0].state == "expired"


# -- GET /chat --


async def test_history_comes_in_pages_newest_first() -> None:
    async with open_emulator() as (_, client):
        async with client.socket() as socket:
            await socket.get_message()
            for number in range(5):
                await socket.send_message(client.text_message(f"message {number}", live=False))
                await socket.get_message()
        items, page, has_more = [], 1, True
        while has_more:
            query = {"user_id": "user-1", "per_page": 4, "page": page}
            answer = (await client.call("GET", "/chat", params=query)).json()
            assert len(answer["payload"]) == (4 if page < 3 else 2)
            items += answer["payload"]
            page, has_more = page + 1, answer["has_more_messages"]
        assert [item["direction"] for item in items] == ["incoming", "outgoing"] * 5
        assert [item["request"] for item in items[1::2]] == [f"message {number}" for number in reversed(range(5))]
        assert "message 4" in items[0]["answer"]
        assert items[0]["avatar_name"] == "Ava"
        wanted = {"_id", "direction", "user_id", "request", "avatar_id", "date", "chat_type", "language_code"}
        assert all(wanted <= item.keys() for item in items)
        assert all(isinstance(item["date"], int) for item in items)
        dates = [item["date"] for item in items]
        assert all(newer > older for newer, older in itertools.pairwise(dates)), "an answer has its question's time"


@pytest.mark.parametrize("query", [{}, {"user_id": "another"}, {"page": 0}, {"per_page": 1000}, {"page": "x"}])
async def test_history_names_what_is_wrong_with_the_query(query: dict[str, Any]) -> None:
    given = {"user_id": "user-1", "per_page": 20, "page": 1} | query if query else {}
    async with open_emulator() as (_, client):
        answer = await client.call("GET", "/chat", params=given)
    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(query), "user_id"))


# -- for browsers --


@pytest.mark.parametrize("path", METHODS)
async def test_every_endpoint_answers_a_preflight(path: str) -> None:
    async with open_emulator(login=False) as (_, client):
        asked = {
            "Origin": "https://front.example",
            "Access-Control-Request-Method": METHODS[path],
            "Access-Control-Request-Headers": "authorization, content-type",
        }
        answer = await client.http.options(path, headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert METHODS[path] in answer.headers["access-control-allow-methods"]
    assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))


@pytest.mark.parametrize("path", METHODS)
async def test_refusals_and_scripted_faults_can_be_read_by_browsers_too(path: str) -> None:
    async with open_emulator("http status=503 retry_after_s=1", login=False) as (_, client):
        for _ in range(2):
            answer = await client.http.request(METHODS[path], path, headers={"Origin": "https://front.example"})
            assert answer.status_code >= 400
            assert answer.headers["access-control-allow-origin"] == "*"
            assert "Retry-After" in answer.headers["access-control-expose-headers"].split(", ")


@pytest.mark.row("streaming URL")
async def test_the_streaming_address_leads_to_a_page_for_the_holder_of_the_token() -> None:
    async with open_emulator() as (_, client):
        url = (await client.start_live())["streamingUrl"]
        page = await client.http.get(url, params={"token": client.jwt})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "frame-ancestors" not in page.headers["content-security-policy"]
        nonce = page.headers["content-security-policy"].partition("'nonce-")[2].partition("'")[0]
        assert f'<script nonce="{nonce}">' in page.text
        assert page.headers["referrer-policy"] == "no-referrer"  # the address has the token in it
        assert client.jwt not in page.text
        assert client.license_id not in page.text
        assert (await client.http.get(url)).status_code == 403
        assert (await client.http.get(url, params={"token": "x"})).status_code == 403
        assert (await client.http.get(f"{url}x", params={"token": client.jwt})).status_code == 404
        client.user_id = "user-2"
        await client.login()
        assert (await client.http.get(url, params={"token": client.jwt})).status_code == 403
        assert (await client.http.get(f"{url}/state", params={"token": client.jwt})).status_code == 403


async def test_the_streaming_page_can_forbid_framing() -> None:
    async with open_emulator(frame_ancestors="'none'") as (_, client):
        url = (await client.start_live())["streamingUrl"]
        page = await client.http.get(url, params={"token": client.jwt})
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


async def test_the_page_is_told_what_is_heard_and_only_what_is_new() -> None:
    async with open_emulator() as (emulator, client):
        url = (await client.start_live())["streamingUrl"]
        async with client.socket() as socket:
            await socket.send_message(client.pcm_message(frame_pcm(0), lost_samples=4096))
            await socket.send_message(client.text_message("hello"))
            await socket.get_message()
            await socket.get_message()
            state = (await client.http.get(f"{url}/state", params={"token": client.jwt})).json()
            assert (state["state"], state["avatar"], state["hops"], state["gaps"]) == ("active", "Ava", 16, 1)
            assert state["levels_dbfs"] == pytest.approx([-15.3] * 16, abs=0.3)
            assert state["said"][0] == ["user", "hello"]
            later = await client.http.get(f"{url}/state", params={"token": client.jwt, "since": 12})
            assert len(later.json()["levels_dbfs"]) == 4
        await client.end_live()
        state = (await client.http.get(f"{url}/state", params={"token": client.jwt, "since": "9" * 5000})).json()
        assert (state["state"], state["levels_dbfs"]) == ("ended", [])
        assert emulator.statistics().violation_count == 0


# -- the server itself --


async def test_over_tls_all_addresses_are_https_and_an_unknown_authority_is_refused() -> None:
    async with open_emulator(secured=True) as (emulator, client):
        assert emulator.api_url.startswith("https://")
        assert emulator.ws_url.startswith("wss://")
        assert (await client.start_live())["streamingUrl"].startswith(f"{emulator.api_url}/stream/")
        stranger = trio.SSLStream(
            await trio.open_tcp_stream("127.0.0.1", emulator.port),
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            server_hostname="127.0.0.1",
        )
        with pytest.raises(trio.BrokenResourceError):
            await stranger.do_handshake()
        await trio.aclose_forcefully(stranger)
        assert (await client.call("GET", "/connection")).status_code == 200


async def test_an_address_in_use_is_a_clear_error() -> None:
    with trio.fail_after(10):
        async with Emulator() as emulator:
            with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{emulator.port}"):
                async with Emulator(EmulatorSettings(port=emulator.port)):
                    pass


def test_settings_that_cannot_be_are_refused() -> None:
    for wrong in ({"port": 70_000}, {"slots": -1}, {"token_lifetime_s": 0}, {"avatars": ()}, {"languages": ()}):
        with pytest.raises(SettingsError):
            EmulatorSettings(**wrong)
    with pytest.raises(SettingsError, match="wav_dir '/dev/null/x' cannot be made"):
        PlatformState(EmulatorSettings(wav_dir="/dev/null/x"))
    with pytest.raises(SettingsError, match="cannot be used"):
        server_tls("no-such-file.pem")


async def test_an_error_in_the_body_comes_out_as_it_is() -> None:
    class OurError(Exception):
        pass

    with trio.fail_after(10), pytest.raises(OurError):
        async with Emulator():
            raise OurError


async def test_an_unknown_path_is_404_and_a_wrong_method_405() -> None:
    async with open_emulator(login=False) as (_, client):
        assert (await client.http.get("/nowhere")).status_code == 404
        assert (await client.http.get("/jwt")).status_code == 405


@pytest.mark.parametrize("secured", [False, True])
async def test_bytes_of_every_kind_do_not_disturb_the_others(secured: bool) -> None:
    rng = random.Random(4)
    async with open_emulator(secured=secured) as (emulator, client), trio.open_nursery() as nursery:

        async def disturb(data: bytes) -> None:
            stream = await trio.open_tcp_stream("127.0.0.1", emulator.port)
            async with stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(data)
                    await stream.send_eof()
                    while await stream.receive_some():
                        pass

        upgrade = b"GET /ws/chat?token=%b HTTP/1.1\r\nHost: e\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        upgrade += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        for start in (b"", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", upgrade % client.jwt.encode()):
            for _ in range(25):
                nursery.start_soon(disturb, start + rng.randbytes(rng.randrange(1, 3000)))
        for _ in range(5):
            assert (await client.call("GET", "/connection")).status_code == 200


async def test_a_connection_that_breaks_the_server_library_does_not_end_the_emulator() -> None:
    async with open_emulator(login=False) as (emulator, _):
        async with open_raw(emulator) as raw:
            upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A")
            await raw.ask("/", "", *upgrade)
            await raw.rest()
        await trio.testing.wait_all_tasks_blocked(0.02)
        async with open_client(emulator) as another:
            assert another.session
        assert emulator.statistics().server_restarts <= 1  # a later library may not break


async def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(10):
        async with Emulator() as emulator, open_client(emulator) as client:
            await client.start_live()
            async with client.socket() as socket:
                await socket.send_message("nonsense")
                await socket.get_message()
    assert capfd.readouterr() == ("", "")
