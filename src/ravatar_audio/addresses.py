"""Addresses of the settings: checked, and in one form. Pure."""

import re
from urllib.parse import quote, urlsplit, urlunsplit

from ravatar_audio.errors import SettingsError

_EXAMPLES = {
    "token_url": "https://example.com/jwt",
    "api_url": "https://chat.rvtr.ai",
    "ws_url": "wss://chat.rvtr.ai/ws/chat",
    "metrics_otlp": "http://localhost:4318/v1/metrics",
}


def normal_url(name: str, url: str | None) -> str | None:
    """Return the address as every library reads it: scheme and host in lower case, and what may not stand in a path
    percent-encoded (RFC 3986). None stays None. Raises SettingsError, which does not repeat the value of the setting
    `name`: a token may be in it."""
    if url is None:
        return None
    schemes = ("ws", "wss") if name == "ws_url" else ("http", "https")
    example = _EXAMPLES[name]
    if not url.isprintable() or url != url.strip():
        raise SettingsError(
            f"{name} has a space at an end, or a line end, tab or other control character in it",
            advice="Write it without; a file with Windows' line ends may be where it comes from.",
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        usable = parts.scheme in schemes and bool(host) and port != 0 and _is_host(host)
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment or "?" in url or "#" in url:
        raise SettingsError(f"{name} is no address of the form {example} (no user, query or fragment in it)")
    return urlunsplit((parts.scheme, place(host, port), _encoded_path(parts.path), "", ""))


def place(host: str, port: int | None) -> str:
    """Return host and port as an address has them; an IPv6 address in brackets."""
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Return whether the host is this machine itself."""
    return host == "localhost" or host == "::1" or bool(re.fullmatch(r"127(\.\d+){3}", host))


def _encoded_path(path: str) -> str:
    """What is percent-encoded already stays."""
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path), safe="/%:@!$&'()*+,;=~-._")


_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%.+)?")
"""Letters, digits and hyphens (some have underscores, too), or an IPv6 address with its zone."""


def _is_host(host: str) -> bool:
    """It can be looked up: no space in it, no label that is empty or longer than 63 characters, and in other scripts
    what IDNA 2008 allows, as the HTTP library and trio have it. Raises UnicodeError, a ValueError, if not."""
    host.encode("idna")
    return bool(_HOST.fullmatch(host)) if host.isascii() else bool(encoded_host(host))


def encoded_host(host: str) -> str:
    """Return a host name of another script in ASCII (IDNA 2008). Raises UnicodeError for one that has no such form."""
    import idna  # trio's; most programs have no such address

    return idna.encode(host.lower()).decode("ascii")
