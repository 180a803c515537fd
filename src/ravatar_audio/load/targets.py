"""Which addresses may be loaded: this machine, private networks, and what somebody has allowed by its name."""

import ipaddress
import socket
from collections.abc import Callable, Collection
from urllib.parse import urlsplit

from ravatar_audio.errors import SettingsError

Resolve = Callable[[str], list[str]]


def _resolve(host: str) -> list[str]:
    return [str(item[4][0]) for item in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def check_targets(urls: Collection[str], allowed: Collection[str] = (), resolve: Resolve = _resolve) -> None:
    """Raise SettingsError unless every host is loopback, private (RFC 1918, 4193, link-local) or in `allowed`.

    A name counts by all of its addresses. `allowed` are hosts as the URLs have them, without a port.
    """
    for url in urls:
        host = (urlsplit(url).hostname or "").rstrip(".")
        if host in {name.lower().rstrip(".") for name in allowed}:
            continue
        try:
            addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in resolve(host)]
        except (OSError, ValueError) as error:  # UnicodeError is one of the latter
            text = f"the host {host!r} cannot be found, so it is not known whether it may be loaded: {error}"
            raise SettingsError(text) from error
        others = [address for address in addresses if not _is_near(address)]
        if others or not addresses:
            where = f" ({', '.join(map(str, others))})" if others and str(others[0]) != host else ""
            raise SettingsError(
                f"{host}{where} is neither this machine nor in a private network: a load run there may be an attack",
                advice=f"If it is yours, and its operator knows: --i-may-load {host}",
            )


def _is_near(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if address.is_unspecified:  # the system takes it for this machine; 0.0.0.0/8 is called private as well
        return True
    nets = _NETS_4 if address.version == 4 else _NETS_6
    return any(address in net for net in nets)


_NETS_4 = [
    ipaddress.ip_network(net)
    for net in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10")
]
_NETS_6 = [ipaddress.ip_network(net) for net in ("::1/128", "fc00::/7", "fe80::/10")]
