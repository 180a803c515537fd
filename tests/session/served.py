"""TLS for this whole room, as production has it: one authority, made once, which every client of a test trusts."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import trustme

from ravatar_audio.emulator import EmulatorSettings

NAMES = ("127.0.0.1", "::1", "localhost")


@cache
def authority() -> trustme.CA:
    """Its keys are of an elliptic curve: a handshake costs a tenth of RSA's."""
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@cache
def server_context() -> ssl.SSLContext:
    """One for all servers on loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority().issue_cert(*NAMES, key_type=trustme.KeyType.ECDSA).configure_cert(context)
    return context


@contextmanager
def secure_by_default(folder: Path) -> Iterator[None]:
    """Every emulator speaks TLS unless a test says `EmulatorSettings(tls=None)`, and clients trust its certificate.

    The default itself is changed, so that no test, no example of a page and no other world's emulator can forget it.
    SSL_CERT_FILE stands for the system's authorities, for programs that a test starts as well.
    """
    file = folder / "authority.pem"
    authority().cert_pem.write_to_path(file)
    defaults = EmulatorSettings.__init__.__kwdefaults__ or {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(file))
        patch.setitem(defaults, "tls", server_context())
        yield


def tls_of(secure: bool) -> ssl.SSLContext | None:
    """What `EmulatorSettings.tls` is for a test that runs over both kinds of line."""
    return server_context() if secure else None
