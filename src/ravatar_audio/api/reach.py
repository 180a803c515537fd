"""Why a connection could not be made, in words; and the TLS context that all connections share."""

import errno
import os
import socket
import ssl
from collections.abc import Iterator

from ravatar_audio.errors import CertificateError, NetworkError, ProtocolError, SettingsError, UnreachableError
from ravatar_audio.settings import Settings


def make_ssl_context(settings: Settings) -> ssl.SSLContext:
    """The one TLS context: the system's authorities, and `ca_file`'s besides. Takes some 70 ms, so make it once.

    Where no address asks for TLS, no authorities are read. Raises SettingsError for a ca_file that holds none.
    """
    if not (settings.api_url.startswith("https:") or settings.websocket_url.startswith("wss:")):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    # A send must never have to wait for something to read (see wire.py).
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(f"ca_file {settings.ca_file!r} holds no usable PEM certificates: {error}") from error
    return context


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it came from, and the members of groups, depth first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        item = waiting.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, BaseExceptionGroup):
            waiting += item.exceptions
        waiting += [item.__context__, item.__cause__]


def why_unreachable(error: BaseException, address: str) -> NetworkError | ProtocolError:
    """The error to raise for a connection to `address` (host and port) that failed with `error`."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return CertificateError(f"the certificate of {address} is refused: {cause.verify_message}")
    for cause in causes:
        if isinstance(cause, UnicodeError):
            return UnreachableError(f"the host of {address} cannot be found: it is no host name")
        if isinstance(cause, socket.gaierror):
            return UnreachableError(f"the host of {address} cannot be found: {cause.strerror}", errno=cause.errno)
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return ProtocolError(f"{address} does not speak TLS as expected: {cause.reason or 'handshake failed'}")
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            reason = os.strerror(cause.errno)
            return UnreachableError(f"no connection to {address}: {reason}", errno=cause.errno)
    return UnreachableError(f"no connection to {address}: it was closed before an answer")
