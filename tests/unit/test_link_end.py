"""Every row of the table in api/link_end.py, and that the table names what the code does."""

import pytest

from ravatar_audio.api.link_end import Cause, LinkDown, Verdict
from ravatar_audio.errors import (
    AuthenticationError,
    CertificateError,
    LinkError,
    PaymentRequiredError,
    UnreachableError,
)

RETRY, REFRESH, FINAL = Verdict.RETRY, Verdict.REFRESH, Verdict.FINAL


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (401, REFRESH),
        (403, REFRESH),
        (402, FINAL),
        (408, RETRY),
        (425, RETRY),
        (429, RETRY),
        (500, RETRY),
        (502, RETRY),
        (503, RETRY),
        (504, RETRY),
        (301, FINAL),
        (400, FINAL),
        (404, FINAL),
    ],
)
def test_a_refused_handshake(status: int, verdict: Verdict) -> None:
    assert LinkDown(Cause.REFUSED, status=status).verdict is verdict


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (1000, RETRY),
        (1001, RETRY),
        (1002, RETRY),
        (1003, FINAL),
        (1005, RETRY),
        (1006, RETRY),
        (1007, RETRY),
        (1008, REFRESH),
        (1009, FINAL),
        (1010, FINAL),
        (1011, RETRY),
        (1012, RETRY),
        (1013, RETRY),
        (4000, RETRY),
        (4401, REFRESH),
        (4402, FINAL),
        (4403, REFRESH),
    ],
)
def test_a_close_code(code: int, verdict: Verdict) -> None:
    assert LinkDown(Cause.CLOSED, close_code=code).verdict is verdict


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        (Cause.UNREACHABLE, RETRY),
        (Cause.TIMEOUT, RETRY),
        (Cause.SILENT, RETRY),
        (Cause.VIOLATION, RETRY),
        (Cause.STREAM_ERROR, RETRY),
        (Cause.CERTIFICATE, FINAL),
        (Cause.NOT_WEBSOCKET, FINAL),
    ],
)
def test_an_end_without_code_or_status(cause: Cause, verdict: Verdict) -> None:
    assert LinkDown(cause).verdict is verdict


@pytest.mark.parametrize(
    ("down", "kind"),
    [
        (LinkDown(Cause.REFUSED, status=403), AuthenticationError),
        (LinkDown(Cause.CLOSED, close_code=1008), AuthenticationError),
        (LinkDown(Cause.REFUSED, status=402), PaymentRequiredError),
        (LinkDown(Cause.CLOSED, close_code=4402), PaymentRequiredError),
        (LinkDown(Cause.CERTIFICATE), CertificateError),
        (LinkDown(Cause.UNREACHABLE), UnreachableError),
        (LinkDown(Cause.REFUSED, status=404), LinkError),
        (LinkDown(Cause.CLOSED, close_code=1009), LinkError),
    ],
)
def test_the_error_when_there_is_no_further_try(down: LinkDown, kind: type[Exception]) -> None:
    error = down.error()
    assert type(error) is kind
    assert error.message
    assert error.advice


@pytest.mark.parametrize(
    ("down", "expected"),
    [
        (LinkDown(Cause.REFUSED, status=404), True),
        (LinkDown(Cause.REFUSED, status=301), True),
        (LinkDown(Cause.NOT_WEBSOCKET), True),
        (LinkDown(Cause.CERTIFICATE), True),
        (LinkDown(Cause.REFUSED, status=402), False),
        (LinkDown(Cause.REFUSED, status=403), False),
        (LinkDown(Cause.REFUSED, status=503), False),
        (LinkDown(Cause.CLOSED, close_code=1003), False),
        (LinkDown(Cause.UNREACHABLE), False),
    ],
)
def test_what_says_that_the_address_is_wrong(down: LinkDown, expected: bool) -> None:
    assert down.is_about_address is expected


@pytest.mark.parametrize(
    "down",
    [
        *(LinkDown(Cause.REFUSED, status=status) for status in range(300, 600)),
        *(LinkDown(Cause.CLOSED, close_code=code) for code in (*range(1000, 1016), *range(4400, 4405))),
        *(LinkDown(cause) for cause in Cause if cause not in (Cause.REFUSED, Cause.CLOSED, Cause.NOT_ACCEPTED)),
    ],
    ids=str,
)
def test_an_error_is_worth_trying_again_exactly_where_the_link_would_be_tried_again(down: LinkDown) -> None:
    assert down.error().retryable is (down.verdict is Verdict.RETRY)
