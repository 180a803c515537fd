"""TLS 1.3 changes its keys in the middle of a stream, and nothing is lost. The peer is OpenSSL's s_server."""

import fcntl
import re
import shutil
import ssl
import subprocess
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request, TextMessage

from ravatar_audio.api.audio import AudioEncoder
from ravatar_audio.api.link import LinkLimits, open_link
from ravatar_audio.frames import FRAME_BYTES

from .conftest import until
from .linked import ENVELOPE

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")


REMARKS = re.compile(rb"SSL_do_handshake -> 1\n|Read BLOCK\n")
"""What it says between the data."""


class TlsServer:
    """`openssl s_server`: what it decrypts comes out of it, what is put in is encrypted; a line K changes the keys."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._ws = WSConnection(ConnectionType.SERVER)
        self._heard = b""

    async def read(self) -> None:
        assert self._process.stdout is not None
        is_accepted = False
        async for data in self._process.stdout:
            self._heard += data
            if not is_accepted and self._request.endswith(b"\r\n\r\n"):
                is_accepted = True
                self._ws.receive_data(self._request)
                assert isinstance(next(self._ws.events()), Request)
                await self.put(self._ws.send(AcceptConnection()))

    @property
    def _request(self) -> bytes:
        """It tells about the session first."""
        return self._heard[self._heard.index(b"GET /") :] if b"GET /" in self._heard else b""

    @property
    def changes(self) -> int:
        """How often it has changed the keys."""
        return self._heard.count(b"SSL_do_handshake -> 1")

    def texts(self) -> list[str]:
        """The messages that have arrived so far."""
        ws = WSConnection(ConnectionType.SERVER)
        head, end, messages = REMARKS.sub(b"", self._request).partition(b"\r\n\r\n")
        ws.receive_data(head + end)
        list(ws.events())
        ws.send(AcceptConnection())
        ws.receive_data(messages)
        parts = [event.data + "\0" * event.message_finished for event in ws.events() if isinstance(event, TextMessage)]
        return "".join(parts).split("\0")[:-1]

    async def put(self, data: bytes) -> None:
        """Write, and wait until it was read: a command counts only at the beginning of what is read at once."""
        pipe = self._process.stdin
        assert isinstance(pipe, trio.lowlevel.FdStream)
        await pipe.send_all(data)
        await until(lambda: not any(fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))), "the server's reading")

    async def say(self, text: str) -> None:
        await self.put(self._ws.send(TextMessage(text)))

    async def change_keys(self, *, both: bool) -> None:
        """New keys for what it sends, and if asked for what it receives."""
        await self.put(b"K\n" if both else b"k\n")


@asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[tuple[TlsServer, str, ssl.SSLContext]]:
    authority = trustme.CA()
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    arguments = ["-cert", str(folder / "server.pem"), "-accept", "127.0.0.1:0", "-tls1_3"]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(
                trio.run_process,
                ["openssl", "s_server", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        )
        assert process.stdout is not None
        said = b""
        while not (said.partition(b"ACCEPT ")[2].endswith(b"\n")):
            said += await process.stdout.receive_some()
        port = int(said.rsplit(b":", 1)[1])
        server = TlsServer(process)
        nursery.start_soon(server.read)
        yield server, f"wss://localhost:{port}/ws/chat", context
        nursery.cancel_scope.cancel()


async def test_new_keys_in_the_middle_of_a_stream_lose_nothing(tmp_path: Path) -> None:
    encoder = AudioEncoder(ENVELOPE)
    expected = []
    with trio.fail_after(20):
        async with (
            tls_server(tmp_path) as (server, url, context),
            open_link(url, "token", context, LinkLimits()) as link,
        ):
            for turn in range(6):
                await server.change_keys(both=turn % 2 == 0)
                for number in range(20):
                    pcm = bytes([20 * turn + number]) * FRAME_BYTES
                    expected.append(encoder.text(pcm))
                    if not encoder.send_now(link, pcm):
                        await encoder.send(link, pcm)
                # What the client hears from here on is under the new keys, and so is what it says.
                await server.say(f"turn {turn}")
                assert await link.receive() == f"turn {turn}"
            await until(lambda: len(server.texts()) >= len(expected), "all messages")
            assert server.texts() == expected
            assert server.changes == 6
            assert not link.wire.is_torn
