"""Which messages say that the avatar speaks."""

from typing import Any

import pytest

from ravatar_audio.api.messages import EventMessage, Reply, parse_server_message
from ravatar_audio.session.avatar_speech import LONGEST_S, spoken_s, tells_speaking


@pytest.mark.parametrize(
    ("fields", "speaks"),
    [
        ({"event": "speech_started"}, True),
        ({"event": "avatarSpeaking"}, True),
        ({"message": "Avatar started talking"}, True),
        ({"status": "speaking"}, True),
        ({"event": "SPEECH_END"}, False),
        ({"content": "the avatar has stopped speaking"}, False),
        ({"name": "speechDone"}, False),
        ({"isSpeaking": True}, True),
        ({"speaking": False, "event": "speech_started"}, False),
        ({"event": "user_speech_started"}, None),
        ({"event": "speech recognition started"}, None),
        ({"event": "session_started"}, None),
        ({"event": "speech " + "started " * 20}, None),
        ({"event": 7, "isSpeaking": "yes"}, None),
        ({}, None),
    ],
)
def test_an_event_that_reads_like_it_counts_and_no_other(fields: dict[str, Any], speaks: bool | None) -> None:
    assert tells_speaking(EventMessage(fields={"type": "event", **fields})) is speaks


def test_a_reply_is_spoken_at_the_pace_of_speech_and_never_for_ever() -> None:
    reply = parse_server_message('{"type": "incoming", "answer": "%s"}' % ("word " * 30))
    assert isinstance(reply, Reply)
    assert spoken_s(reply) == 10.0
    assert spoken_s(Reply()) == 0.0
    assert spoken_s(Reply(text="x" * 100_000)) == LONGEST_S
