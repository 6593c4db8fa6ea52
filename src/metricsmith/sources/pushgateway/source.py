"""The `pushgateway` source: keeps groups that jobs push, repeats them, and ends them when they expire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

from pydantic import Field

from metricsmith.contracts import Context, Emit, PartConfig
from metricsmith.errors import JournalError, LimitExceeded, StoreError
from metricsmith.model.clock import stopped_within
from metricsmith.model.labels import encode_labels, format_labels
from metricsmith.model.metadata import Metadata
from metricsmith.model.schedule import Schedule
from metricsmith.model.settings_types import DurationMs, SizeBytes, format_size
from metricsmith.sources.pushgateway.group import OWN, Group, Labels
from metricsmith.sources.stream import SeriesStream

log = logging.getLogger(__name__)

DAY_MS = 86_400_000


class PushgatewayConfig(PartConfig):
    """Settings of the `pushgateway` source, which every agent has."""

    expiry: DurationMs = Field(
        DAY_MS,
        ge=0,
        le=3650 * DAY_MS,
        description="A group that was not pushed for that long ends; `0` keeps it until it is deleted.",
    )
    interval: DurationMs = Field(
        15_000, ge=100, le=60_000, description="Groups are repeated so often, so that queries find them."
    )
    max_groups: int = Field(1000, ge=1, le=100_000, description="Most groups kept.")
    max_bytes: SizeBytes = Field(64 << 20, ge=1024, description="Most memory of all groups.")
    max_samples: int = Field(100_000, ge=1, le=10_000_000, description="Most samples in one push.")


class _Kept:
    """A group with its stream."""

    def __init__(self, group: Group, context: Context) -> None:
        self.set(group)
        name = encode_labels(dict(group.labels)).decode("latin-1")
        self.stream = SeriesStream[bytes](f"{context.name} {name}", context.series, OWN, bytes)

    def set(self, group: Group) -> None:
        """Take another state of the group."""
        self.group, self.size_bytes = group, group.size_bytes

    def remember(self) -> None:
        """Take the series for told: they were, before a restart."""
        names, values = self.group.all_samples()
        self.stream.batch(names, values, 0, {**self.group.metadata, **OWN})
        self.stream.accepted()


class PushgatewaySource:
    """Keeps groups in the order of their pushes; each survives a restart.

    What a push changes is first emitted, then kept: a push that fails between
    the two is told as failed, and is sent again.
    """

    Config: ClassVar[type[PushgatewayConfig]] = PushgatewayConfig

    def __init__(self, config: PushgatewayConfig, context: Context) -> None:
        self.config = config
        self._context = context
        self._kept: dict[Labels, _Kept] = {}
        self._emit: Emit | None = None
        self._changing = asyncio.Lock()

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Repeat groups and end those that expire, until `stop` is set."""
        self._load()
        self._emit = emit
        clock, schedule = self._context.clock, Schedule(self.config.interval)
        due = schedule.first(clock.now_ms() + 1)
        while not await stopped_within(stop, clock, (due - clock.now_ms()) / 1000):
            await self.repeat(schedule.timestamp(due, clock.now_ms()))
            due, _ = schedule.following(due, clock.now_ms())
        self._emit = None

    def groups(self) -> list[Group]:
        """Return the groups."""
        return [kept.group for kept in self._kept.values()]

    async def push(self, pushed: Group, *, replace_all: bool) -> None:
        """Take a push: the whole group, or its families of the same names; durable when this returns.

        Raises:
            LimitExceeded: there are too many groups, or they are too large.
            JournalError, StoreError: not now; the group is as it was.
        """
        async with self._changing:
            before = self._kept.get(pushed.labels)
            group = pushed
            if before is not None:
                group = pushed if replace_all else before.group.with_added(pushed)
                group = replace(group, failed_ms=before.group.failed_ms)
            self._check_room(group)
            kept = before or _Kept(group, self._context)
            await self._tell(kept, group, pushed.pushed_ms)
            await self._commit({_key(group.labels): group.to_bytes()})
            kept.set(group)
            self._kept[group.labels] = kept
            self._count()

    async def failed(self, labels: Labels, now_ms: int) -> None:
        """Note that a push to a group failed, if there is such a group.

        Raises:
            JournalError, StoreError: it could not be noted.
        """
        async with self._changing:
            kept = self._kept.get(labels)
            if kept is not None:
                group = replace(kept.group, failed_ms=now_ms)
                await self._tell(kept, group, now_ms)
                await self._commit({_key(labels): group.to_bytes()})
                kept.set(group)

    async def delete(self, labels: Labels, now_ms: int) -> bool:
        """End a group; return whether there was one.

        Raises:
            JournalError, StoreError: not now; the group is as it was.
        """
        async with self._changing:
            kept = self._kept.get(labels)
            if kept is None:
                return False
            await self._tell(kept, None, now_ms)
            await self._commit({}, [_key(labels)])
            del self._kept[labels]
            self._count()
            return True

    async def repeat(self, now_ms: int) -> None:
        """Emit all groups as of now; end those that have expired."""
        expiry = self.config.expiry
        async with self._changing:
            found = list(self._kept.values())
            expired = [kept for kept in found if expiry and now_ms - kept.group.pushed_ms >= expiry]
            alive = [kept for kept in found if kept not in expired]
            await asyncio.gather(*(self._repeat_one(kept, now_ms) for kept in alive))
        for kept in expired:
            await self._expire(kept.group.labels, now_ms)

    async def _repeat_one(self, kept: _Kept, now_ms: int) -> None:
        with suppress(JournalError):  # counted where it was refused; it is repeated soon
            await self._tell(kept, kept.group, now_ms)

    async def _expire(self, labels: Labels, now_ms: int) -> None:
        try:
            await self.delete(labels, now_ms)
        except (JournalError, StoreError) as error:
            self._problem(f"the group {format_labels(dict(labels))} could not be ended: {error}", "expiry")
            return
        self._context.telemetry.problem(
            log,
            "metricsmith_push_groups_expired_total",
            f"{self._context.name}: {format_labels(dict(labels))} was not pushed again and ends",
            level=logging.INFO,
        )

    async def _tell(self, kept: _Kept, group: Group | None, now_ms: int) -> None:
        """Emit a group's samples, and markers of series that it has no more; None ends all."""
        if self._emit is None:
            raise JournalError("the agent is starting or stopping; nothing is taken now")
        names, values = ([], []) if group is None else group.all_samples()
        metadata: Mapping[str, Metadata] = OWN if group is None else {**group.metadata, **OWN}
        batch = kept.stream.batch(names, values, now_ms, metadata)
        if len(batch):
            await self._emit(batch)
        kept.stream.accepted()

    def _check_room(self, group: Group) -> None:
        others = [kept for labels, kept in self._kept.items() if labels != group.labels]
        if len(others) >= self.config.max_groups:
            raise LimitExceeded(
                f"got a new group, wanted at most {self.config.max_groups:,};"
                " delete some, or set a shorter expiry"
            )
        size = group.size_bytes + sum(other.size_bytes for other in others)
        if size > self.config.max_bytes:
            most = format_size(self.config.max_bytes)
            raise LimitExceeded(f"all groups would take {format_size(size)}, wanted at most {most}")

    def _load(self) -> None:
        self._kept = {}
        for key, value in self._context.state.items("group/"):
            try:
                group = Group.from_bytes(value)
            except (ValueError, KeyError, TypeError) as error:
                self._problem(f"the kept group {key[:200]} cannot be read: {error}", "state")
                continue
            kept = self._kept[group.labels] = _Kept(group, self._context)
            kept.remember()
        self._count()

    async def _commit(self, put: Mapping[str, bytes], delete: list[str] | None = None) -> None:
        commit: Callable[..., None] = self._context.state.commit
        await asyncio.to_thread(commit, put, delete or ())

    def _problem(self, message: str, reason: str) -> None:
        name = self._context.name
        self._context.telemetry.problem(
            log, "metricsmith_source_failures_total", f"{name}: {message}", source=name, reason=reason
        )

    def _count(self) -> None:
        self._context.telemetry.set("metricsmith_push_groups", len(self._kept))


def _key(labels: Labels) -> str:
    return "group/" + encode_labels(dict(labels)).decode("latin-1")
