"""The database and its retention policy: looked for, created and changed when that is asked for."""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import urlencode

from metricsmith.contracts import Context
from metricsmith.model.duration import format_duration
from metricsmith.net.post import HttpRefused, Poster
from metricsmith.sinks.influxdb.settings import InfluxdbSinkConfig
from metricsmith.wire.influx_answers import (
    NO_DATABASE,
    Policy,
    StatementRefused,
    error_text,
    first_result,
    policies_of,
)
from metricsmith.wire.influxql import identifier

log = logging.getLogger(__name__)

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


class Database:
    """One database of InfluxDB 1."""

    def __init__(self, config: InfluxdbSinkConfig, context: Context, poster: Poster) -> None:
        self._config, self._context, self._poster = config, context, poster
        self._url = f"{config.address()}/query"
        self._ready, self._lock = not config.create and not config.alter, asyncio.Lock()
        self.remark = ""
        """What people should know, empty for nothing."""

    def forget(self) -> None:
        """Look again: the server does not have it."""
        self._ready = not self._config.create and not self._config.alter

    async def prepare(self) -> None:
        """See to it that database and policy are there, as far as the settings ask and the server allows.

        What it refuses is counted, logged and remarked: writing may be allowed all the same.

        Raises:
            RetryLater: the server is away.
        """
        async with self._lock:  # sends are side by side
            if self._ready:
                return
            self.remark = ""
            try:
                await self._prepare()
            except StatementRefused as error:
                self._tell(f"the server refused to create or change the database: {error}")
            self._ready = True

    async def retention_ms(self) -> int | None:
        """Return how long the policy keeps points, 0 for ever; None when that is not to be learnt.

        Raises:
            RetryLater: the server is away.
        """
        if self._config.database is None:
            return None
        try:
            found = self._ours(await self._policies())
        except StatementRefused:
            return None
        return None if found is None else found.duration_ms

    async def _prepare(self) -> None:
        config, database = self._config, identifier(self._config.database or "")
        name = config.retention_policy
        try:
            found = self._ours(await self._policies())
        except StatementRefused as error:
            if NO_DATABASE not in str(error) or not config.create:
                raise
            keeps = [f"DURATION {_seconds(config.retention)}"] if config.retention else []
            named = [f"NAME {identifier(name)}"] if name else []
            options = " ".join([*keeps, *(["REPLICATION 1"] if keeps else []), *named])
            await self._ask(f"CREATE DATABASE {database}" + (f" WITH {options}" if options else ""))
            return
        if found is None:
            if config.create and name:
                duration = _seconds(config.retention) if config.retention else "INF"
                await self._ask(
                    f"CREATE RETENTION POLICY {identifier(name)} ON {database}"
                    f" DURATION {duration} REPLICATION 1"
                )
            return
        wanted = config.retention
        if wanted is None or found.duration_ms == wanted:
            return
        if config.alter:
            await self._ask(
                f"ALTER RETENTION POLICY {identifier(found.name)} ON {database}"
                f" DURATION {_seconds(wanted)} SHARD DURATION {_seconds(_shard_ms(wanted))}"
            )
        elif 0 < found.duration_ms < wanted:
            self.remark = (
                f"the retention policy {found.name} keeps points {format_duration(found.duration_ms)} only,"
                f" not {format_duration(wanted)}"
            )

    def _ours(self, policies: list[Policy]) -> Policy | None:
        name = self._config.retention_policy
        return next((p for p in policies if (p.name == name if name else p.default)), None)

    async def _policies(self) -> list[Policy]:
        database = identifier(self._config.database or "")
        return policies_of(await self._ask(f"SHOW RETENTION POLICIES ON {database}"))

    async def _ask(self, statement: str) -> dict[str, Any]:
        try:
            body = await self._poster.post(self._url, urlencode({"q": statement}).encode(), _FORM)
        except HttpRefused as error:
            raise StatementRefused(error_text(error.body) or error.reason) from None
        return first_result(body)

    def _tell(self, text: str) -> None:
        self.remark = text
        self._context.telemetry.problem(
            log,
            "metricsmith_influxdb_statements_refused_total",
            f"{self._context.name}: {text}",
            sink=self._context.name,
        )


def _seconds(duration_ms: int) -> str:
    return f"{duration_ms // 1000}s"


def _shard_ms(duration_ms: int) -> int:
    """Return the time that a shard has by default: a policy cannot be shorter than its shards."""
    if duration_ms < 2 * _DAY_MS:
        return _HOUR_MS
    return _DAY_MS if duration_ms <= 180 * _DAY_MS else 7 * _DAY_MS
