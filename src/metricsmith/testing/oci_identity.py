"""What hands out credentials inside OCI: a machine's metadata service, and services that give tokens."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

TENANCY = "ocid1.tenancy.oc1..aaaatenancy"
FEDERATION_PATH, POD_PATH = "/v1/x509", "/resourcePrincipalSessionTokens"


def make_token(lasts_s: int = 3600) -> str:
    """Return a token that nobody signed; clients look at its times only."""
    now_s = time.time_ns() // 1_000_000_000
    claims = {"exp": now_s + lasts_s, "iat": now_s, "jti": time.time_ns(), "res_tenant": TENANCY}
    return f"{_part({'alg': 'none'})}.{_part(claims)}.{_part('signed')}"


@dataclass
class OciIdentity:
    """Gives tokens for keys, and keeps both in `tokens`, where the services that are called look.

    `fault` is what is answered in place of a token, when it is given.
    """

    tokens: dict[str, Any]
    region: str = "fra"
    lasts_s: int = 3600
    fault: tuple[int, bytes] | None = None
    given: int = 0
    port: int = 0
    leaf: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def url(self) -> str:
        """Its address without TLS."""
        return f"http://127.0.0.1:{self.port}"

    def page(self, path: str, authorization: str) -> tuple[int, bytes]:
        """Return what the metadata service answers; it wants a header that no redirect carries."""
        pages: dict[str, Callable[[], bytes]] = {
            "/instance/region": lambda: self.region.encode(),
            "/identity/cert.pem": self._certificate,
            "/identity/intermediate.pem": self._certificate,
            "/identity/key.pem": lambda: _pem(self.leaf),
        }
        if authorization != "Bearer Oracle" or path not in pages:
            return 404, b"not found"
        return 200, pages[path]()

    def token(self, path: str, wanted: dict[str, str]) -> tuple[int, bytes]:
        """Return the answer to a request for a token: for a machine, or for a pod."""
        if self.fault is not None:
            return self.fault
        made = make_token(self.lasts_s)
        key = wanted["publicKey" if path == FEDERATION_PATH else "podKey"]
        self.tokens[made] = serialization.load_der_public_key(base64.b64decode(key))
        self.given += 1
        if path == FEDERATION_PATH:
            return 200, json.dumps({"token": made}).encode()
        return 200, base64.b64encode(json.dumps({"token": f"ST${made}"}).encode())

    def _certificate(self) -> bytes:
        name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, f"opc-tenant:{TENANCY}")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, self.leaf.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return made.sign(self.leaf, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@contextmanager
def oci_identity(tokens: dict[str, Any], tls: Path | None = None) -> Iterator[OciIdentity]:
    """Run the services on loopback; with TLS when a file with key and certificate is given."""
    found = OciIdentity(tokens)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(*found.page(self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(*found.token(self.path, wanted))

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    no_password = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_password)
