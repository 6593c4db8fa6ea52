"""Settings of requests: authentication, TLS, redirects."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import FilePathText, Secret, SecretFile


class BasicAuth(PartConfig):
    """User and password."""

    username: str = Field("", description="User.")
    password: Secret | None = Field(None, description="Password; `${ENV}` and `file:PATH` are understood.")
    password_file: SecretFile | None = Field(
        None, description="File that holds the password, read at each request."
    )

    @model_validator(mode="after")
    def _one(self) -> BasicAuth:
        if self.password is not None and self.password_file is not None:
            raise ValueError("got password and password_file, wanted one of them")
        return self

    def secret(self) -> SecretStr:
        """Return the password, a file still unread."""
        return _secret(self.password, self.password_file)


class Authorization(PartConfig):
    """An Authorization header."""

    type: str = Field("Bearer", pattern="^[A-Za-z0-9_-]{1,100}$", description="Scheme of the header.")
    credentials: Secret | None = Field(None, description="Token; `${ENV}` and `file:PATH` are understood.")
    credentials_file: SecretFile | None = Field(
        None, description="File that holds the token, read at each request."
    )

    @model_validator(mode="after")
    def _one(self) -> Authorization:
        if self.type.lower() == "basic":
            raise ValueError("got type: Basic, wanted basic_auth for a user and password")
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("exactly one of credentials and credentials_file")
        return self

    def secret(self) -> SecretStr:
        """Return the token, a file still unread."""
        return _secret(self.credentials, self.credentials_file)


def _secret(text: SecretStr | None, file: str | None) -> SecretStr:
    return SecretStr(f"file:{file}") if file is not None else text or SecretStr("")


class Tls(PartConfig):
    """How https connections are verified. Files are read again when they change."""

    ca_file: FilePathText | None = Field(None, description="Authorities to trust instead of the system's.")
    cert_file: FilePathText | None = Field(None, description="Client certificate.")
    key_file: SecretFile | None = Field(None, description="Key of the client certificate.")
    server_name: str | None = Field(None, description="Name that the certificate must have.")
    insecure_skip_verify: bool = Field(False, description="Accept any certificate. For tests only.")

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("wanted cert_file and key_file together")
        return self


class Access(PartConfig):
    """How a server is to be convinced, and convinces us."""

    basic_auth: BasicAuth | None = Field(None, description="User and password.")
    authorization: Authorization | None = Field(None, description="Authorization header, by default Bearer.")
    tls: Tls = Field(default_factory=lambda: Tls(), description="Certificates and verification.")

    @model_validator(mode="after")
    def _one_authentication(self) -> Access:
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("got basic_auth and authorization, wanted at most one of them")
        return self


_OURS = frozenset({"content-encoding", "content-length", "content-type", "host", "transfer-encoding"})
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,200}")


def _check_names(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name in headers:
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"got the header {name[:100]!r}, wanted a name such as X-Scope-OrgID")
        if lower == "authorization":
            raise ValueError("got the header Authorization, wanted `authorization` or `basic_auth`")
        if lower in _OURS or lower.startswith("x-prometheus-remote-write-"):
            raise ValueError(f"got the header {name}, which says how the body is made and is set here")
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("got a header twice, wanted each name once, in one case")
    return headers


Headers = Annotated[dict[str, Secret], AfterValidator(_check_names)]
"""Headers of requests that the settings ask for. What they say may be secret."""


class HttpSettings(Access):
    """How requests are made."""

    follow_redirects: bool = Field(True, description="Follow up to 10 redirects.")
