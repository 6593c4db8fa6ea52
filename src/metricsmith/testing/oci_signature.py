"""Keys as an OCI user has them, and the check of requests that are signed with one.

Source: the draft "Signing HTTP Messages" of Cavage, in the form that OCI's request signatures document:
rsa-sha256, signature version 1, over date, (request-target) and host, with a body also over its length,
type and SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

MAX_SKEW_S = 300
_FIELD = re.compile(r'([a-zA-Z]+)="([^"]*)"')
_ALWAYS = {"date", "(request-target)", "host"}
_WITH_BODY = {"content-length", "content-type", "x-content-sha256"}


class NotSigned(ValueError):
    """A request is not signed as it must be; the message says what is wrong."""


@dataclass(frozen=True)
class ApiKey:
    """A user's key, which signs, and its fingerprint, under which the service knows it."""

    tenancy: str
    user: str
    private: rsa.RSAPrivateKey

    @classmethod
    def make(cls, name: str = "alice") -> ApiKey:
        """Return a new key of a user."""
        private = rsa.generate_private_key(65537, 2048)
        return cls("ocid1.tenancy.oc1..aaaatenancy", f"ocid1.user.oc1..aaaa{name}", private)

    @property
    def fingerprint(self) -> str:
        """MD5 of the public key, as the service shows it."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.private.public_key().public_bytes(serialization.Encoding.DER, form)
        digest = hashlib.md5(public, usedforsecurity=False).hexdigest()
        return ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))

    @property
    def key_id(self) -> str:
        """The name of the key in signatures."""
        return f"{self.tenancy}/{self.user}/{self.fingerprint}"

    def write_config(self, folder: Path, profile: str = "DEFAULT", region: str = "eu-frankfurt-1") -> Path:
        """Write the key and a configuration file of the SDK; return the latter's path."""
        key_file, config = folder / f"{profile}.pem", folder / "config"
        key_file.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        key_file.chmod(0o600)
        config.write_text(
            f"[{profile}]\nuser={self.user}\nfingerprint={self.fingerprint}\n"
            f"tenancy={self.tenancy}\nregion={region}\nkey_file={key_file}\n"
        )
        return config


def check_signature(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    keys: Mapping[str, rsa.RSAPublicKey],
    now_s: float,
) -> None:
    """Return when a request is signed with one of the keys; `headers` have names in lower case.

    Raises:
        NotSigned: it is not.
    """
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(_FIELD.findall(rest))
    if scheme != "Signature" or fields.get("algorithm") != "rsa-sha256" or fields.get("version") != "1":
        raise NotSigned("no Authorization header with a signature of version 1 and rsa-sha256")
    key = keys.get(fields.get("keyId", ""))
    if key is None:
        raise NotSigned("the key is not known")
    signed = fields.get("headers", "").split()
    if missing := (_ALWAYS | (_WITH_BODY if method == "POST" else set())) - set(signed):
        raise NotSigned(f"not signed: {', '.join(sorted(missing))}")
    _check_headers(headers, body, now_s)
    lines = [
        f"{name}: {f'{method.lower()} {path}' if name == '(request-target)' else headers.get(name, '')}"
        for name in signed
    ]
    try:
        signature = base64.b64decode(fields.get("signature", ""), validate=True)
        key.verify(signature, "\n".join(lines).encode(), padding.PKCS1v15(), hashes.SHA256())
    except (InvalidSignature, ValueError):
        raise NotSigned("the signature does not fit") from None


def _check_headers(headers: Mapping[str, str], body: bytes, now_s: float) -> None:
    """Check that what was signed says what was sent, and was signed just now."""
    try:
        skew_s = abs(parsedate_to_datetime(headers.get("date", "")).timestamp() - now_s)
    except ValueError:
        raise NotSigned("the date is no date") from None
    if skew_s > MAX_SKEW_S:
        raise NotSigned("the date is not within allowed clock skew")
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    if headers.get("x-content-sha256", digest) != digest:
        raise NotSigned("x-content-sha256 is not that of the body")
