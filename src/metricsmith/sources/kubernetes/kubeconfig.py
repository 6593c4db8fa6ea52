"""A kubeconfig file: the cluster, the user and the namespace of one context."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from metricsmith.errors import DiscoveryError
from metricsmith.model.yaml_guard import check_depth
from metricsmith.net.addresses import check_http_url
from metricsmith.sources.kubernetes.access import bearer, read_file, reveal_token


class _Part(BaseModel):
    """Other keys are other programs' business."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Plugin(_Part):
    """A program that gives credentials."""

    api_version: str = Field(alias="apiVersion")
    command: str = Field(min_length=1)
    args: tuple[str, ...] | None = None
    env: tuple[PluginVariable, ...] | None = None
    install_hint: str | None = Field(None, alias="installHint")
    wants_cluster: bool = Field(False, alias="provideClusterInfo")
    interactive: str | None = Field(None, alias="interactiveMode")


class PluginVariable(_Part):
    """A variable that the program is started with."""

    name: str
    value: str = Field(repr=False)


class Cluster(_Part):
    """Where the API is, and whom to trust."""

    server: str
    ca_file: str | None = Field(None, alias="certificate-authority")
    ca_data: str | None = Field(None, alias="certificate-authority-data")
    insecure: bool = Field(False, alias="insecure-skip-tls-verify")
    server_name: str | None = Field(None, alias="tls-server-name")
    proxy: str | None = Field(None, alias="proxy-url")
    extensions: tuple[Mapping[str, Any], ...] | None = None


class User(_Part):
    """Who asks."""

    cert_file: str | None = Field(None, alias="client-certificate")
    cert_data: SecretStr | None = Field(None, alias="client-certificate-data")
    key_file: str | None = Field(None, alias="client-key")
    key_data: SecretStr | None = Field(None, alias="client-key-data")
    token: SecretStr | None = None
    token_file: str | None = Field(None, alias="tokenFile")
    username: str | None = None
    password: SecretStr | None = None
    plugin: Plugin | None = Field(None, alias="exec")
    provider: Mapping[str, Any] | None = Field(None, alias="auth-provider", repr=False)
    acts_as: str | None = Field(None, alias="as")
    groups: tuple[str, ...] | None = Field(None, alias="as-groups")


class Entry(_Part):
    """What a context names, read from the file in `folder`."""

    folder: Path
    cluster: Cluster
    user: User
    namespace: str

    def authority(self) -> bytes | None:
        """Return the authority to trust, None for the system's."""
        return self._content("certificate-authority", self.cluster.ca_data, self.cluster.ca_file)

    def certificate(self) -> tuple[bytes | None, bytes | None]:
        """Return the client's certificate and its key."""
        user = self.user
        cert = self._content("client-certificate", _revealed(user.cert_data), user.cert_file)
        key = self._content("client-key", _revealed(user.key_data), user.key_file)
        if (cert is None) != (key is None):
            raise _wrong("wanted client-certificate and client-key together")
        return cert, key

    def headers(self) -> dict[str, str]:
        """Return who asks, as headers; a token file is read now."""
        user = self.user
        headers: dict[str, str] = {}
        if user.token_file:
            headers = bearer(reveal_token(self.folder / user.token_file))
        elif user.token and user.token.get_secret_value():
            headers = bearer(user.token.get_secret_value())
        elif user.username:
            pair = f"{user.username}:{_revealed(user.password) or ''}"
            headers = {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}
        return headers

    def _content(self, what: str, data: str | None, file: str | None) -> bytes | None:
        if not data:
            return read_file(self.folder / file) if file else None
        try:
            return b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            raise _wrong(f"{what}-data is not base64") from None


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


def read_kubeconfig(path: Path, context: str) -> Entry:
    """Return what a context of a file names, its current one for an empty name.

    Raises:
        DiscoveryError: `credentials`: the file cannot be read, names something
            that is not there, or asks for what is not done here.
    """
    try:
        return parse_kubeconfig(read_file(path), path.parent, context)
    except DiscoveryError as error:
        raise DiscoveryError(error.reason, f"{path}: {error}") from None


def parse_kubeconfig(text: bytes, folder: Path, context: str) -> Entry:
    """Return what a context in a text names; paths in it begin in `folder`. Raises as `read_kubeconfig`."""
    document = _decoded(text)
    name = context or document.get("current-context") or ""
    if not isinstance(name, str) or not name:
        raise _wrong("it has no current-context, wanted `context`")
    chosen = _named(document, "contexts", "context", name)
    cluster_name, user_name = chosen.get("cluster"), chosen.get("user")
    users: Mapping[str, Any] = _named(document, "users", "user", user_name) if user_name else {}
    data = {
        "folder": folder,
        "cluster": _named(document, "clusters", "cluster", cluster_name),
        "user": users,
        "namespace": chosen.get("namespace") or "default",
    }
    try:
        entry = Entry.model_validate(data)
    except ValidationError as error:
        # The values themselves may be secrets.
        first = error.errors(include_input=False, include_url=False)[0]
        raise _wrong(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    _check(entry)
    return entry


def _decoded(text: bytes) -> Mapping[str, Any]:
    try:
        check_depth(text)
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError) as error:
        # What stands around a mistake may be a secret: only the place is told.
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise _wrong(f"it cannot be read as YAML{where}") from None
    if not isinstance(document, dict):
        raise _wrong("wanted a mapping with clusters, users and contexts")
    return document


def _named(document: Mapping[str, Any], section: str, kind: str, name: object) -> Mapping[str, Any]:
    entries = document.get(section) or []
    known: Sequence[Any] = entries if isinstance(entries, list) else []
    for entry in known:
        if isinstance(entry, dict) and entry.get("name") == name and isinstance(entry.get(kind), dict):
            return dict(entry[kind])
    names = [str(e.get("name"))[:100] for e in known if isinstance(e, dict)]
    shown = ", ".join(names[:10]) or "none"
    raise _wrong(f'got the {kind} "{str(name)[:100]}", wanted one of: {shown}')


def _check(entry: Entry) -> None:
    """Refuse what would otherwise be passed over, and end as an unknown user or a connection elsewhere."""
    try:
        check_http_url(entry.cluster.server, "https://10.0.0.1:6443")
    except ValueError as error:
        raise _wrong(f"cluster.server: {error}") from None
    user = entry.user
    if user.provider is not None:
        name = str(user.provider.get("name"))[:50]
        raise _wrong(
            f"got auth-provider {name}, which Kubernetes has ended; wanted exec, a token or a certificate"
        )
    if user.acts_as or user.groups:
        raise _wrong(
            "got `as` (impersonation), which is not done here; wanted a user with the rights it needs"
        )
    if entry.cluster.proxy:
        raise _wrong("got proxy-url, which is not done here; wanted an address that can be reached")
    if user.plugin is not None and user.plugin.interactive == "Always":
        raise _wrong("got exec with interactiveMode: Always, wanted a plugin that asks nobody")


def _wrong(message: str) -> DiscoveryError:
    return DiscoveryError("credentials", message)
