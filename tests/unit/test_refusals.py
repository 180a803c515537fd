"""What is refused of what was sent, counted on a line of any length; and what is renewed for it."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.api.messages import parse_server_message
from ravatar_audio.frames import FRAME_SAMPLES
from ravatar_audio.session.refusals import PROOF_MESSAGES, Doubt, Refusals, is_refusal

NO_REFUSALS = [
    '{"type": "incoming", "answer": "There is an error in your sentence", "error": "none of mine"}',
    '{"type": "incoming", "answer": "hello"}',
    '{"type": "connection", "message": "hello"}',
    '{"type": "event", "event": "speech_started"}',
    '{"type": "system", "message": "error is only a word here", "error": ""}',
    '{"type": "system", "message": "ok", "status": 200, "success": true, "error": null}',
    '{"type": "event", "error": "Expired", "message": "Session expired"}',
    '{"type": "system", "status": "' + "9" * 5_000 + '"}',
]


@pytest.mark.parametrize("text", NO_REFUSALS)
def test_what_is_no_refusal(text: str) -> None:
    assert not is_refusal(parse_server_message(text))


@given(
    accepted=st.integers(0, 60),
    delay=st.integers(0, 30),
    lengths=st.lists(st.integers(1, FRAME_SAMPLES), min_size=200, max_size=200),
)
def test_all_that_is_refused_is_counted_whatever_the_round_trip(accepted: int, delay: int, lengths: list[int]) -> None:
    """`delay`: so many further frames are sent before an answer comes back."""
    refusals = Refusals(3)
    refusals.begin_connection()
    answers: deque[bool] = deque()
    sent = 0
    while not refusals.is_due:
        refusals.note_sent(lengths[sent])
        answers.append(sent >= accepted)
        sent += 1
        if len(answers) > delay and answers.popleft():
            refusals.note_refused()
    while answers:  # nothing more is sent, and what is under way is answered
        if answers.popleft():
            refusals.note_refused()
    refusals.note_end()
    assert refusals.frames == sent - accepted == refusals.messages
    assert refusals.samples == sum(lengths[accepted:sent])


def test_where_only_the_first_is_answered_all_behind_it_counts() -> None:
    refusals = Refusals(1)
    refusals.begin_connection()
    for _ in range(5):
        refusals.note_sent(FRAME_SAMPLES)
    refusals.note_refused()
    for _ in range(4):
        refusals.note_sent(FRAME_SAMPLES)
    refusals.note_end()
    assert refusals.frames == 4


def test_the_gap_is_declared_by_the_first_frame_that_is_not_refused_itself() -> None:
    refusals = Refusals(3)
    refusals.begin_connection()
    for _ in range(3):
        refusals.note_sent(FRAME_SAMPLES, 100)
        refusals.note_refused()
        assert refusals.gap_samples == 0
    refusals.note_end()
    refusals.begin_connection()
    assert refusals.gap_samples == 3 * (FRAME_SAMPLES + 100)
    refusals.note_sent(FRAME_SAMPLES, refusals.gap_samples)
    assert refusals.gap_samples == 0


def test_an_answer_that_is_quicker_than_the_one_who_has_sent_it() -> None:
    refusals = Refusals(3)
    refusals.begin_connection()
    assert refusals.note_refused()
    refusals.note_sent(FRAME_SAMPLES)
    assert (refusals.frames, refusals.samples) == (1, FRAME_SAMPLES)


def test_the_edges_are_told_once_each() -> None:
    refusals = Refusals(3)
    refusals.begin_connection()
    assert [refusals.note_refused() for _ in range(5)] == [True, False, False, False, False]
    refusals.begin_connection()
    assert [refusals.note_sent(FRAME_SAMPLES) for _ in range(2 * PROOF_MESSAGES)].count(True) == 1
    assert not refusals.is_refused
    assert not refusals.note_accepted()


def test_a_proof_forgets_what_was_renewed() -> None:
    refusals = Refusals(3)
    refusals.note_doubt(Doubt.SLOT)
    refusals.note_doubt(Doubt.CONVERSATION)
    assert refusals.doubt is Doubt.SLOT
    refusals.note_renewed()
    assert (refusals.doubt, refusals.renewed) == (Doubt.NOTHING, Doubt.SLOT)
    refusals.note_accepted()
    assert refusals.renewed is Doubt.NOTHING


@pytest.mark.parametrize("round_trip_s", [0.0, 0.05, 0.3, 0.6, 2.0])
@pytest.mark.parametrize("expired", [3.0, 3.1, 3.255])
def test_of_an_expired_session_the_frames_behind_its_end_are_refused_and_those_not_acknowledged_are_not(
    round_trip_s: float, expired: float
) -> None:
    """A frame every 256 ms; the first that comes behind the end is answered at once."""
    refusals = Refusals(3)
    refusals.begin_connection()
    written_s = [0.256 * number for number in range(40)]
    answered = next(number for number, at_s in enumerate(written_s) if at_s + round_trip_s / 2 >= expired)
    news_s = written_s[answered] + round_trip_s + 0.001
    sent_s = [at_s for at_s in written_s if at_s <= news_s]
    for at_s in sent_s:
        refusals.note_sent(FRAME_SAMPLES, written_s=at_s)
    unacknowledged = sum(at_s + round_trip_s > news_s for at_s in sent_s)
    refusals.note_expired(news_s, round_trip_s, unacknowledged)
    assert refusals.frames == len(sent_s) - answered - unacknowledged == 1
    assert refusals.gap_samples == FRAME_SAMPLES, "the next session's first frame says so"


def test_a_session_that_expires_in_a_silence_has_refused_nothing() -> None:
    refusals = Refusals(3)
    refusals.begin_connection()
    refusals.note_sent(FRAME_SAMPLES, written_s=10.0)
    refusals.note_expired(20.0, 0.6, 0)
    assert refusals.frames == 0
