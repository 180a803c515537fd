"""An emulator over TLS, as production is, or in the clear where a test says so."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import trustme

from ravatar_audio.emulator import Emulator, EmulatorSettings, server_tls


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def served(
    settings: EmulatorSettings, folder: Path, *, secure: bool = True
) -> AsyncIterator[tuple[Emulator, str | None]]:
    """The emulator, and the file of certificates that a client has to trust, if any."""
    ca_file: str | None = None
    if secure:
        ca_file = str(folder / "ca.pem")
        _authority().cert_pem.write_to_path(ca_file)
        _authority().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
        settings = replace(settings, tls=server_tls(folder / "server.pem"))
    async with Emulator(settings) as emulator:
        yield emulator, ca_file
