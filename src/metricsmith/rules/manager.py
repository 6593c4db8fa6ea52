"""All groups at work: started, replaced and ended as rule files change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from metricsmith.contracts import Emit, State
from metricsmith.errors import JournalError, StoreError, TemplateError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.clock import Clock
from metricsmith.model.rules import GroupView
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.rules import remembered, views
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.commit import NoOutbox, RoundKeeper
from metricsmith.rules.loop import GroupLoop
from metricsmith.rules.model import Engine, Group, NoData, Outbox
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.template_query import template_query
from metricsmith.rules.templates import Expander, Surroundings
from metricsmith.store_contracts import Selectable

log = logging.getLogger(__name__)

TAKE_OVER_INTERVALS = 2
"""The series of a group that is gone wait so long for another group to go on with them."""


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """How rules are evaluated; what differs makes all groups begin anew, with their alerts."""

    no_data: NoData = NoData.KEEP
    resend_ms: int = 60_000
    outage_tolerance_ms: int = 3_600_000
    concurrency: int = 4
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""


async def _at_once() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Equipment:
    """What the groups of an agent share.

    `accept` keeps samples: durable when it returns, and readable once `readable` has returned.
    """

    engine: Engine
    store: Selectable
    series: SeriesTable
    clock: Clock
    telemetry: Telemetry
    state: State
    accept: Emit
    outbox: Outbox = field(default_factory=NoOutbox)
    readable: Callable[[], Awaitable[None]] = _at_once


class RuleManager:
    """Keeps exactly the given groups running. For use within one event loop, but for what says otherwise."""

    def __init__(self, around: Equipment) -> None:
        self._around = around
        self._loops: dict[str, GroupLoop] = {}
        self._options: RuleOptions | None = None
        self._workers: ThreadPoolExecutor | None = None
        self._updating = asyncio.Lock()
        self._endings: set[asyncio.Task[None]] = set()
        around.telemetry.watch("metricsmith_alerts", lambda: self._count("pending"), state="pending")
        around.telemetry.watch("metricsmith_alerts", lambda: self._count("firing"), state="firing")

    async def update(
        self, groups: Iterable[Group], options: RuleOptions, *, not_before_ms: int = 0, forget: bool = True
    ) -> None:
        """Start groups that are new, end those that are gone, replace what changed, leave the rest alone.

        A rule that stays, with its file, group, name and labels, keeps its
        alerts. `forget` says that rules which are not there are gone for good;
        else their alerts wait in the state for their return.
        """
        wanted = {group.key: group for group in groups}
        async with self._updating:
            anew = options != self._options
            same = {
                key for key, loop in self._loops.items() if not anew and wanted.get(key) == loop.running.group
            }
            former = {key: self._loops.pop(key) for key in list(self._loops) if key not in same}
            await asyncio.gather(*(loop.stop() for loop in former.values()))
            self._use(options)
            for key in same:
                self._loops[key].running.renew(wanted[key])
            new = [group for key, group in wanted.items() if key not in same]
            started = await asyncio.to_thread(self._make, new, options, former)
            for running in started:
                self._start(running, former.get(running.group.key), not_before_ms)
            if forget:
                await asyncio.to_thread(self._forget)
            for key, loop in former.items():
                if key not in wanted:
                    self._end(loop)

    async def stop(self) -> None:
        """End all groups; rounds that are going on are brought to their end."""
        async with self._updating:
            for task in self._endings:
                task.cancel()
            await asyncio.gather(*(loop.stop() for loop in self._loops.values()))
            if self._workers is not None:
                self._workers.shutdown(wait=False)

    def groups(self) -> list[GroupView]:
        """Return all groups as they are now, by file and name. Called from any thread."""
        found = [views.group_view(loop.running) for loop in list(self._loops.values())]
        return sorted(found, key=lambda group: (group.file, group.name))

    def warnings(self) -> list[str]:
        """Return what somebody should look into although it works. Called from any thread."""
        return [text for loop in list(self._loops.values()) for text in views.warnings(loop.running)]

    def _count(self, state: str) -> float:
        return float(sum(getattr(loop, state) for loop in list(self._loops.values())))

    def _use(self, options: RuleOptions) -> None:
        if self._workers is None or self._options is None or options.concurrency != self._options.concurrency:
            if self._workers is not None:
                self._workers.shutdown(wait=False)  # no group is left that uses it
            self._workers = ThreadPoolExecutor(options.concurrency, "rules")
        self._options = options

    def _make(
        self, groups: Sequence[Group], options: RuleOptions, former: dict[str, GroupLoop]
    ) -> list[RunningGroup]:
        """Return groups with the alerts that their rules had, in this process or before a restart."""
        around, made = self._around, []
        query = template_query(around.engine)
        seen_by_texts = Surroundings(query, options.external_labels, options.external_url)
        expand = Expander(seen_by_texts, self._text_failed)
        for group in groups:
            running = RunningGroup(
                group,
                around.engine,
                around.store,
                around.series,
                around.clock,
                expand,
                options.no_data,
                options.resend_ms,
                options.outage_tolerance_ms,
            )
            had: set[str] = set()
            if group.key in former:
                running.take_over(former[group.key].running)
                had = {rule.identity for rule in former[group.key].running.rules}
            self._restore(running, had)
            made.append(running)
        return made

    def _text_failed(self, error: TemplateError) -> None:
        name, message = "metricsmith_rule_template_failures_total", f"a text of an alert fails: {error}"
        self._around.telemetry.problem(log, name, message)

    def _restore(self, running: RunningGroup, had: set[str]) -> None:
        state, damaged = self._around.state, list[str]()
        try:
            for rule in running.rules:
                if isinstance(rule.work, Alerting) and rule.identity not in had:
                    damaged += remembered.restore(rule.identity, rule.work, state)
                    rule.resumed_from_ms = remembered.evaluated_ms(rule.identity, state)
                    # What does not hold any more is ended by the first round, as if there had been no stop.
                    rule.written, _ = rule.work.series()
        except StoreError as error:
            log.error("rule group %s begins without saved alerts: %s", running.group.key, error)
            self._tell_damaged(running, 1)
        if damaged:
            self._tell_damaged(running, len(damaged))
            self._remove(damaged, "state that could not be read")

    def _tell_damaged(self, running: RunningGroup, count: int) -> None:
        self._around.telemetry.problem(
            log,
            "metricsmith_rule_state_damaged_total",
            f"rule group {running.group.key}: {count} saved alerts or series could not be read",
            amount=count,
        )

    def _start(self, running: RunningGroup, former: GroupLoop | None, not_before_ms: int) -> None:
        around = self._around
        assert self._workers is not None
        keeper = RoundKeeper(running, around.accept, around.state, around.outbox, around.telemetry)
        if former is not None:
            keeper.take_over(former.keeper)
        loop = GroupLoop(running, keeper, self._workers, around.clock, around.telemetry, not_before_ms)
        self._loops[running.group.key] = loop
        loop.start()

    def _forget(self) -> None:
        """Remove the state of rules that are gone."""
        what = "the state of rules that are gone"
        known = [rule.identity for loop in self._loops.values() for rule in loop.running.rules]
        try:
            gone = remembered.forgotten(self._around.state, known)
        except StoreError as error:
            self._not_removed(what, error)
        else:
            self._remove(gone, what)

    def _remove(self, keys: Sequence[str], what: str) -> None:
        try:
            if keys:
                self._around.state.commit({}, keys)
        except (JournalError, StoreError) as error:
            self._not_removed(what, error)

    def _not_removed(self, what: str, error: Exception) -> None:
        name, message = "metricsmith_rule_commit_failures_total", f"{what} was not removed: {error}"
        self._around.telemetry.problem(log, name, message, part="state")

    def _end(self, loop: GroupLoop) -> None:
        """Forget a group that is gone; its series end unless another group goes on with them."""
        loop.forget()
        wait_s = TAKE_OVER_INTERVALS * loop.running.group.interval_ms / 1000
        task = asyncio.create_task(self._end_series(loop.running.written, wait_s), name="end of series")
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def _end_series(self, keys: set[bytes], wait_s: float) -> None:
        around = self._around
        await around.clock.sleep(wait_s)
        left = sorted(keys.difference(*(loop.running.written for loop in self._loops.values())))
        if not left:
            return
        layout = Layout(around.series.intern_many(left), "rules that are gone")
        marks = np.ones(len(left), dtype=np.bool_)
        try:
            await around.accept(Batch(layout, around.clock.now_ms(), np.full(len(left), np.nan), marks))
        except JournalError as error:
            log.warning("series of rules that are gone could not be marked as ended: %s", error)
