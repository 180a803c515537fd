"""What the emulator keeps for a user: a history whose dates can be sorted by, and files that players can seek in."""

import base64
import io
import itertools
import json
import wave
from typing import Literal

import pytest

from ravatar_audio.emulator import EmulatorSettings
from ravatar_audio.emulator.files import file_answer
from ravatar_audio.emulator.platform_state import PlatformState

from .emulator_client import open_emulator


def wav_of_zeros() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(3_200))
    return buffer.getvalue()


@pytest.mark.parametrize("step_ms", [0, 1, -5_000, 3])
def test_dates_of_a_users_history_strictly_increase_whatever_the_clock_does(step_ms: int) -> None:
    now_ms = 1_700_000_000_000
    platform = PlatformState(EmulatorSettings(), clock=lambda: now_ms / 1000)
    dates = []
    for number in range(6):
        now_ms += step_ms
        direction: Literal["incoming", "outgoing"] = "incoming" if number % 2 else "outgoing"
        dates.append(platform.remember("user-1", direction, "text", avatar_id="ava")["date"])
    assert all(later > earlier for earlier, later in itertools.pairwise(dates))
    platform.close()


RANGES = [
    # what is asked for of 32,812 bytes, and what comes: status, first and last byte
    (None, 200, 0, 32_811),
    ("bytes=0-", 206, 0, 32_811),
    ("bytes=0-0", 206, 0, 0),
    ("bytes=100-199", 206, 100, 199),
    ("bytes=32000-99999", 206, 32_000, 32_811),
    ("bytes=-12", 206, 32_800, 32_811),
    ("bytes=-99999", 206, 0, 32_811),
    ("Bytes = 5 - 6", 206, 5, 6),
    ("bytes=32812-", 416, 0, -1),
    ("bytes=-0", 416, 0, -1),
    ("bytes=9-3", 200, 0, 32_811),
    ("bytes=0-1,4-5", 200, 0, 32_811),
    ("lines=0-1", 200, 0, 32_811),
    ("bytes=x-", 200, 0, 32_811),
    ("bytes=-", 200, 0, 32_811),
]


@pytest.mark.parametrize(("asked", "status", "first", "last"), RANGES)
def test_a_file_can_be_had_in_part_as_players_ask_for_it(asked: str | None, status: int, first: int, last: int) -> None:
    data = b"RIFF" + bytes(range(256)) * 128 + bytes(40)
    assert len(data) == 32_812
    answer = file_answer(data, '"it"', {} if asked is None else {"range": asked})
    assert (answer.status_code, bytes(answer.body)) == (status, data[first : last + 1])
    assert answer.headers["accept-ranges"] == "bytes"
    shown = {200: None, 206: f"bytes {first}-{last}/32812", 416: "bytes */32812"}[status]
    assert answer.headers.get("content-range") == shown


def test_a_range_of_another_version_of_a_file_gets_all_of_it() -> None:
    asked = {"range": "bytes=0-1"}
    assert file_answer(b"RIFF", '"it"', asked | {"if-range": '"it"'}).status_code == 206
    assert file_answer(b"RIFF", '"it"', asked | {"if-range": '"other"'}).status_code == 200


async def test_the_address_of_a_recording_answers_a_range() -> None:
    async with open_emulator() as (_, client):
        async with client.socket() as socket:
            await socket.get_message()
            sound = base64.b64encode(wav_of_zeros()).decode()
            message = client.fields(live=False) | {"chat_type": "voice", "requestType": "audio"}
            await socket.send_message(json.dumps(message | {"file_base64_data": sound}))
            url = json.loads(await socket.get_message())["fileUrl"]
        answer = await client.http.get(url, headers={"Range": "bytes=2-5", "Origin": "https://front.example"})
    assert (answer.status_code, answer.content) == (206, wav_of_zeros()[2:6])
    assert "Content-Range" in answer.headers["access-control-expose-headers"]
