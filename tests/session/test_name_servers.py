"""Which of the system's name servers is slow: asked one by one, over real sockets."""

from pathlib import Path

import pytest
import trio

from ravatar_audio.api import name_servers
from ravatar_audio.api.http import Platform
from ravatar_audio.api.name_servers import answer_time_s, configured, slow_ones
from ravatar_audio.diagnosis.finding import FindingError
from ravatar_audio.diagnosis.platform import PlatformChecks
from ravatar_audio.errors import UnreachableError
from ravatar_audio.settings import Settings

from .test_connecting import fails, resolving


async def serve(sock: trio.socket.SocketType, delay_s: float | None) -> None:
    while True:
        question, who = await sock.recvfrom(512)
        if delay_s is not None:
            await trio.sleep(delay_s)
            await sock.sendto(b"\xff\xff noise", who)
            await sock.sendto(question[:2] + b"\x81\x80" + question[4:], who)


@pytest.mark.parametrize(
    ("delay_s", "said"),
    [(0.0, ""), (1.2, "takes 1.2 s"), (None, "does not answer")],
    ids=["well", "slow", "dead"],
)
async def test_the_server_that_is_slow_is_named_and_no_other(delay_s: float | None, said: str) -> None:
    with (
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as good,
        trio.socket.socket(type=trio.socket.SOCK_DGRAM) as bad,
    ):
        await good.bind(("127.0.0.1", 0))
        port = good.getsockname()[1]
        await bad.bind(("127.0.0.2", port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, good, 0.0)
            nursery.start_soon(serve, bad, delay_s)
            slow = await slow_ones("chat.example", ["127.0.0.2", "127.0.0.1"], port=port)
            nursery.cancel_scope.cancel()
    assert [f"name server 127.0.0.2 {said}"] == slow if said else slow == []


async def test_a_server_that_refuses_gives_no_answer() -> None:
    with trio.socket.socket(type=trio.socket.SOCK_DGRAM) as sock:
        await sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    assert await answer_time_s("127.0.0.1", "chat.example", limit_s=0.5, port=port) is None


def test_the_configured_servers_are_read_in_order(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("# nameserver 9.9.9.9\nsearch lan\nnameserver 192.0.2.1\nnameserver   2001:db8::1\noptions edns0\n")
    assert configured(file) == ["192.0.2.1", "2001:db8::1"]
    assert configured(tmp_path / "none") == []


@pytest.mark.parametrize("is_found", [True, False], ids=["slow", "not found"])
async def test_the_doctor_names_the_slow_name_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_found: bool
) -> None:
    async def slow() -> list[str]:
        await trio.sleep(1.1)
        return ["127.0.0.1"]

    monkeypatch.setattr(name_servers, "configured", lambda: ["127.0.0.9"])  # nobody is there
    settings = Settings(api_url="https://platform.test", user_id="u", state_dir=str(tmp_path))
    async with Platform(settings, "u") as platform, resolving(slow if is_found else fails):
        checks = PlatformChecks(platform, with_slot=False)
        with pytest.raises(
            (FindingError, UnreachableError), match=r"name server 127\.0\.0\.9 does not answer"
        ) as caught:
            await checks.check_name()
    assert isinstance(caught.value, FindingError) == is_found
