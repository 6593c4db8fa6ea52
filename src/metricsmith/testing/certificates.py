"""Certificates that live for two days, made by openssl: an authority, a loopback server and a client."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from metricsmith.testing.services import ServiceMissing


@dataclass(frozen=True, slots=True)
class Certificates:
    """Paths of PEM files in one folder; the server's is good for 127.0.0.1 and localhost."""

    folder: Path

    @property
    def authority(self) -> Path:
        """The certificate that signed the others."""
        return self.folder / "ca.pem"

    @property
    def server_pem(self) -> Path:
        """The server's key and certificate in one file."""
        return self.folder / "server-both.pem"

    @property
    def client(self) -> Path:
        """The client's certificate."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The client's key, without a password."""
        return self.folder / "client.key"

    @classmethod
    def make(cls, folder: Path) -> Certificates:
        """Return newly made certificates.

        Raises:
            ServiceMissing: there is no openssl.
        """
        openssl = shutil.which("openssl")
        if openssl is None:
            raise ServiceMissing("openssl is not here; install Debian's package openssl")
        folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder)
        issue = [openssl, "req", "-x509", "-noenc", "-days", "2"]
        issue += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        signed = ["-CA", str(made.authority), "-CAkey", str(folder / "ca.key")]
        for name, more in (
            ("ca", ["-subj", "/CN=metricsmith test authority"]),
            (
                "server",
                ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", *signed],
            ),
            ("client", ["-subj", "/CN=metricsmith", *signed]),
        ):
            files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
            subprocess.run([*issue, *more, *files], check=True, capture_output=True)
        made.server_pem.write_text((folder / "server.key").read_text() + (folder / "server.pem").read_text())
        return made
