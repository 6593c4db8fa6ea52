"""How the API is reached and who asks: the agent's own account in a cluster, or what the settings give."""

from __future__ import annotations

import asyncio
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from yarl import URL

from metricsmith.errors import DiscoveryError
from metricsmith.model.settings_types import reveal
from metricsmith.net.auth import authorization
from metricsmith.net.tls import TlsContext
from metricsmith.sources.kubernetes.settings import KubernetesDiscovery

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds token, authority and namespace of its account."""
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Way:
    """Where a request goes and what it brings along; `namespace` is the agent's own, empty if it has none."""

    url: URL
    headers: Mapping[str, str] = field(repr=False)
    tls: ssl.SSLContext | bool
    server_name: str | None = None
    namespace: str = ""


class Access(Protocol):
    """Tells the way to the API, anew for each request: tokens and files change."""

    async def way(self) -> Way:
        """Return the way.

        Raises:
            DiscoveryError: `credentials`: something that is needed cannot be read.
        """
        ...

    def refused(self) -> None:
        """Note that the server did not accept who asks: what is remembered is not used again."""
        ...


class GivenAccess:
    """The address and credentials of the settings."""

    def __init__(self, settings: KubernetesDiscovery) -> None:
        assert settings.api_server is not None
        self._url = URL(settings.api_server)
        self._settings = settings
        self._tls = TlsContext(settings.tls)

    async def way(self) -> Way:
        try:
            headers, tls = await asyncio.to_thread(
                lambda: (authorization(self._settings), self._tls.current())
            )
        except (OSError, ValueError) as error:
            raise DiscoveryError("credentials", f"a secret or certificate cannot be used: {error}") from None
        return Way(self._url, headers, tls, self._settings.tls.server_name)

    def refused(self) -> None:
        """Nothing is remembered."""


class InCluster:
    """The account of the pod that the agent runs in. Its files are read each time: the token is rotated."""

    def __init__(self, folder: Path = ACCOUNT, environment: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._environment = os.environ if environment is None else environment
        self._tls = TlsMaker()

    async def way(self) -> Way:
        return await asyncio.to_thread(self._way)

    def _way(self) -> Way:
        host = self._environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise DiscoveryError(
                "credentials",
                "KUBERNETES_SERVICE_HOST is not set, so this is no pod: wanted kubeconfig_file or api_server",
            )
        try:
            url = URL.build(scheme="https", host=host.strip("[]"), port=int(port))
        except ValueError:
            raise DiscoveryError("credentials", f"got the service {host[:100]}:{port[:20]}") from None
        token = reveal_token(self._folder / "token")
        tls = self._tls.context(read_file(self._folder / "ca.crt"))
        namespace = read_file(self._folder / "namespace").decode(errors="replace").strip()
        return Way(url, bearer(token), tls, namespace=namespace)

    def refused(self) -> None:
        """Nothing is remembered."""


def bearer(token: str) -> dict[str, str]:
    """Return the header for a token.

    Raises:
        DiscoveryError: it cannot stand in a header.
    """
    if not token or not token.isascii() or not token.isprintable():
        raise DiscoveryError("credentials", "got a token that is empty or not one line of ASCII")
    return {"Authorization": f"Bearer {token}"}


def reveal_token(path: Path) -> str:
    """Return the token that a file holds now; a DiscoveryError says why not."""
    try:
        return reveal(f"file:{path}")
    except (OSError, ValueError) as error:
        raise DiscoveryError("credentials", f"the token in {path} cannot be read: {why(error)}") from None


def read_file(path: Path) -> bytes:
    """Return a small file; a DiscoveryError says why not."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DiscoveryError("credentials", f"{path} cannot be read: {why(error)}") from None
    if len(data) > MAX_FILE_BYTES:
        raise DiscoveryError("credentials", f"got {path} over 1MB, wanted a certificate, token or kubeconfig")
    return data


def why(error: OSError | ValueError) -> str:
    """Return the reason without the path, which stands beside it."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class TlsMaker:
    """Makes TLS contexts from PEM texts; the last one, and its connections, stay while they are the same."""

    def __init__(self) -> None:
        self._made: tuple[tuple[object, ...], ssl.SSLContext] | None = None

    def context(
        self, ca: bytes | None, cert: bytes | None = None, key: bytes | None = None, insecure: bool = False
    ) -> ssl.SSLContext:
        """Return the context.

        Raises:
            DiscoveryError: `credentials`: a text is no certificate or key.
        """
        wanted = (ca, cert, key, insecure)
        if self._made is None or self._made[0] != wanted:
            try:
                self._made = wanted, _context(ca, cert, key, insecure)
            except (OSError, ValueError) as error:
                raise DiscoveryError(
                    "credentials", f"the authority, certificate or key cannot be used: {error}"
                ) from None
        return self._made[1]


def _context(ca: bytes | None, cert: bytes | None, key: bytes | None, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=None if ca is None else ca.decode("ascii"))
    # Authorities of clusters are often without the extensions that Python 3.13 began to ask for.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if cert is not None and key is not None:
        # OpenSSL loads them from files only; this one is ours alone and gone at once.
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(cert + b"\n" + key)
            file.flush()
            # An encrypted key has no password here; without this, OpenSSL would ask on the terminal.
            context.load_cert_chain(file.name, password="")
    return context
