"""Which proxy a connection goes through, what is said to it, and what its answers mean."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ravatar_audio.api.proxy import Proxy, check_answer, choose_proxy, connect_request, is_exempt, parse_proxy
from ravatar_audio.errors import ProxyError, SettingsError

from ..proxies import PASSWORD, QUOTED, USER

API, WEBSOCKET = "https://chat.rvtr.ai", "wss://chat.rvtr.ai/ws/chat"

CHOICES = [
    # the setting, the environment, the address, and the proxy that it goes through
    (None, {}, API, None),
    (None, {"HTTPS_PROXY": "http://p:3128"}, API, "p:3128"),
    (None, {"HTTPS_PROXY": "http://p:3128"}, WEBSOCKET, "p:3128"),
    (None, {"HTTPS_PROXY": "http://p:3128"}, "http://chat.rvtr.ai", None),
    (None, {"HTTPS_PROXY": "http://p:3128"}, "ws://chat.rvtr.ai", None),
    (None, {"HTTP_PROXY": "p:1", "HTTPS_PROXY": "q:2"}, "ws://chat.rvtr.ai", "p:1"),
    (None, {"HTTP_PROXY": "p:1", "REQUEST_METHOD": "GET"}, "http://chat.rvtr.ai", None),
    (None, {"http_proxy": "p:1", "REQUEST_METHOD": "GET"}, "http://chat.rvtr.ai", "p:1"),
    (None, {"ALL_PROXY": "http://p:3128"}, API, "p:3128"),
    (None, {"all_proxy": "http://p:3128"}, "ws://chat.rvtr.ai", "p:3128"),
    (None, {"ALL_PROXY": "socks5://s:1080", "HTTPS_PROXY": "p:3128"}, API, "p:3128"),
    (None, {"https_proxy": "small:1", "HTTPS_PROXY": "large:2"}, API, "small:1"),
    (None, {"https_proxy": "", "HTTPS_PROXY": "large:2"}, API, "large:2"),
    (None, {"HTTPS_PROXY": "p:1", "NO_PROXY": "rvtr.ai"}, API, None),
    (None, {"HTTPS_PROXY": "p:1", "no_proxy": "other.example"}, API, "p:1"),
    (None, {"HTTPS_PROXY": "p"}, API, "p:80"),
    (None, {"HTTPS_PROXY": "http://[::1]:3128"}, API, "[::1]:3128"),
    ("http://set:8080", {"HTTPS_PROXY": "p:1", "NO_PROXY": "*"}, API, "set:8080"),
    ("none", {"HTTPS_PROXY": "p:1"}, API, None),
]


@pytest.mark.parametrize(("setting", "environ", "url", "address"), CHOICES)
def test_setting_goes_before_environment(
    setting: str | None, environ: dict[str, str], url: str, address: str | None
) -> None:
    proxy = choose_proxy(setting, url, environ)
    assert (proxy.address if proxy else None) == address


EXEMPTIONS = [
    ("", "a.example", 443, False),
    ("*", "a.example", 443, True),
    ("a.example", "a.example", 443, True),
    ("a.example", "A.Example.", 443, True),
    ("A.EXAMPLE", "a.example", 443, True),
    ("a.example", "b.a.example", 443, True),
    ("a.example", "ba.example", 443, False),
    (".a.example", "b.a.example", 443, True),
    (".a.example", "a.example", 443, True),
    ("*.a.example", "b.a.example", 443, True),
    ("b.example, a.example", "a.example", 443, True),
    ("b.example a.example", "a.example", 443, True),
    ("a.example:443", "a.example", 443, True),
    ("a.example:8443", "a.example", 443, False),
    ("localhost", "localhost", 80, True),
    ("127.0.0.1", "127.0.0.1", 80, True),
    ("127.0.0.1:80", "127.0.0.1", 80, True),
    ("127.0.0.1:81", "127.0.0.1", 80, False),
    ("27.0.0.1", "127.0.0.1", 80, False),
    ("10.0.0.0/8", "10.1.2.3", 80, True),
    ("10.0.0.0/8", "11.1.2.3", 80, False),
    ("10.0.0.1/8", "10.1.2.3", 80, True),
    ("10.0.0.0/8", "ten.example", 80, False),
    ("::1", "::1", 80, True),
    ("[::1]:80", "::1", 80, True),
    ("[::1]:81", "::1", 80, False),
    ("fe80::/10", "fe80::1%eth0", 80, True),
    ("10.0.0.0/99", "10.0.0.0", 80, False),
    (",, ,", "a.example", 80, False),
    (".", "a.example", 80, False),
]


@pytest.mark.parametrize(("no_proxy", "host", "port", "is_out"), EXEMPTIONS)
def test_what_no_proxy_exempts(no_proxy: str, host: str, port: int, is_out: bool) -> None:
    assert is_exempt(no_proxy, host, port) is is_out


@given(st.text(max_size=60), st.sampled_from(["a.example", "10.0.0.1", "::1"]))
def test_no_text_in_no_proxy_is_an_error(no_proxy: str, host: str) -> None:
    assert is_exempt(no_proxy, host, 443) in (True, False)


def test_user_and_password_are_taken_out_of_the_address_and_shown_nowhere() -> None:
    proxy = parse_proxy(f"http://{QUOTED}@p.example:3128", "HTTPS_PROXY")
    assert proxy.credentials == f"{USER}:{PASSWORD}"
    assert str(proxy) == "the proxy p.example:3128 (HTTPS_PROXY)"
    for shown in (str(proxy), repr(proxy)):
        assert PASSWORD not in shown
        assert USER not in shown
    request = connect_request(proxy, "chat.rvtr.ai", 443, "test/1")
    head, end, rest = request.partition(b"\r\n\r\n")
    assert (end, rest) == (b"\r\n\r\n", b"")
    lines = head.split(b"\r\n")
    assert lines[:2] == [b"CONNECT chat.rvtr.ai:443 HTTP/1.1", b"Host: chat.rvtr.ai:443"]
    basic = next(line for line in lines if line.startswith(b"Proxy-Authorization: Basic "))
    assert base64.b64decode(basic.rpartition(b" ")[2]).decode() == f"{USER}:{PASSWORD}"


def test_an_ipv6_target_is_in_brackets_and_no_user_means_no_header() -> None:
    request = connect_request(Proxy("p", 1), "::1", 443, "test/1")
    assert request.startswith(b"CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n")
    assert b"Authorization" not in request


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("socks5://u:geheim@p:1080", "socks5"),
        ("https://u:geheim@p:3128", "https"),
        ("http://u:geheim@p:99999", "no address"),
        ("http://u:geheim@p:0", "no address"),
        ("http://u:geheim@", "no address"),
        ("http://u:geheim@p/path", "no address"),
        ("http://u:geheim@p?x=1", "no address"),
        ("http://u:geheim@p:3128\r\nX: y", "no address"),
        ("http://u:geheim@p q", "no address"),
        ("http://u:geheim/@p:3128", "no address"),
        ("http://[u:geheim", "no address"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(url: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        choose_proxy(None, API, {"HTTPS_PROXY": url})
    assert "HTTPS_PROXY" in caught.value.message
    assert "geheim" not in f"{caught.value.message} {caught.value.advice} {caught.value.details}"


HTML = "\r\nContent-Type: text/html"
OTHER_KINDS = "\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM"
ANSWERS = [
    # the head, what is said of it, whether it may pass, and what is in the advice
    (f'HTTP/1.1 407 x\r\nProxy-Authenticate: Basic realm="corp"{HTML}', "wants a user and a password", False, "USER"),
    (
        "HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM",
        "Negotiate or NTLM",
        False,
        "NO_PROXY",
    ),
    ("HTTP/1.1 407 x", "wants a user and a password", False, "USER"),
    (f"HTTP/1.1 403 Forbidden{HTML}", "refuses the way to chat.rvtr.ai:443", False, "CONNECT"),
    ("HTTP/1.1 405 x", "refuses the way", False, "CONNECT"),
    ("HTTP/1.1 302 Found\r\nLocation: http://portal", "refuses the way", False, "CONNECT"),
    ("HTTP/1.0 502 Bad Gateway", "does not reach chat.rvtr.ai:443 now", True, "later"),
    ("HTTP/1.1 503 x", "does not reach", True, "later"),
    ("HTTP/1.1 504 x", "does not reach", True, "later"),
    ("HTTP/1.1 429 x", "does not reach", True, "later"),
    ("SSH-2.0-OpenSSH", "does not speak HTTP", False, "address"),
    ("HTTP/1.1", "does not speak HTTP", False, "address"),
    ("HTTP/1.1 abc", "does not speak HTTP", False, "address"),
    ("", "does not speak HTTP", False, "address"),
]


@pytest.mark.parametrize(("head", "said", "may_pass", "advice"), ANSWERS)
def test_each_answer_of_a_proxy_is_said_to_be_the_proxys(head: str, said: str, may_pass: bool, advice: str) -> None:
    with pytest.raises(ProxyError, match="the proxy p:3128 ") as caught:
        check_answer(head.encode(), Proxy("p", 3128), "chat.rvtr.ai:443")
    assert said in caught.value.message
    assert caught.value.retryable is may_pass
    assert advice in caught.value.advice


def test_a_refused_password_is_told_from_a_missing_one() -> None:
    with pytest.raises(ProxyError, match="refuses the user and the password") as caught:
        check_answer(b"HTTP/1.1 407 x", Proxy("p", 3128, f"{USER}:{PASSWORD}"), "h:1")
    assert PASSWORD not in f"{caught.value.message}{caught.value.advice}{caught.value.details}"


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK", "HTTP/1.0 200 Connection established\r\nVia: x", "HTTP/1.1 299 x"])
def test_an_open_way(head: str) -> None:
    check_answer(head.encode(), Proxy("p", 3128), "h:1")


@pytest.mark.parametrize("entry", ["host:" + "9" * 5_000, "[::1]:" + "9" * 5_000, "host:٤٤٣", "host:443x"])
def test_what_is_no_port_is_not_taken_for_one(entry: str) -> None:
    """Python refuses to read more than 4,300 digits."""
    assert not is_exempt(entry, "host", 443)
