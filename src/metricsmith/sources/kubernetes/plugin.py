"""Credentials from a program, as kubeconfig's `exec` has it: run with a time-out and bounds, remembered."""

from __future__ import annotations

import asyncio
import os
import shutil
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from metricsmith.errors import DiscoveryError
from metricsmith.model.clock import Clock
from metricsmith.sources.exec.lines import Line
from metricsmith.sources.exec.masking import Masking, hidden_values
from metricsmith.sources.exec.process import Command, End, Run
from metricsmith.sources.kubernetes.kubeconfig import Entry, Plugin

TIMEOUT_MS = 30_000
MAX_OUTPUT_BYTES = 1 << 20
MAX_LINES = 10_000
RENEWED_AHEAD_MS = 30_000
VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_CLUSTER_CONFIG = "client.authentication.k8s.io/exec"


@dataclass(frozen=True, slots=True)
class Given:
    """What a program gave: a token, or a certificate with its key, or both."""

    token: SecretStr | None
    cert: SecretStr | None
    key: SecretStr | None
    expires_ms: int | None


class _Status(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    token: SecretStr | None = None
    cert: SecretStr | None = Field(None, alias="clientCertificateData")
    key: SecretStr | None = Field(None, alias="clientKeyData")
    expires: str | None = Field(None, alias="expirationTimestamp")


class PluginCredentials:
    """The credentials of a program: it is run again when they expire, or are refused."""

    def __init__(self, clock: Clock, timeout_ms: int = TIMEOUT_MS) -> None:
        self._clock, self._timeout_ms = clock, timeout_ms
        self._held: tuple[Entry, Given] | None = None
        self._running = asyncio.Lock()

    def refused(self) -> None:
        """Forget what the server did not accept."""
        self._held = None

    async def current(self, entry: Entry, plugin: Plugin) -> Given:
        """Return credentials that have not expired.

        Raises:
            DiscoveryError: `credentials`: the program cannot be run, does not end, or gives none.
        """
        async with self._running:
            if self._held is not None and self._held[0] == entry and self._good(self._held[1]):
                return self._held[1]
            given = read_credential(await self._run(entry, plugin), plugin.api_version)
            self._held = entry, given
            return given

    def _good(self, given: Given) -> bool:
        return given.expires_ms is None or self._clock.now_ms() < given.expires_ms - RENEWED_AHEAD_MS

    async def _run(self, entry: Entry, plugin: Plugin) -> bytes:
        if plugin.api_version not in VERSIONS:
            raise _failed(plugin, f"got apiVersion {plugin.api_version[:100]}, wanted {VERSIONS[0]}")
        output, errors = _Output(), _Output()
        run = Run(_command(entry, plugin, self._timeout_ms), self._clock, output.take_async, errors.take)
        outcome = await run.finish(asyncio.Event())
        if outcome.end is End.DONE:
            return b"\n".join(output.lines)
        how = {
            End.TIMEOUT: f"did not end within {self._timeout_ms / 1000:g}s",
            End.FLOOD: f"gave too much: {outcome.detail}",
            End.EXIT_CODE: f"ended with exit code {outcome.detail}",
        }.get(outcome.end, f"cannot be started: {outcome.detail}")
        said = errors.last(plugin)
        if outcome.end is End.NOT_STARTED and plugin.install_hint:
            said = f"; {plugin.install_hint.strip()[:300]}"
        raise _failed(plugin, f"{how}{said}")


class _Output:
    """The lines of a program, which bounds what it may write."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def take(self, line: Line) -> None:
        self.lines.append(line.text)

    async def take_async(self, line: Line) -> bool:
        self.take(line)
        return False  # no sign of life: the time-out is for the whole run

    def last(self, plugin: Plugin) -> str:
        """Return the last words, what the program was given hidden in them."""
        if not self.lines:
            return ""
        masking = Masking()
        masking.learn(hidden_values("", [v.value for v in plugin.env or ()]))
        text = masking.hide(self.lines[-1].decode(errors="replace"))
        return f": {''.join(c if c.isprintable() else ' ' for c in text)[:200]}"


def _command(entry: Entry, plugin: Plugin, timeout_ms: int) -> Command:
    environment = {**os.environ, **{v.name: v.value for v in plugin.env or ()}}
    environment["KUBERNETES_EXEC_INFO"] = orjson.dumps(exec_info(entry, plugin)).decode()
    program = plugin.command
    if "/" in program:
        program = str(entry.folder / program)
    else:  # found by the PATH that it is given
        program = shutil.which(program, path=environment.get("PATH")) or program
    return Command(
        arguments=[program, *(plugin.args or ())],
        environment=environment,
        folder=None,
        timeout_ms=timeout_ms,
        window_ms=timeout_ms,
        max_line=MAX_OUTPUT_BYTES,
        max_lines=MAX_LINES,
        max_output=MAX_OUTPUT_BYTES,
    )


def exec_info(entry: Entry, plugin: Plugin) -> dict[str, Any]:
    """Return what a program is told in KUBERNETES_EXEC_INFO."""
    spec: dict[str, Any] = {"interactive": False}
    if plugin.wants_cluster:
        spec["cluster"] = _told_cluster(entry)
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


def _told_cluster(entry: Entry) -> dict[str, Any]:
    cluster, authority = entry.cluster, entry.authority()
    own = [e.get("extension") for e in cluster.extensions or () if e.get("name") == _CLUSTER_CONFIG]
    told = {
        "server": cluster.server,
        "tls-server-name": cluster.server_name,
        "insecure-skip-tls-verify": cluster.insecure or None,
        "certificate-authority-data": None if authority is None else b64encode(authority).decode(),
        "config": own[0] if own else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def read_credential(text: bytes, api_version: str) -> Given:
    """Return what a program printed.

    Raises:
        DiscoveryError: `credentials`: it is no ExecCredential of that version, or holds nothing.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _bad("text that is not JSON") from None
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise _bad("JSON of another kind")
    if document.get("apiVersion") != api_version:
        raise _bad(f"apiVersion {str(document.get('apiVersion'))[:100]}, not {api_version}")
    try:
        status = _Status.model_validate(document.get("status") or {})
        expires_ms = _time_ms(status.expires)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise _bad(f"status.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (ValueError, OverflowError):
        raise _bad("a status.expirationTimestamp that is no time") from None
    if not status.token and not (status.cert and status.key):
        raise _bad("a status with neither token nor clientCertificateData and clientKeyData")
    return Given(status.token, status.cert, status.key, expires_ms)


def _time_ms(text: str | None) -> int | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _bad(got: str) -> DiscoveryError:
    return DiscoveryError("credentials", f"the exec plugin gave {got}, wanted an ExecCredential")


def _failed(plugin: Plugin, message: str) -> DiscoveryError:
    return DiscoveryError("credentials", f"the exec plugin {plugin.command[:200]} {message}")
