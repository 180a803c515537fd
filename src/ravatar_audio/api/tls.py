"""The TLS context that all connections share, and in words why TLS failed."""

import ssl
from collections.abc import Sequence

from ravatar_audio.errors import CertificateError, NetworkError, ProtocolError, SettingsError
from ravatar_audio.settings import Settings


def make_ssl_context(settings: Settings) -> ssl.SSLContext:
    """Make the one TLS context: the system's authorities and `ca_file`'s besides, and our own certificate where one is
    set.

    Takes some 40 ms and 0.7 MB, so make it once, also for many sessions. Where no address asks for TLS, no authorities
    are read. Raises SettingsError for files that cannot be used.
    """
    if not (settings.api_url.startswith("https:") or settings.websocket_url.startswith("wss:")):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context = ssl.create_default_context()
    # A send must never have to wait for something to read (see wire.py).
    context.options |= ssl.OP_NO_RENEGOTIATION
    if settings.lenient_ca:
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(settings.ca_file)
        except (ssl.SSLError, OSError) as error:
            raise SettingsError(f"ca_file {settings.ca_file!r} holds no usable PEM certificates: {error}") from error
    _load_own_certificate(context, settings.client_cert, settings.client_key)
    return context


def _load_own_certificate(context: ssl.SSLContext, certificate: str | None, key: str | None) -> None:
    if certificate is None:
        if key is not None:
            raise SettingsError("client_key is given without client_cert", advice="Name the certificate as well.")
        return
    is_locked = False

    def no_password() -> bytes:  # else the library would ask at the terminal, and a service would hang there
        nonlocal is_locked
        is_locked = True
        return b"?"

    named = f"client_cert {certificate!r}" + (f" with client_key {key!r}" if key is not None else "")
    try:
        context.load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, OSError) as error:
        if is_locked:
            raise SettingsError(
                f"the key of {named} is protected by a password, which nobody is there to type",
                advice="Store the key without one, readable by this program alone: openssl pkey -in KEY -out NEW.",
            ) from None
        reason = (error.reason or "no PEM") if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError(
            f"{named} cannot be used: {reason}",
            advice="Name PEM files: the certificate with its chain, and the key that belongs to it.",
        ) from None


_STRICT_CODES = range(80, 95)
"""X509_V_ERR_PATHLEN_INVALID_FOR_NON_CA to _EC_KEY_EXPLICIT_PARAMS: what OpenSSL checks with X509_V_FLAG_X509_STRICT
alone (x509_vfy.h and check_extensions() in x509_vfy.c of OpenSSL 3)."""

CLOCK_CODES = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED: a certificate is out of date, or this machine's clock is wrong."""

_UNKNOWN_CODES = frozenset({2, 18, 19, 20, 21})
"""The chain ends in no authority that is trusted here."""

_ALERTS = {
    "CERTIFICATE_REQUIRED": "wants a certificate of ours",
    "BAD_CERTIFICATE": "refuses our certificate",
    "UNSUPPORTED_CERTIFICATE": "refuses the kind of our certificate",
    "CERTIFICATE_REVOKED": "says that our certificate is revoked",
    "CERTIFICATE_EXPIRED": "says that our certificate has expired",
    "CERTIFICATE_UNKNOWN": "refuses our certificate",
    "UNKNOWN_CA": "does not know the authority of our certificate",
}
"""What a server says of a client's certificate (RFC 8446, 6.2), by the end of OpenSSL's name for it."""


def why_tls_failed(error: ssl.SSLError, address: str) -> NetworkError | ProtocolError:
    """Return the error to raise for TLS with `address` (host and port) that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _why_refused(error, address)
    reason = error.reason or ""
    for name, words in _ALERTS.items():
        if reason.endswith(f"ALERT_{name}"):
            advice = "Set client_cert and client_key to a certificate that the server's operator has issued."
            return CertificateError(f"{address} {words} ({reason})", advice=advice)
    if reason.endswith("ALERT_HANDSHAKE_FAILURE"):
        return ProtocolError(
            f"{address} does not speak TLS as expected: {reason}",
            advice="Check the address; some servers answer so when they want a certificate of ours: client_cert.",
        )
    return ProtocolError(f"{address} does not speak TLS as expected: {reason or 'handshake failed'}")


def _why_refused(error: ssl.SSLCertVerificationError, address: str) -> CertificateError:
    said = error.verify_message
    advice: Sequence[str] = ()
    if error.verify_code in _STRICT_CODES:
        said = f"{said} (by the stricter check of Python 3.13, VERIFY_X509_STRICT)"
        advice = [
            "Have the authority issue certificates with what is missing,",
            "or set lenient_ca = true, which leaves out this check alone.",
        ]
    elif error.verify_code in CLOCK_CODES:
        advice = ["Set this machine's clock; if it is right, the server needs a new certificate."]
    elif error.verify_code in _UNKNOWN_CODES:
        advice = ["Name the certificates of its authority as ca_file, with any between; or the server sends too few."]
    text = f"the certificate of {address} is refused: {said}"
    return CertificateError(text, advice=" ".join(advice) or None, verify_code=error.verify_code)
