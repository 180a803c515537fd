"""What tests of one connection share: scripted peers that behave, limits that are soon reached, TLS or none."""

import ssl

import pytest
import trio
from wsproto.events import CloseConnection, Ping, TextMessage

from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.api.link_end import LinkDown
from ravatar_audio.api.messages import Envelope

from .scripted import Peer, Script, scripted
from .served import server_context

QUICK = LinkLimits(
    connect_s=2.0, ping_interval_s=0.2, deaf_ping_s=0.4, silence_s=0.3, deaf_s=0.6, stuck_send_s=0.5, leave_s=0.2
)
ENVELOPE = Envelope(avatar_id="ava", user_id="u", language="en-US", source="t", session="s", license_id="license-1")
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Tls:
    """A server's and a client's context, or none."""

    def __init__(self, is_on: bool) -> None:
        self.server: ssl.SSLContext | None = None
        self.client = PLAIN
        if is_on:
            self.server = server_context()
            self.client = ssl.create_default_context()


async def pump(peer: Peer) -> None:
    """Answer what a server must answer, until the end."""
    while True:
        event = await peer.next_event()
        if isinstance(event, Ping):
            await peer.send(event.response())
        elif isinstance(event, CloseConnection):
            await peer.send(event.response())
            return


async def accept_and_pump(peer: Peer) -> None:
    await peer.accept()
    await pump(peer)


def texts(peer: Peer) -> list[str]:
    """The whole text messages that arrived."""
    whole, part = [], ""
    for event in peer.events:
        if isinstance(event, TextMessage):
            part += event.data
            if event.message_finished:
                whole.append(part)
                part = ""
    return whole


async def hold(peer: Peer) -> None:
    """Accept, and then neither read nor write."""
    await peer.accept()
    await trio.sleep_forever()


async def fails(script: Script, tls: Tls, limits: LinkLimits = QUICK) -> LinkDown:
    """The failure to open, or of waiting for a message."""
    async with scripted(script, tls=tls.server) as url:
        with trio.fail_after(5), pytest.raises(LinkDown) as caught:
            async with open_link(url, "token", tls.client, limits) as link:
                await link.receive()
    return caught.value
