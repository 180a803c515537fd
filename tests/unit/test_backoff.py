"""Full jitter, its first limit, its growth, its cap, and when it begins anew."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from ravatar_audio.api.backoff import Backoff, parse_retry_after


def test_the_limit_is_50_ms_at_first_then_doubles_up_to_the_cap() -> None:
    backoff = Backoff(draw=lambda: 1.0)
    assert [backoff.next_delay_s() for _ in range(8)] == [0.05, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_jitter_is_full() -> None:
    delays = []
    for _ in range(1_000):
        backoff = Backoff()
        backoff.failures = 4
        delays.append(backoff.next_delay_s())
    assert min(delays) < 0.4
    assert max(delays) > 3.6
    assert 1.8 < sum(delays) / len(delays) < 2.2


def test_only_a_success_that_lasted_begins_anew() -> None:
    backoff = Backoff(draw=lambda: 1.0)
    for _ in range(3):
        backoff.next_delay_s()
    backoff.note_success(4.9)
    assert backoff.next_delay_s() == 2.0
    backoff.note_success(5.0)
    assert backoff.next_delay_s() == 0.05


def test_a_year_of_failures_does_not_overflow() -> None:
    backoff = Backoff(draw=lambda: 1.0, failures=10_000_000)
    assert backoff.next_delay_s() == 10.0


def test_what_the_peer_asks_for_is_the_least() -> None:
    assert Backoff(draw=lambda: 0.0).next_delay_s(7.0) == 7.0


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("nan", 0.0), ("inf", 0.0), ("soon", 0.0), ("", 0.0)]
)
def test_retry_after_as_a_number(text: str, seconds: float) -> None:
    assert parse_retry_after(text) == seconds


def test_retry_after_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < parse_retry_after(later) <= 90
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:30 GMT") == 29.0
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:27:00 GMT") == 60.0
    assert 80 < parse_retry_after(later, "no date") <= 90


@pytest.mark.parametrize("outage_s", [5.0, 20.0, 60.0])
def test_clients_of_a_restarted_server_come_back_within_the_cap_and_never_many_at_once(outage_s: float) -> None:
    for seed in range(5):
        draw = random.Random(seed).random
        back_s = []
        for _ in range(500):
            backoff, now_s = Backoff(draw=draw), 0.0
            while now_s < outage_s:
                now_s += backoff.next_delay_s()
            back_s.append(now_s - outage_s)
        assert max(back_s) <= Backoff().cap_s
        ordered = sorted(back_s)
        most = max(sum(begin <= time_s < begin + 0.05 for time_s in ordered) for begin in ordered)
        assert most <= 50, "more than a tenth of the clients within 50 ms"
