"""From a name to a connected stream: slow and dead name servers, addresses that lead nowhere, names that were known."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from ravatar_audio.api.connecting import LOOKUP_S, NameLookups, open_tcp, why_unreachable
from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.link_end import Cause, LinkDown

from .linked import Tls, accept_and_pump
from .scripted import scripted

Answer = Callable[[], Awaitable[list[str]]]


class NameServer(trio.abc.HostnameResolver):
    """Answers as `answer` says: it may wait, raise, or name any addresses."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked = 0

    async def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        found = await self.answer()
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, 0, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in found
        ]

    async def getnameinfo(self, *args: Any) -> Any:
        raise AssertionError("nobody asks for names")


@asynccontextmanager
async def resolving(answer: Answer) -> AsyncIterator[NameServer]:
    server = NameServer(answer)
    before = trio.socket.set_custom_hostname_resolver(server)
    try:
        yield server
    finally:
        trio.socket.set_custom_hostname_resolver(before)


async def loopback() -> list[str]:
    return ["127.0.0.1"]


async def never() -> list[str]:
    await trio.sleep_forever()
    raise AssertionError


async def fails() -> list[str]:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


async def no_such_name() -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


FAILURES = {"no answer": never, "a passing failure": fails, "no such name": no_such_name}


async def connect(url: str, tls: Tls, lookups: NameLookups, **limits: float) -> None:
    async with open_link(url, "token", tls.client, LinkLimits(**limits), lookups=lookups):
        pass


async def test_a_look_up_that_takes_longer_than_connecting_may_is_no_reason_to_give_up(tls: Tls) -> None:
    async def slow() -> list[str]:
        await trio.sleep(1.2)  # of three whole limits of connecting
        return ["127.0.0.1"]

    async with scripted(accept_and_pump, tls=tls.server) as url, resolving(slow):
        await connect(url, tls, NameLookups(), connect_s=0.4)


def test_the_limit_outlasts_a_first_name_server_that_is_dead() -> None:
    """resolv.conf(5): 5 s for each, two rounds; the second of three gets its answer through after 5 s, or after 10."""
    assert LOOKUP_S > 2 * 5.0 + 5.0


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_look_up_that_fails_without_anything_known_says_so(tls: Tls, failure: str) -> None:
    async with resolving(FAILURES[failure]):
        with pytest.raises(LinkDown) as caught:
            await connect("ws://localhost:9/ws/chat", tls, NameLookups(0.2), connect_s=30.0)
    assert caught.value.cause is Cause.UNREACHABLE
    assert "the host of localhost:9 cannot be found" in str(caught.value)
    if failure == "no answer":
        assert "no name server has answered in 0.2 s" in str(caught.value)


@pytest.mark.parametrize("failure", FAILURES)
async def test_the_last_good_addresses_are_used_when_a_later_look_up_fails(tls: Tls, failure: str) -> None:
    lookups = NameLookups()
    async with scripted(accept_and_pump, tls=tls.server) as url:
        async with resolving(loopback):
            await connect(url, tls, lookups)
        async with resolving(FAILURES[failure]) as server:
            began_s = trio.current_time()
            await connect(url, tls, lookups)
            assert server.asked == 1
            assert trio.current_time() - began_s < 3.0, "the whole look-up was waited for"


async def test_addresses_that_no_connection_was_made_to_are_not_kept(tls: Tls) -> None:
    lookups = NameLookups(0.2)
    async with resolving(loopback):
        with pytest.raises(LinkDown):
            await connect(f"ws://localhost:{_closed_port()}/ws/chat", tls, lookups)
    async with resolving(never):
        with pytest.raises(LinkDown, match="cannot be found"):
            await connect("ws://localhost:9/ws/chat", tls, lookups)


async def test_known_addresses_that_fail_make_room_for_a_slow_answer_with_new_ones(tls: Tls) -> None:
    """The platform has moved while its name server is slow: one try goes to the old place, the next to the new."""
    moved = False

    async def old_at_once_new_slowly() -> list[str]:
        if moved:
            await trio.sleep(1.5)
            return ["127.0.0.1"]
        return ["127.0.0.2"]

    async def accept_there(port: int) -> None:
        with trio.socket.socket() as there:
            await there.bind(("127.0.0.2", port))
            there.listen(1)
            stream, _ = await there.accept()
            stream.close()

    lookups = NameLookups()
    async with scripted(accept_and_pump, tls=tls.server) as url, resolving(old_at_once_new_slowly):
        port = int(url.split(":")[2].split("/")[0])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept_there, port)
            with pytest.raises(LinkDown):  # TCP was there, which makes the address known
                await connect(url, tls, lookups)
        moved = True
        with pytest.raises(LinkDown):
            await connect(url, tls, lookups)
        await connect(url, tls, lookups)


@pytest.mark.parametrize("dead", ["127.0.0.3", "100::1"], ids=["refused", "of a family that leads nowhere"])
async def test_an_address_that_leads_nowhere_is_passed_over(tls: Tls, dead: str) -> None:
    async def both() -> list[str]:
        return [dead, "127.0.0.1"]

    async with scripted(accept_and_pump, tls=tls.server) as url, resolving(both):
        began_s = trio.current_time()
        await connect(url, tls, NameLookups())
        assert trio.current_time() - began_s < 2.0


async def test_an_address_that_does_not_answer_gives_way_to_the_next_after_a_quarter_of_a_second() -> None:
    with trio.socket.socket() as full, trio.socket.socket() as good:
        await full.bind(("127.0.0.4", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [trio.socket.socket() for _ in range(3)]
        with trio.move_on_after(0.2):  # a listener whose queue is full drops what comes, as a firewall does
            async with trio.open_nursery() as nursery:
                for filler in fillers:
                    nursery.start_soon(filler.connect, ("127.0.0.4", port))
        await good.bind(("127.0.0.1", port))
        good.listen(1)
        began_s = trio.current_time()
        sock = await open_tcp(["127.0.0.4", "127.0.0.1"], port)
        assert sock.getpeername()[0] == "127.0.0.1"
        assert 0.2 < trio.current_time() - began_s < 0.9
        sock.close()
        for filler in fillers:
            filler.close()


async def test_when_no_address_answers_each_reason_is_there() -> None:
    with pytest.raises(OSError, match="no address answers") as caught:
        await open_tcp(["127.0.0.1", "127.0.0.2"], _closed_port())
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert len(caught.value.__cause__.exceptions) == 2


def _closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "::1"], ["127.0.0.1", "127.0.0.2"]])
async def test_what_the_system_says_of_a_failed_connection_is_in_the_error(addresses: list[str]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"all attempts to connect|no address answers") as caught:
            await open_tcp(addresses, closed.getsockname()[1])
    assert "Connection refused" in why_unreachable(caught.value, "host:1").message
