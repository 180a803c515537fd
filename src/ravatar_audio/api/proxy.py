"""Which HTTP proxy a connection goes through, and what is said to it. Pure.

Everything goes by CONNECT (RFC 9110, 9.3.6), HTTP calls and the WebSocket alike: so a proxy that lets one through lets
the other through, and neither reads nor changes what is inside. The setting `proxy` goes before the environment, whose
variables are curl's: HTTPS_PROXY for https and wss, HTTP_PROXY for http and ws, ALL_PROXY for both, and NO_PROXY.
"""

import base64
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ravatar_audio.errors import ProxyError, SettingsError

NO_PROXY = "none"
"""What the setting says where no proxy shall be used, whatever the environment names."""

PROXY_VARIABLES = ("https_proxy", "http_proxy", "all_proxy")
"""Variables of the environment; in capitals as well."""

LARGEST_HEAD_BYTES = 64 * 1024
"""Largest head of a proxy's answer."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy that is reached over plain TCP."""

    host: str
    port: int
    credentials: str | None = field(default=None, repr=False)
    """USER:PASSWORD, for Basic authentication (RFC 7617)."""
    named_by: str = "proxy"
    """The setting, or the variable."""

    @property
    def address(self) -> str:
        """Host and port, without the credentials."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"the proxy {self.address} ({self.named_by})"


def parse_proxy(url: str, named_by: str = "proxy") -> Proxy:
    """Read `http://[USER:PASSWORD@]HOST[:PORT]`, each part percent-encoded where it must be; port 80 unless it says
    another.

    Raises SettingsError, which never repeats the value: it may hold a password.
    """
    form = "http://[USER:PASSWORD@]HOST:PORT"
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
        is_clean = url.isprintable() and " " not in url and parts.path in ("", "/") and not parts.query
        (host or "").encode("idna")
    except ValueError:
        host, port, is_clean, parts = None, None, False, urlsplit("")
    if parts.scheme and parts.scheme != "http":
        raise SettingsError(
            f"{named_by} names a proxy of the kind {parts.scheme!r}, and only HTTP proxies can be used",
            advice=f"Write it as {form}; most proxies speak plain HTTP also for https addresses.",
        )
    if not host or not is_clean or port == 0:
        raise SettingsError(
            f"{named_by} is no address of the form {form}",
            advice="Write special characters of user and password percent-encoded: @ as %40, : as %3A, / as %2F.",
        )
    credentials = None
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port or 80, credentials, named_by)


def choose_proxy(setting: str | None, url: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for `url` (http, https, ws or wss), or None. Raises SettingsError for one that cannot be used.

    Lower-case variables go first, as with curl. HTTP_PROXY does not count in a CGI program, whose client has set it.
    NO_PROXY exempts hosts from what the environment names, not from the setting.
    """
    if setting is not None:
        return None if setting == NO_PROXY else parse_proxy(setting)
    parts = urlsplit(url)
    is_tls = parts.scheme in ("https", "wss")
    _, no_proxy = _first(environ, "no_proxy", "NO_PROXY")
    if is_exempt(no_proxy, parts.hostname or "", parts.port or (443 if is_tls else 80)):
        return None
    names = ["https_proxy", "HTTPS_PROXY"] if is_tls else ["http_proxy"]
    if not is_tls and "REQUEST_METHOD" not in environ:
        names.append("HTTP_PROXY")
    named_by, value = _first(environ, *names, "all_proxy", "ALL_PROXY")
    return parse_proxy(value, named_by) if value else None


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    return next(((name, value) for name in names if (value := environ.get(name, "").strip())), ("", ""))


def is_exempt(no_proxy: str, host: str, port: int) -> bool:
    """Return whether NO_PROXY names this host: `*`, a domain with all below it (with or without a dot before it), an
    address, a network (10.0.0.0/8), each with :PORT where only that one is meant; with commas or spaces between them.
    """
    host = host.rstrip(".").lower()
    return any(_names(entry.lower(), host, port) for entry in no_proxy.replace(",", " ").split())


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, only_port = _split_port(entry)
    if only_port is not None and only_port != port:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        domain = name.removeprefix("*").removeprefix(".").rstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:
        return False


def _split_port(entry: str) -> tuple[str, int | None]:
    if entry.startswith("["):  # [::1]:8080
        inner, _, rest = entry[1:].partition("]")
        return inner, int(rest[1:]) if re.fullmatch(r":\d{1,5}", rest, re.ASCII) else None
    name, colon, number = entry.rpartition(":")
    if colon and ":" not in name and re.fullmatch(r"\d{1,5}", number, re.ASCII):
        return name, int(number)
    return entry, None


def connect_request(proxy: Proxy, host: str, port: int, user_agent: str) -> bytes:
    """Return what asks the proxy for a way to host and port."""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", f"User-Agent: {user_agent}"]
    head = "\r\n".join(lines).encode("ascii")
    if proxy.credentials is not None:
        head += b"\r\nProxy-Authorization: Basic " + base64.b64encode(proxy.credentials.encode())
    return head + b"\r\n\r\n"


def check_answer(head: bytes, proxy: Proxy, target: str) -> None:
    """Check what a proxy answered to CONNECT, up to the empty line. Raises ProxyError unless the way is open."""
    status_line, *fields = head.decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/1.") or not re.fullmatch(r"\d{3}", rest[:3], re.ASCII):
        raise ProxyError(f"{proxy} does not speak HTTP", advice="Check the proxy's address and port.")
    status = int(rest[:3])
    if 200 <= status < 300:
        return
    if status == 407:
        raise _unauthorised(proxy, fields)
    if status in (408, 429) or status >= 500:
        raise ProxyError(
            f"{proxy} answered {status}: it does not reach {target} now",
            advice="Try again later, or ask who runs the proxy.",
            retryable=True,
            status=status,
        )
    raise ProxyError(
        f"{proxy} answered {status}: it refuses the way to {target}",
        advice="Have the proxy allow CONNECT to this host and port, or exempt the host by NO_PROXY.",
        status=status,
    )


def _unauthorised(proxy: Proxy, fields: Iterable[str]) -> ProxyError:
    named = [line.partition(":") for line in fields]
    offers = [value.split()[0] for name, _, value in named if name.lower() == "proxy-authenticate" and value.split()]
    if offers and "basic" not in (offer.lower() for offer in offers):
        wants = f"wants {' or '.join(offers)[:60]}, and only Basic authentication is there"
        advice = "Have the proxy let this machine through without, or exempt the platform by NO_PROXY."
    elif proxy.credentials is None:
        wants = "wants a user and a password"
        advice = f"Write them into {proxy.named_by}: http://USER:PASSWORD@{proxy.address}"
    else:
        wants = "refuses the user and the password that it is given"
        advice = f"Correct them in {proxy.named_by}; write @ as %40, : as %3A, / as %2F."
    return ProxyError(f"{proxy} answered 407: it {wants}", advice=advice, status=407)
