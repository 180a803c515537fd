"""Distributions within their stated width, and a log that shows no secret."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.observe.histogram import Histogram
from ravatar_audio.observe.log import HIDDEN, Log


@given(st.lists(st.floats(1e-6, 4_000), min_size=1, max_size=200))
def test_percentiles_are_right_within_a_bucket(values: list[float]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    ordered = sorted(values)
    distribution = histogram.distribution()
    assert distribution.count == len(values)
    assert distribution.max_s == ordered[-1]
    exact = ordered[-(-len(values) // 2) - 1]
    assert exact * (1 - 1e-9) <= distribution.p50_s <= exact * 2 ** (1 / 32) * (1 + 1e-9)


def test_an_empty_distribution_and_values_beyond_its_range() -> None:
    histogram = Histogram()
    assert histogram.distribution().p99_s == 0.0
    for value in (0.0, -1.0, 1e9):
        histogram.record(value)
    assert histogram.distribution().count == 3


@pytest.mark.parametrize(
    "text",
    [
        "wss://host/ws/chat?token=abc%2Edef&x=1",
        "Authorization: Bearer abc.def",
        "got eyJhbGciOi.eyJleHAi.c2lnbmF0dXJl back",
        '{"LicenseId": "some-license"}',
        "the very secret-value-1 itself",
    ],
)
def test_secrets_are_hidden(text: str, caplog: pytest.LogCaptureFixture) -> None:
    log = Log()
    log.add_secret("secret-value-1")
    with caplog.at_level(logging.DEBUG, logger="ravatar_audio"):
        log.debug("%s", text)
    assert HIDDEN in caplog.text
    for secret in ("abc", "eyJ", "some-license", "secret-value-1"):
        assert secret not in caplog.text


def test_a_distribution_of_the_same_values_later() -> None:
    histogram = Histogram()
    assert histogram.distribution().later_by(0.5) == histogram.distribution()
    for value in (0.1, 0.2):
        histogram.record(value)
    now, later = histogram.distribution(), histogram.distribution().later_by(0.5)
    assert (later.count, later.p50_s - now.p50_s, later.max_s) == (2, 0.5, 0.7)


def test_of_very_many_secrets_the_newest_are_kept() -> None:
    log = Log()
    for number in range(1_000):
        log.add_secret("license-in-use")
        log.add_secret(f"secret-value-{number:04}")
    assert len(log._secrets) <= 256, "each costs time at each line"
    for secret in ("secret-value-0999", "secret-value-0900", "license-in-use"):
        assert secret not in log.redact(f"the very {secret} itself")
