"""Certificates of all kinds, over real TLS: what is refused, what is said, and what the settings change."""

import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ravatar_audio.api.http import Platform
from ravatar_audio.api.link import open_link
from ravatar_audio.api.tls import make_ssl_context
from ravatar_audio.diagnosis.finding import Finding
from ravatar_audio.diagnosis.platform import PlatformChecks
from ravatar_audio.emulator import Emulator, EmulatorSettings
from ravatar_audio.errors import CertificateError, RavatarError, SettingsError
from ravatar_audio.session import LiveSession
from ravatar_audio.settings import Settings

from .conftest import Frames
from .served import server_context

DAY = datetime.timedelta(days=1)


class Authority:
    """A private authority, as good or bad as a test wants it."""

    def __init__(self, folder: Path, name: str, *, extensions: list[tuple[x509.ExtensionType, bool]]) -> None:
        self.folder, self.extensions = folder, extensions
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(self.name, self.key.public_key(), [(self._constraints(), False), *extensions])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @staticmethod
    def _constraints() -> x509.BasicConstraints:
        return x509.BasicConstraints(ca=True, path_length=None)

    def _signed(
        self,
        subject: x509.Name,
        public_key: Any,
        extensions: list[tuple[x509.ExtensionType, bool]],
        *,
        begins: datetime.timedelta = -DAY,
        ends: datetime.timedelta = DAY,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self.name, subject, public_key, x509.random_serial_number())
        builder = builder.not_valid_before(now + begins).not_valid_after(now + ends)
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, is_critical)
        return builder.sign(self.key, hashes.SHA256())

    def server(self, **dates: datetime.timedelta) -> ssl.SSLContext:
        """A server's context with a certificate for loopback."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._signed(subject, key.public_key(), [(names, False)], **dates)
        file = self.folder / "server.pem"
        plain = serialization.NoEncryption()
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@pytest.fixture
def old_authority(tmp_path: Path) -> Authority:
    """As companies have them: no key identifiers, no key usage, constraints that are not critical."""
    return Authority(tmp_path, "old", extensions=[])


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13's default, on every Python."""
    make = ssl.create_default_context

    def made(*args: Any, **options: Any) -> ssl.SSLContext:
        context = make(*args, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", made)


async def refusal(server: ssl.SSLContext, **settings: Any) -> CertificateError:
    """How a call is refused; the WebSocket is refused in the same words."""
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=server)) as emulator:
            chosen = Settings(api_url=emulator.api_url, **settings)
            async with Platform(chosen, "u") as client:
                with pytest.raises(CertificateError) as caught:
                    await client.connection()
                with pytest.raises(Exception, match="certificate") as link:
                    async with open_link(chosen.websocket_url, "t", client.ssl_context):
                        pytest.fail("it is open")
                assert type(link.value.error()) is CertificateError  # type: ignore[attr-defined]
                assert link.value.error().advice == caught.value.advice  # type: ignore[attr-defined]
    return caught.value


async def test_what_a_private_authority_lacks_is_named_and_one_setting_lets_it_pass(
    old_authority: Authority, strict: None
) -> None:
    server = old_authority.server()
    error = await refusal(server, ca_file=str(old_authority.file))
    assert "VERIFY_X509_STRICT" in error.message
    lacking = ("Missing Authority Key Identifier", "not marked critical", "does not include key usage")
    assert any(words in error.message for words in lacking), error.message
    assert "lenient_ca" in error.advice
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=server)) as emulator:
            settings = Settings(api_url=emulator.api_url, ca_file=str(old_authority.file), lenient_ca=True)
            async with Platform(settings, "u") as client:
                assert (await client.connection()).session


SIGNS = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
LACKS = [
    # what an authority's certificate has beside constraints that are not critical, and what is named first
    ([], "key usage|Key Identifier|not marked critical"),
    ([(SIGNS, True)], "not marked critical|Key Identifier"),
]


@pytest.mark.parametrize(("extensions", "named"), LACKS)
async def test_each_thing_that_is_missing_is_in_the_message(
    tmp_path: Path, strict: None, extensions: list[tuple[x509.ExtensionType, bool]], named: str
) -> None:
    authority = Authority(tmp_path, "lacking", extensions=extensions)
    error = await refusal(authority.server(), ca_file=str(authority.file))
    assert re.search(named, error.message), error.message


async def test_the_lenient_setting_relaxes_nothing_else(old_authority: Authority, strict: None, tmp_path: Path) -> None:
    expired = old_authority.server(begins=-2 * DAY, ends=-DAY)
    assert "expired" in (await refusal(expired, ca_file=str(old_authority.file), lenient_ca=True)).message
    assert "clock" in (await refusal(expired, ca_file=str(old_authority.file), lenient_ca=True)).advice
    unknown = await refusal(old_authority.server(), lenient_ca=True)
    assert "ca_file" in unknown.advice
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("other.example").configure_cert(other)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    wrong = await refusal(other, ca_file=str(tmp_path / "ca.pem"), lenient_ca=True)
    assert "127.0.0.1" in wrong.message
    context = make_ssl_context(Settings(lenient_ca=True))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


# -- client certificates --


@pytest.fixture
def demanding(tmp_path: Path) -> tuple[ssl.SSLContext, str, trustme.CA]:
    """A server that wants a certificate of its clients, the file that trusts it, and the authority of both."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return server, str(file), authority


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("in_one_file", [True, False])
async def test_a_server_that_wants_our_certificate_gets_it_for_http_and_websocket(
    demanding: tuple[ssl.SSLContext, str, trustme.CA], tmp_path: Path, in_one_file: bool, version: ssl.TLSVersion
) -> None:
    server, ca_file, authority = demanding
    server.maximum_version = version
    own = authority.issue_cert("kiosk-7.example")
    own.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    own.private_key_pem.write_to_path(tmp_path / "key.pem")
    names = {"client_cert": "both.pem"} if in_one_file else {"client_cert": "cert.pem", "client_key": "key.pem"}
    with trio.fail_after(30):
        async with Emulator(EmulatorSettings(tls=server)) as emulator:
            files: dict[str, Any] = {name: str(tmp_path / file) for name, file in names.items()}
            settings = Settings(api_url=emulator.api_url, ca_file=ca_file, state_dir=str(tmp_path / "state"), **files)
            async with LiveSession(settings, Frames(every_s=0.01, count=3)) as live:
                await live.wait_finished()
            assert emulator.statistics().frames == 3


@contextmanager
def own_server(context: ssl.SSLContext) -> Iterator[int]:
    """A server that tells a client why it refuses it, as OpenSSL's do; trio's streams only hang up. Gives its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(10)
            secure = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
            with contextlib.suppress(OSError):
                secure.do_handshake()
            plain = socket.socket(fileno=secure.detach())  # what still comes is read, so that no RST eats the alert
            plain.settimeout(10)
            with plain, contextlib.suppress(OSError):
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(4_096):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(15)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("which", ["none", "of another authority"])
async def test_without_it_the_error_says_what_the_server_wants(
    demanding: tuple[ssl.SSLContext, str, trustme.CA], tmp_path: Path, which: str, version: ssl.TLSVersion
) -> None:
    server, ca_file, _ = demanding
    server.maximum_version = version
    given: dict[str, Any] = {}
    if which != "none":
        trustme.CA().issue_cert("kiosk-7.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "other.pem")
        given["client_cert"] = str(tmp_path / "other.pem")
    with trio.fail_after(20), own_server(server) as port:
        async with Platform(Settings(api_url=f"https://127.0.0.1:{port}", ca_file=ca_file, **given), "u") as client:
            with pytest.raises(RavatarError) as caught:
                await client.connection()
    assert "client_cert" in caught.value.advice
    if which != "none" or version is ssl.TLSVersion.TLSv1_3:
        assert isinstance(caught.value, CertificateError)


def test_files_that_cannot_be_used_are_named_and_no_terminal_is_asked_for_a_password(tmp_path: Path) -> None:
    own = trustme.CA().issue_cert("kiosk.example")
    own.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trustme.CA().issue_cert("other.example").private_key_pem.write_to_path(tmp_path / "other.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    locked = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"geheim")
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "empty.pem").write_text("")
    cases: list[tuple[dict[str, str], str]] = [
        ({"client_cert": "cert.pem", "client_key": "other.pem"}, "KEY_VALUES_MISMATCH"),
        ({"client_cert": "cert.pem", "client_key": "locked.pem"}, "password"),
        ({"client_cert": "cert.pem", "client_key": "missing.pem"}, "No such file"),
        ({"client_cert": "cert.pem"}, "cannot be used"),
        ({"client_cert": "empty.pem"}, "cannot be used"),
        ({"client_key": "other.pem"}, "without client_cert"),
    ]
    for names, said in cases:
        files: dict[str, Any] = {name: str(tmp_path / file) for name, file in names.items()}
        settings = Settings(**files)
        with pytest.raises(SettingsError, match=said) as caught:
            Platform(settings, "u")
        assert "PRIVATE" not in f"{caught.value} {caught.value.advice}"


def test_in_this_room_a_line_is_secure_unless_a_test_says_otherwise() -> None:
    """As production's is. A line in the clear is a special case, in the files below alone."""
    assert EmulatorSettings().tls is server_context()
    files = {
        path.name
        for path in Path(__file__).parent.glob("test_*.py")
        if re.search(r"tls=None|secured?=False|api_url=f?\"http:", path.read_text(encoding="utf-8"))
    } - {Path(__file__).name}
    assert files == {
        "test_emulator_live.py",  # an emulator in a process of its own
        "test_exchange.py",  # a cookie that must not go in the clear
        "test_far_away.py",  # a name that is looked up anew for each request
        "test_proxies.py",  # HTTP_PROXY is for http: alone
    }


def test_one_context_serves_many_clients() -> None:
    context = make_ssl_context(Settings())
    clients = [Platform(Settings(), f"u{number}", ssl_context=context) for number in range(3)]
    assert all(client.ssl_context is context for client in clients)


# -- the clock --


@pytest.mark.parametrize(("ahead_days", "state"), [(0, "ok"), (400, "warning"), (-400, "warning")])
async def test_the_doctor_looks_at_the_clock_where_a_certificate_is_out_of_date(
    old_authority: Authority, monkeypatch: pytest.MonkeyPatch, ahead_days: int, state: str
) -> None:
    now = time.time
    monkeypatch.setattr("ravatar_audio.diagnosis.platform.time.time", lambda: now() + ahead_days * 86_400)
    with trio.fail_after(20):
        async with Emulator(EmulatorSettings(tls=old_authority.server(begins=DAY, ends=2 * DAY))) as emulator:
            # Lenient, as Python 3.13 would refuse this authority before it looks at a date.
            settings = Settings(api_url=emulator.api_url, ca_file=str(old_authority.file), lenient_ca=True)
            async with Platform(settings, "u") as client:
                found = {item.name: item async for item in PlatformChecks(client, with_slot=False).run()}
    assert isinstance(found["clock"], Finding)
    assert found["TLS and HTTP"].status == "error"
    assert "not yet valid" in found["TLS and HTTP"].message
    assert found["clock"].status == state
    if ahead_days:
        assert "set the clock" in found["clock"].advice.lower()
    assert found["token"].status == "skipped"
