"""When a link is tried again, in an unreal time: pauses grow to minutes, and what is said again and again is final."""

import math

import pytest

from ravatar_audio.api.link_end import Cause, LinkDown
from ravatar_audio.errors import AuthenticationError, LinkError, PaymentRequiredError, RavatarError
from ravatar_audio.session.retries import (
    ASKED_WAIT_MAX_S,
    FINAL_AFTER_S,
    FINAL_REFUSALS,
    LEAST_REFUSED_LIMIT_S,
    REFUSED_WAIT_MAX_S,
    Retries,
)

DAY_S = 86_400.0


def payment(is_own_word: bool) -> LinkDown:
    return LinkDown(Cause.REFUSED, status=402, is_own_word=is_own_word)


def pauses(retries: Retries, down: LinkDown, until_s: float = DAY_S) -> list[float]:
    """The pauses in a row, a try taking no time; ends at the time limit or with the error."""
    now_s, found = 0.0, []
    while now_s < until_s:
        found.append(retries.pause_s(down, now_s, lasted_s=None, is_begun=True))
        now_s += found[-1]
    return found


def test_refusals_by_others_never_end_a_session_and_are_some_hundreds_a_day() -> None:
    found = pauses(Retries(math.inf, 0.0), payment(is_own_word=False))
    assert max(found[:3]) <= 4.0, "a short one is over soon"
    assert max(found) <= REFUSED_WAIT_MAX_S
    assert len(found) < 1_500


@pytest.mark.parametrize("outage_s", [0.5, 3.0, 6.0, 30.0, 200.0])
@pytest.mark.parametrize("down", [LinkDown(Cause.REFUSED, status=402), LinkDown(Cause.REFUSED, status=403)], ids=str)
def test_refusals_that_pass_cost_no_more_than_as_long_again(outage_s: float, down: LinkDown) -> None:
    for _ in range(300):  # the pauses are drawn
        retries, now_s = Retries(math.inf, 0.0), 1_000.0
        while now_s <= 1_000.0 + outage_s:
            now_s += retries.pause_s(down, now_s, lasted_s=None, is_begun=True)
        assert now_s - 1_000.0 <= outage_s + max(outage_s, LEAST_REFUSED_LIMIT_S)


def test_refusals_in_the_platforms_own_words_are_final_only_again_and_again() -> None:
    retries = Retries(math.inf, 0.0)
    with pytest.raises(PaymentRequiredError):
        pauses(retries, payment(is_own_word=True))
    now_s = 0.0
    retries = Retries(math.inf, 0.0)
    with pytest.raises(PaymentRequiredError):  # noqa: PT012 - which of them is what is tested
        for number in range(10_000):  # noqa: B007
            pause_s = retries.pause_s(payment(is_own_word=True), now_s, lasted_s=None, is_begun=True)
            now_s += pause_s
    assert now_s >= FINAL_AFTER_S
    assert number + 1 >= FINAL_REFUSALS


@pytest.mark.parametrize("other", [LinkDown(Cause.UNREACHABLE), payment(is_own_word=False)], ids=["network", "proxy"])
def test_anything_else_between_begins_the_count_anew(other: LinkDown) -> None:
    retries = Retries(math.inf, 0.0)
    for number in range(20 * FINAL_REFUSALS):
        down = other if number % FINAL_REFUSALS == FINAL_REFUSALS - 1 else payment(is_own_word=True)
        retries.pause_s(down, number * FINAL_AFTER_S, lasted_s=None, is_begun=True)


def test_retry_after_counts_within_limits() -> None:
    retries = Retries(math.inf, 0.0)
    down = LinkDown(Cause.REFUSED, status=402, retry_after_s=200.0)
    assert retries.pause_s(down, 0.0, lasted_s=None, is_begun=True) == 200.0
    down = LinkDown(Cause.REFUSED, status=402, retry_after_s=1e9)
    assert retries.pause_s(down, 0.0, lasted_s=None, is_begun=True) == REFUSED_WAIT_MAX_S
    down = LinkDown(Cause.REFUSED, status=503, retry_after_s=1e9)
    assert retries.pause_s(down, 0.0, lasted_s=None, is_begun=True) == ASKED_WAIT_MAX_S


def test_the_limit_of_an_outage_holds_for_refusals_too_and_has_a_last_try_at_its_end() -> None:
    retries = Retries(120.0, 0.0)
    found: list[float] = []
    with pytest.raises(PaymentRequiredError):  # noqa: PT012 - when is what is tested
        while True:
            found.append(retries.pause_s(payment(False), sum(found), lasted_s=None, is_begun=True))
    assert sum(found) == pytest.approx(120.0)


@pytest.mark.parametrize(
    ("down", "kind"),
    [
        (payment(False), PaymentRequiredError),
        (LinkDown(Cause.REFUSED, status=404), LinkError),
        (LinkDown(Cause.CLOSED, close_code=4402), PaymentRequiredError),
    ],
)
def test_before_the_session_has_begun_they_are_final_at_once(down: LinkDown, kind: type[RavatarError]) -> None:
    with pytest.raises(kind):
        Retries(math.inf, 0.0).pause_s(down, 0.0, lasted_s=None, is_begun=False)


def test_a_fresh_token_that_is_refused_is_a_refusal_and_one_that_was_good_is_not() -> None:
    refused = LinkDown(Cause.REFUSED, status=403)
    retries = Retries(math.inf, 0.0)
    retries.pause_s(refused, 0.0, lasted_s=None, is_begun=False)
    with pytest.raises(AuthenticationError):
        retries.pause_s(refused, 0.0, lasted_s=None, is_begun=False)
    retries = Retries(math.inf, 0.0)
    for _ in range(2):
        retries.pause_s(refused, 0.0, lasted_s=None, is_begun=False)
        retries.pause_s(LinkDown(Cause.CLOSED, close_code=1011), 0.0, lasted_s=1.0, is_begun=True)
