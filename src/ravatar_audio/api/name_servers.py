"""The name servers that the system asks, one by one: which of them answers, and how soon (resolv.conf(5), RFC 1035).

The system only says that a look-up took long or failed. When the first of its servers is dead, every look-up waits 5 s
for it before the second is asked: that is worth a name.
"""

import random
import socket
import struct
from pathlib import Path

import trio

SLOW_S = 1.0
"""Longest look-up that is not worth a look at who is slow; a healthy one takes less than a tenth of that."""

RESOLV_CONF = Path("/etc/resolv.conf")
_PORT = 53
_QUERY_A, _CLASS_IN, _RECURSE = 1, 1, 0x0100


def configured(path: Path = RESOLV_CONF) -> list[str]:
    """Return the addresses of the system's name servers, in the order in which they are asked; none where it does not
    say.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    words = [line.split() for line in lines]
    return [line[1] for line in words if len(line) > 1 and line[0] == "nameserver"]


async def answer_time_s(server: str, host: str, *, limit_s: float = 2.0, port: int = _PORT) -> float | None:
    """Return how long one server takes to answer a question for the host's address; None for no answer in time."""
    number = random.getrandbits(16)
    labels = [label.encode("idna") for label in host.rstrip(".").split(".")]
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    question = struct.pack("!6H", number, _RECURSE, 1, 0, 0, 0) + name + struct.pack("!2H", _QUERY_A, _CLASS_IN)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    began_s = trio.current_time()
    try:
        with trio.move_on_after(limit_s), trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect((server, port))
            await sock.send(question)
            while (await sock.recv(4_096))[:2] != question[:2]:
                pass  # an answer to somebody else's question
            return trio.current_time() - began_s
    except OSError:
        pass  # refused, or no way there
    return None


async def slow_ones(host: str, servers: list[str], *, limit_s: float = 2.0, port: int = _PORT) -> list[str]:
    """Return, in words, each server that is slow or does not answer; all are asked at once."""
    times_s: dict[str, float | None] = {}

    async def ask(server: str) -> None:
        times_s[server] = await answer_time_s(server, host, limit_s=limit_s, port=port)

    async with trio.open_nursery() as nursery:
        for server in servers:
            nursery.start_soon(ask, server)
    slow = []
    for server in servers:
        time_s = times_s[server]
        if time_s is None:
            slow.append(f"name server {server} does not answer")
        elif time_s > SLOW_S:
            slow.append(f"name server {server} takes {time_s:.1f} s")
    return slow
