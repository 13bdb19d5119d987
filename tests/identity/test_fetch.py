"""Fetching over TLS from a server of this machine: only a certificate that is trusted, for the host that is declared."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rls.identity.fetch import FetchFailed, fetch


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b'{"keys": []}'
        self.send_response(200)
        if self.path == "/chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"c\r\n" + body + b"\r\n0\r\n\r\n")
            return
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(0.2 if self.path == "/slow" else 0)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    file.write_bytes(private + made.public_bytes(ser.Encoding.PEM))
    return file


@pytest.fixture(scope="module")
def port(certificate: Path) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("path", ["/keys", "/chunked"])
def test_a_trusted_server(port: int, path: str) -> None:
    assert fetch(f"https://127.0.0.1:{port}{path}", timeout=10, limit=100) == b'{"keys": []}'


@pytest.mark.usefixtures("trusted")
def test_bounds_hold_over_tls(port: int) -> None:
    with pytest.raises(FetchFailed, match="larger than 11 bytes"):
        fetch(f"https://127.0.0.1:{port}/keys", timeout=10, limit=11)
    with pytest.raises(FetchFailed, match="no answer"):
        fetch(f"https://127.0.0.1:{port}/slow", timeout=0.5, limit=100)


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_host(port: int) -> None:
    with pytest.raises(FetchFailed, match="no answer"):
        fetch(f"https://localhost:{port}/keys", timeout=10, limit=100)


def test_a_certificate_that_nobody_trusts(port: int) -> None:
    with pytest.raises(FetchFailed, match="no answer"):
        fetch(f"https://127.0.0.1:{port}/keys", timeout=10, limit=100)


@pytest.mark.usefixtures("trusted")
def test_proxies_of_the_environment_are_not_asked(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert fetch(f"https://127.0.0.1:{port}/keys", timeout=10, limit=100)
