"""Groups run on their intervals, keep what they find, and hand over to what replaces them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import orjson
import pytest
from prometheus_client import generate_latest

from metricsmith.errors import DiskFull, ExecutionError, StoreError
from metricsmith.model.batch import Batch
from metricsmith.model.labels import decode_labels, encode_labels, format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.state import MemoryState
from metricsmith.model.telemetry import Telemetry
from metricsmith.promql.memory import MemorySeries
from metricsmith.rules.loop import offset_ms
from metricsmith.rules.manager import Equipment, RuleManager, RuleOptions
from metricsmith.rules.model import AlertingRule, Answer, Group, NoData, Notification, RecordingRule, Rule
from metricsmith.testing.clock import FakeClock

UP = encode_labels({"job": "a"})
MINUTE_MS = 60_000


class Expressions:
    """An engine whose expressions have the results that a test gives them; `hold` keeps them waiting."""

    def __init__(self, **results: float | Exception | None) -> None:
        self.results: dict[str, float | Exception | None] = dict(results)
        self.asked: list[tuple[str, int]] = []
        self.free = threading.Event()
        self.free.set()

    def check(self, expr: str) -> None: ...

    def reads(self, expr: str) -> frozenset[str]:
        return frozenset()

    def with_data(self, expr: str) -> str | None:
        return f"data of {expr}"

    def instant(self, expr: str, time_ms: int, overlay: Any = None) -> Answer:
        assert self.free.wait(10)
        self.asked.append((expr, time_ms))
        result = self.results.get(expr)
        if isinstance(result, Exception):
            raise result
        found = [] if result is None else [result]
        return Answer([UP] * len(found), np.array(found, dtype=np.float64))


class Outbox:
    def __init__(self) -> None:
        self.released: list[str] = []
        self._number = 0

    def prepare(self, notifications: Sequence[Notification]) -> Mapping[str, bytes]:
        self._number += 1
        return {
            f"outbox/{self._number}/{i}": ("end" if n.resolved else "fire").encode()
            for i, n in enumerate(notifications)
        }

    def release(self, entries: Mapping[str, bytes]) -> None:
        self.released += [value.decode() for value in entries.values()]


class World:
    """A manager whose clock, results, journal and state a test has in its hands."""

    def __init__(self, state: MemoryState | None = None, now_ms: int = 1_700_000_000_000) -> None:
        self.clock = FakeClock(now_ms)
        self.engine = Expressions()
        self.state = MemoryState() if state is None else state
        self.outbox = Outbox()
        self.telemetry = Telemetry(self.clock)
        self.series = SeriesTable()
        self.kept: list[tuple[int, dict[str, float | None]]] = []
        self.full = False
        self.manager = RuleManager(
            Equipment(
                self.engine,
                MemorySeries([]),
                self.series,
                self.clock,
                self.telemetry,
                self.state,
                self.accept,
                self.outbox,
            )
        )
        self._changed = asyncio.Event()

    async def accept(self, batch: Batch) -> None:
        if self.full:
            raise DiskFull("no space")
        keys = [self.series.key(int(i)) for i in batch.layout.ids]
        values = [
            None if stale else value
            for value, stale in zip(batch.value.tolist(), batch.stales().tolist(), strict=True)
        ]
        shown = {format_labels(decode_labels(k)): v for k, v in zip(keys, values, strict=True)}
        assert isinstance(batch.time_ms, int)
        self.kept.append((batch.time_ms, shown))

    async def update(self, *groups: Group, **options: Any) -> None:
        await self.manager.update(groups, RuleOptions(**options))
        await self.clock.sleeping(len(groups))

    async def rounds(self, count: int = 1, groups: int = 1) -> None:
        """Let time pass until each of the groups, which are in step, has had so many rounds."""
        for _ in range(count):
            self.clock.advance(self.clock.next_wake_s())
            await self.clock.sleeping(groups)

    def alerts(self) -> list[tuple[str, int]]:
        views = [r.alerting for g in self.manager.groups() for r in g.rules if r.alerting is not None]
        return [(alert.state, alert.active_at_ms) for view in views for alert in view.alerts]


def group(*rules: Rule, name: str = "g", **fields: Any) -> Group:
    return Group(name, "f.yml", MINUTE_MS, rules, **fields)


X = RecordingRule("x", "x")
DEEP = AlertingRule("Deep", "deep", for_ms=5 * MINUTE_MS)


@pytest.fixture
async def world() -> Any:
    made = World()
    yield made
    made.engine.free.set()
    await made.manager.stop()


async def test_rounds_have_equal_distances_and_the_phase_of_the_group(world: World) -> None:
    world.engine.results["x"] = 1.0
    await world.update(group(X))
    await world.rounds(3)
    times = [time_ms for time_ms, _ in world.kept]
    assert [b - a for a, b in pairwise(times)] == [MINUTE_MS] * 2
    assert {time_ms % MINUTE_MS for time_ms in times} == {offset_ms(group(X))}
    assert world.kept[0][1] == {'x{job="a"}': 1.0}


def test_phases_are_spread() -> None:
    phases = [offset_ms(group(name=f"g{n}")) for n in range(200)]
    assert min(sum(k * 15_000 <= p < (k + 1) * 15_000 for p in phases) for k in range(4)) > 30


async def test_a_round_that_takes_too_long_is_not_overlapped_and_what_was_missed_is_counted(
    world: World,
) -> None:
    world.engine.results["x"] = 1.0
    await world.update(group(X))
    await world.rounds()
    world.engine.free.clear()
    world.clock.advance(60)
    await asyncio.sleep(0)
    world.clock.advance(150)  # the round of minute 1 ends in the middle of minute 3
    world.engine.free.set()
    await world.clock.sleeping()
    first = world.kept[0][0]
    assert [(t - first) // MINUTE_MS for t, _ in world.kept] == [0, 1, 3]
    key = group().key
    assert world.telemetry.value("metricsmith_rule_group_iterations_missed_total", rule_group=key) == 1
    assert world.telemetry.value("metricsmith_rule_group_iterations_total", rule_group=key) == 3


async def test_a_clock_set_back_does_not_stop_the_rounds(world: World) -> None:
    world.engine.results["x"] = 1.0
    await world.update(group(X))
    await world.rounds()
    world.clock.set_wall(world.clock.now_ms() - 3_600_000)
    await world.rounds(3)
    times = [time_ms for time_ms, _ in world.kept]
    assert times[1] < times[0] - 3_500_000 and times[2] - times[1] == MINUTE_MS


async def test_a_rule_that_fails_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.engine.results |= {"x": ExecutionError("too much"), "y": 2.0, "z": ZeroDivisionError("defect")}
    rules = [X, RecordingRule("z", "z"), RecordingRule("y", "y")]
    await world.update(group(*rules))
    await world.rounds(2)
    assert world.kept[-1][1] == {'y{job="a"}': 2.0}
    assert "rule x failed: ExecutionError: too much" in caplog.text
    views = {rule.name: rule for rule in world.manager.groups()[0].rules}
    assert (views["x"].health, views["x"].last_error, views["y"].health) == ("err", "too much", "ok")
    failed = world.telemetry.value("metricsmith_rule_evaluation_failures_total", rule_group=group().key)
    assert failed == 4


async def test_series_that_are_no_more_are_ended(world: World) -> None:
    world.engine.results["x"] = 1.0
    await world.update(group(X))
    await world.rounds()
    world.engine.results["x"] = None
    await world.rounds(2)
    assert [shown for _, shown in world.kept] == [{'x{job="a"}': 1.0}, {'x{job="a"}': None}]


async def test_equal_groups_go_on_and_learn_their_new_lines(world: World) -> None:
    await world.update(group(X))
    await world.rounds()
    asked = len(world.engine.asked)
    moved = replace(X, origin=replace(X.origin, line=9))
    await world.update(group(moved))
    assert world.manager._loops[group().key].running.rules[0].work.rule.origin.line == 9
    await world.rounds()
    assert len(world.engine.asked) == asked + 1


async def test_a_changed_group_ends_the_series_of_rules_that_are_gone(world: World) -> None:
    world.engine.results |= {"x": 1.0, "y": 2.0}
    await world.update(group(X, RecordingRule("y", "y")))
    await world.rounds()
    await world.update(group(X))
    await world.rounds()
    assert world.kept[-1][1] == {'x{job="a"}': 1.0, 'y{job="a"}': None}


async def test_series_of_a_group_that_is_gone_end_unless_another_goes_on_with_them(world: World) -> None:
    world.engine.results |= {"x": 1.0, "y": 2.0}
    await world.update(group(X, RecordingRule("y", "y")))
    await world.rounds()
    await world.manager.update([group(X, name="new")], RuleOptions())
    await world.clock.sleeping(2)
    key = group().key
    assert f'rule_group="{key}"' not in exposed(world.telemetry)
    world.clock.advance(60)
    await world.clock.sleeping(2)
    world.clock.advance(61)
    await world.clock.sleeping(1)
    ends = [shown for _, shown in world.kept if None in shown.values()]
    assert ends == [{'y{job="a"}': None}]


def exposed(telemetry: Telemetry) -> str:
    return generate_latest(telemetry.registry).decode()


async def test_an_alert_is_told_with_what_is_kept_of_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    world.engine.results["deep"] = 1.0
    await world.update(group(replace(DEEP, for_ms=0)))
    await world.rounds()
    assert world.outbox.released == ["fire"]
    assert [key.split("/")[0] for key, _ in world.state.items()] == ["alert", "outbox"]
    world.engine.results |= {"deep": None, "data of deep": 1.0}
    await world.rounds()
    assert world.outbox.released == ["fire", "end"]
    assert 'alert Deep is firing: value 1, {job="a"}' in caplog.messages
    assert 'alert Deep is resolved: {job="a"}' in caplog.messages


class FullState(MemoryState):
    full = False

    def commit(self, put: Any, delete: Any = ()) -> None:
        if self.full:
            raise StoreError("no space")
        super().commit(put, delete)


async def test_a_full_disk_holds_back_no_alert_and_what_was_not_kept_is_kept_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = FullState()
    world = World(state)
    world.engine.results["deep"] = 1.0
    await world.update(group(replace(DEEP, for_ms=0)))
    world.full = state.full = True
    await world.rounds()
    assert world.outbox.released == ["fire"] and state.items() == []
    for part in ("samples", "state"):
        assert world.telemetry.value("metricsmith_rule_commit_failures_total", part=part) == 1
        assert f"{part} of rule group g (f.yml) not kept: no space" in caplog.text
    world.full = state.full = False
    world.clock.advance(30)  # not yet time to tell it again: nothing else changes
    await world.rounds()
    assert len(state.items("alert/")) == 1
    await world.manager.stop()


async def test_a_metric_that_is_not_there_is_warned_of_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.update(group(replace(DEEP, threshold=1.0)))
    await world.rounds(4)
    assert world.manager.warnings() == []
    await world.rounds(4)
    assert caplog.text.count("no series matched for 5 rounds: deep") == 1
    (warning,) = world.manager.warnings()
    assert "f.yml:0: rule Deep: no series matched for 8 rounds" in warning
    world.engine.results["data of deep"] = 1.0
    await world.rounds()
    assert world.manager.warnings() == []


async def run_until(world: World, minutes: int, *rules: Rule) -> None:
    await world.update(group(*rules))
    await world.rounds(minutes)
    await world.manager.stop()


@pytest.mark.parametrize(
    ("down_minutes", "shift"), [(1, 0), (2, 1), (40, 39), (61, 60)], ids=["not missed", "one", "many", "hour"]
)
async def test_time_in_which_nobody_evaluated_does_not_count(down_minutes: int, shift: int) -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await run_until(before, 3, DEEP)
    ((_, began),) = before.alerts()
    last = before.kept[-1][0]
    after = World(before.state, last + (down_minutes - 1) * MINUTE_MS + 1)
    after.engine.results["deep"] = 1.0
    await after.update(group(DEEP))
    await after.rounds()
    assert after.alerts() == [("pending", began + shift * MINUTE_MS)]
    await after.rounds()
    assert after.alerts()[0][0] == "pending"
    await after.rounds()
    assert after.alerts()[0][0] == "firing"
    await after.manager.stop()


async def test_a_pending_alert_does_not_outlast_a_long_stop() -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await run_until(before, 3, DEEP)
    after = World(before.state, before.clock.now_ms() + 3 * 3_600_000)
    after.engine.results["deep"] = 1.0
    await after.update(group(DEEP))
    await after.rounds()
    assert after.alerts() == [("pending", after.kept[0][0])]
    await after.manager.stop()


async def test_a_firing_alert_lasts_over_any_stop_and_is_not_told_before_its_time() -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await before.update(group(replace(DEEP, for_ms=0)), resend_ms=10 * MINUTE_MS)
    await before.rounds(2)
    await before.manager.stop()
    ((_, began),) = before.alerts()
    assert before.outbox.released == ["fire"]
    after = World(before.state, before.kept[-1][0] + 1)
    await after.update(group(replace(DEEP, for_ms=0)), resend_ms=10 * MINUTE_MS)
    await after.rounds(3)  # and its series has no data at first
    assert after.alerts() == [("firing", began)] and after.outbox.released == []
    await after.rounds(6)
    assert after.outbox.released == ["fire"]
    after.engine.results["data of deep"] = 1.0
    await after.rounds()
    assert after.alerts() == [] and after.outbox.released == ["fire", "end"]
    await after.manager.stop()


async def test_state_of_rules_that_are_gone_is_forgotten_unless_they_may_return(world: World) -> None:
    world.engine.results["deep"] = 1.0
    await world.update(group(DEEP))
    await world.rounds()
    assert world.state.items()
    await world.manager.update([], RuleOptions(), forget=False)
    assert world.state.items()
    await world.manager.update([], RuleOptions())
    assert world.state.items() == []


async def test_state_that_cannot_be_read_stops_no_group(caplog: pytest.LogCaptureFixture) -> None:
    class Unreadable(MemoryState):
        def items(self, prefix: str = "") -> Any:
            raise StoreError("broken")

    world = World(Unreadable())
    world.engine.results["deep"] = 1.0
    await world.update(group(DEEP))
    await world.rounds()
    assert world.alerts() and "begins without saved alerts: broken" in caplog.text
    await world.manager.stop()


async def test_damaged_state_is_counted_and_the_rest_is_used(caplog: pytest.LogCaptureFixture) -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await run_until(before, 1, DEEP)
    (identity,) = {key.split("/")[1] for key, _ in before.state.items()}
    before.state.commit({f"alert/{identity}/0": b"{}", f"seen/{identity}/0": b"\xff"})
    after = World(before.state, before.clock.now_ms())
    await after.update(group(DEEP))
    assert after.telemetry.value("metricsmith_rule_state_damaged_total") == 2
    assert len(after.alerts()) == 1
    assert not {f"alert/{identity}/0", f"seen/{identity}/0"} & {key for key, _ in after.state.items()}
    await after.manager.stop()


async def test_damaged_state_that_cannot_be_removed_stops_no_group() -> None:
    state = FullState()
    before = World(state)
    before.engine.results["deep"] = 1.0
    await run_until(before, 1, DEEP)
    (identity,) = {key.split("/")[1] for key, _ in state.items()}
    state.commit({f"alert/{identity}/0": b"{}"})
    state.full = True
    after = World(state, before.clock.now_ms())
    await after.update(group(DEEP))
    assert len(after.alerts()) == 1
    assert after.telemetry.value("metricsmith_rule_commit_failures_total", part="state") == 1
    state.full = False
    await after.manager.stop()


async def test_state_of_a_version_that_did_not_note_what_was_asked_is_read() -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await run_until(before, 1, replace(DEEP, for_ms=0, no_data=NoData.FIRE))
    kept = [*before.state.items("alert/"), *before.state.items("seen/")]
    older = {key: orjson.loads(value) for key, value in kept}
    asked = [value.pop("asked") for value in older.values()]
    assert len(asked) == 2, "an alert, and a series to be missed"
    before.state.commit({key: orjson.dumps(value) for key, value in older.items()})
    after = World(before.state, before.clock.now_ms())
    await after.update(group(replace(DEEP, for_ms=0, no_data=NoData.FIRE)))
    await after.rounds(2)  # without data: it is missed
    assert after.telemetry.value("metricsmith_rule_state_damaged_total") == 0
    assert [state for state, _ in after.alerts()] == ["firing"]
    await after.manager.stop()


async def test_after_a_kill_alerts_that_do_not_hold_any_more_end_in_the_series() -> None:
    before = World()
    before.engine.results["deep"] = 1.0
    await run_until(before, 2, DEEP)
    (_, shown) = before.kept[-1]
    after = World(before.state, before.kept[-1][0] + 1)
    after.engine.results["data of deep"] = 1.0
    await after.update(group(DEEP))
    await after.rounds()
    assert after.kept == [(after.kept[0][0], dict.fromkeys(shown))]
    await after.manager.stop()
