"""Twenty answers that are none of the platform's good ones, at each place, before a session has begun and after.

Before, each is one typed error. Afterwards all of them pass: the session goes on when they are over.
"""

import functools

import pytest
import trio

from ravatar_audio.api.backoff import Backoff
from ravatar_audio.emulator import Emulator, Fault
from ravatar_audio.errors import (
    AuthenticationError,
    BadRequestError,
    BusyError,
    GatewayTimeoutError,
    LinkError,
    PaymentRequiredError,
    ProtocolError,
    RavatarError,
    ServerError,
    UnreachableError,
)
from ravatar_audio.session import LiveSession

from .conftest import Frames, MakeSettings, until

ANSWERS: dict[str, tuple[type[RavatarError], type[RavatarError]]] = {
    "status=302": (ProtocolError, LinkError),
    "status=400": (BadRequestError, LinkError),
    "status=400 body=html": (BadRequestError, LinkError),
    "status=401": (AuthenticationError, AuthenticationError),
    "status=401 body=html": (AuthenticationError, AuthenticationError),
    "status=402": (PaymentRequiredError, PaymentRequiredError),
    "status=402 body=html": (PaymentRequiredError, PaymentRequiredError),
    "status=403": (AuthenticationError, AuthenticationError),
    "status=403 body=html": (AuthenticationError, AuthenticationError),
    "status=404": (ProtocolError, LinkError),
    "status=407 body=html": (ProtocolError, LinkError),
    "status=410": (ProtocolError, LinkError),
    "status=429 retry_after_s=0": (GatewayTimeoutError, LinkError),
    "status=451 body=html": (ProtocolError, LinkError),
    "status=500": (ServerError, LinkError),
    "status=502 body=html": (GatewayTimeoutError, LinkError),
    "status=503": (BusyError, LinkError),
    "status=503 body=html": (GatewayTimeoutError, LinkError),
    "status=511 body=html": (ServerError, LinkError),
    "garbage": (ProtocolError, LinkError),
    "hang_up": (UnreachableError, UnreachableError),
}
"""What each is as an error: of an endpoint, and of the handshake."""
PLACES = ("jwt", "connection", "socket")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their growth is tested where the clock can be turned: tests/unit/test_retries.py."""
    quick = functools.partial(Backoff, draw=lambda: 0.01)
    monkeypatch.setattr("ravatar_audio.api.http.Backoff", quick)
    monkeypatch.setattr("ravatar_audio.session.retries.Backoff", quick)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("answer", ANSWERS)
async def test_before_the_session_has_begun_it_is_one_typed_error(
    settings_for: MakeSettings, answer: str, place: str
) -> None:
    kind = ANSWERS[answer][place == "socket"]
    with trio.fail_after(20):
        async with Emulator() as emulator:
            emulator.faults.add(Fault.parse(f"{place} {answer} times=0"))
            with pytest.raises(kind) as caught:
                async with LiveSession(settings_for(emulator), Frames(every_s=0.02)):
                    pytest.fail("it cannot have begun")
            assert type(caught.value) is kind
            assert all(live.state == "ended" for live in emulator.statistics().live)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.link_fault("refusals and pages at /jwt", "live")
@pytest.mark.link_fault("refusals and pages at /connection", "live")
@pytest.mark.link_fault("refusals and pages at the handshake", "live")
async def test_a_session_that_has_worked_outlives_it(settings_for: MakeSettings, answer: str, place: str) -> None:
    with trio.fail_after(20):
        async with Emulator() as emulator:
            live = LiveSession(settings_for(emulator), Frames(every_s=0.02), reconnect_limit_s=None)
            async with live:
                await until(lambda: emulator.statistics().frames > 3, "sound")
                emulator.faults.add(Fault.parse(f"{place} {answer} times=9"))
                await emulator.strike(Fault(at="message", do="close", code=1008))
                await until(lambda: emulator.statistics().faults_fired >= 9, "all nine answers")
                frames = emulator.statistics().frames
                await until(lambda: emulator.statistics().frames > frames + 3, "sound again")
            assert [item.state for item in emulator.statistics().live] == ["ended"], "in the same live session"
