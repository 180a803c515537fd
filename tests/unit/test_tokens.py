"""The token: one request for all who wait, renewal before it expires, no endless refreshing on a wrong clock."""

import base64
import json
import math

import pytest
import trio

from ravatar_audio.api.results import parse_jwt_answer
from ravatar_audio.api.tokens import Tokens, token_lifetime_s
from ravatar_audio.errors import ProtocolError


def jwt(**claims: float | str) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"


class Fetcher:
    def __init__(self, lifetime_s: float | None = None) -> None:
        self.calls = 0
        self.lifetime_s = lifetime_s

    async def __call__(self) -> str:
        self.calls += 1
        number = self.calls
        await trio.sleep(1)
        return f"token-{number}" if self.lifetime_s is None else jwt(iat=0, exp=self.lifetime_s, n=number)


async def test_many_who_wait_cause_one_request(autojump_clock: trio.testing.MockClock) -> None:
    fetch = Fetcher()
    tokens = Tokens(fetch)
    got: list[str] = []

    async def ask() -> None:
        got.append(await tokens.get())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert got == ["token-1"] * 50
    assert fetch.calls == 1


async def test_fifty_refusals_of_one_token_cause_one_refresh(autojump_clock: trio.testing.MockClock) -> None:
    fetch = Fetcher()
    tokens = Tokens(fetch)
    first = await tokens.get()

    async def refused() -> None:
        tokens.invalidate(first)
        assert await tokens.get() == "token-2"

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(refused)
    tokens.invalidate(first)  # a late one: the token it speaks of is long gone
    assert await tokens.get() == "token-2"
    assert fetch.calls == 2


async def test_who_cancels_does_not_take_the_others_along(autojump_clock: trio.testing.MockClock) -> None:
    fetch = Fetcher()
    tokens = Tokens(fetch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tokens.get)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.5):
            await tokens.get()
    assert fetch.calls == 1
    with trio.move_on_after(0.5):
        tokens.invalidate("token-1")
        await tokens.get()
    assert await tokens.get() == "token-3"


async def test_it_is_renewed_shortly_before_it_expires(autojump_clock: trio.testing.MockClock) -> None:
    fetch = Fetcher(lifetime_s=86_400)
    tokens = Tokens(fetch)
    await tokens.get()
    await trio.sleep(86_400 - 70)
    await tokens.get()
    assert fetch.calls == 1
    await trio.sleep(20)
    await tokens.get()
    assert fetch.calls == 2


async def test_a_token_that_lives_for_seconds_is_not_renewed_at_every_call(
    autojump_clock: trio.testing.MockClock,
) -> None:
    fetch = Fetcher(lifetime_s=10)
    tokens = Tokens(fetch)
    for _ in range(5):
        await tokens.get()
        await trio.sleep(1)
    assert fetch.calls == 1


@pytest.mark.parametrize("token", ["", "opaque", "a.b.c", jwt(), jwt(exp="soon"), jwt(exp=5.0), "x.W10.y"])
def test_a_token_that_does_not_say_or_has_expired_by_this_clock_counts_as_good(token: str) -> None:
    assert token_lifetime_s(token, now_s=1_000_000.0) == math.inf


def test_the_lifetime_does_not_depend_on_this_machines_clock() -> None:
    assert token_lifetime_s(jwt(iat=5_000, exp=5_600), now_s=0.0) == 600
    assert token_lifetime_s(jwt(exp=5_600), now_s=5_000.0) == 600


def test_an_expiry_that_no_float_holds_is_none() -> None:
    assert token_lifetime_s(jwt(exp=10**400)) == math.inf


@pytest.mark.parametrize("token", ["abc.déf.ghi", "abc\r\nX-Other: 1", "a b", "abc\0"])
def test_a_token_that_no_header_can_carry_is_no_token(token: str) -> None:
    with pytest.raises(ProtocolError, match="characters") as caught:
        parse_jwt_answer({"jwt": token})
    assert token not in str(caught.value)


async def test_it_is_due_again_and_again_for_as_long_as_somebody_waits(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for lifetime_s in (600.0, None):  # one that does not say is good for a day
        tokens = Tokens(fetch := Fetcher(lifetime_s))
        with trio.move_on_after(600 if lifetime_s is None else 1):
            await tokens.wait_due()
            pytest.fail("there is none yet")
        await tokens.get()
        began_s = trio.current_time()
        for number in range(2, 5):
            await tokens.wait_due()
            await tokens.get()
            assert fetch.calls == number
        assert trio.current_time() - began_s == pytest.approx(3 * ((lifetime_s or 86_400) - 60), abs=10)


async def test_a_refusal_is_not_what_makes_it_due(autojump_clock: trio.testing.MockClock) -> None:
    tokens = Tokens(Fetcher(lifetime_s=600.0))
    tokens.invalidate(await tokens.get())
    with trio.move_on_after(10_000) as scope:
        await tokens.wait_due()
    assert scope.cancelled_caught, "whoever uses it fetches the next"
