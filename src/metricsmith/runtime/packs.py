"""The recording rules of a pack, evaluated once over series at hand: the arithmetic of one-shot commands.

An agent, a Prometheus and this function read the same file, so a figure is made in one way only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from metricsmith.errors import ConfigError
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import NAME_LABEL, decode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.packs import rule_file
from metricsmith.promql import EngineConfig
from metricsmith.promql.memory import GrowingSeries
from metricsmith.promql.series_input import Series, read_series
from metricsmith.rules.files import read_rule_file
from metricsmith.rules.model import Group, RecordingRule, Rule
from metricsmith.rules.overlay import Overlay
from metricsmith.rules.round import RunningGroup
from metricsmith.rules.schema import DEFAULT_INTERVAL_MS
from metricsmith.rules.templates import Expander
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.store_contracts import Selectable

Recorded: TypeAlias = dict[str, list[tuple[Mapping[str, str], float]]]
"""By name of a recorded metric: labels without the name, and the value, of each of its series."""


def evaluate_pack(
    pack: str,
    series: Iterable[Series],
    time_ms: int,
    *,
    overrides: Sequence[Path] = (),
    limits: EngineConfig | None = None,
) -> Recorded:
    """Return what the recording rules of a pack give at one time; a metric without series is left out.

    Each rule sees what those before it recorded. `overrides` are rule files that
    come first, such as one with weights. Alerts are left out.

    Units:
        Milliseconds for `time_ms` and the samples.
    Raises:
        KeyError: no such pack.
        ConfigError: an override has mistakes.
        QueryError: a rule fails on these series.
        TypeError, ValueError: a series is malformed.

    >>> partitions = [
    ...     ({"__name__": "kafka_log_dir_size_bytes", "topic": "orders", "partition": p}, [0], [size])
    ...     for p, size in (("0", 50), ("1", 150))
    ... ]
    >>> evaluate_pack("kafka", partitions, 0)["kafka_topic_balance_score"]
    [({'kind': 'bytes', 'topic': 'orders'}, 50.0)]
    """
    groups = _groups(pack, overrides)
    reads = RuleEngine().reads
    wanted = {name for group in groups for rule in group.rules for name in reads(rule.expr)}
    store = GrowingSeries()
    for key, (times, values) in read_series(_of(wanted, series)).items():
        for sample_ms, value in zip(times.tolist(), values.tolist(), strict=True):
            store.append(key, sample_ms, value)
    return _evaluated(groups, store, time_ms, limits)


def evaluate_pack_over(
    pack: str, store: Selectable, time_ms: int, names: Set[str], *, overrides: Sequence[Path] = ()
) -> Recorded:
    """Return what `evaluate_pack` does of some recorded metrics; rules that these do not need are left out.

    Raises:
        As `evaluate_pack`.
    """
    return _evaluated(_needed(_groups(pack, overrides), names), store, time_ms, None)


def _evaluated(
    groups: Sequence[Group], store: Selectable, time_ms: int, limits: EngineConfig | None
) -> Recorded:
    seen, table, recorded = Overlay(store, time_ms), SeriesTable(), Recorded()
    engine = RuleEngine(seen, limits)
    for group in groups:
        done = RunningGroup(group, engine, seen, table, SystemClock(), Expander()).evaluate(time_ms)
        for _, error in done.failures:
            raise error
        if done.batch is None:
            continue
        keys = [table.key(number) for number in done.batch.layout.ids.tolist()]
        seen.add(keys, done.batch.value)
        for key, value in zip(keys, done.batch.value.tolist(), strict=True):
            labels = decode_labels(key)
            recorded.setdefault(labels.pop(NAME_LABEL), []).append((labels, value))
    return recorded


def _needed(groups: Sequence[Group], names: Set[str]) -> list[Group]:
    """Return the rules that record the names, and those that they rest on: these stand before them."""
    reads, needed, kept = RuleEngine().reads, set(names), list[Group]()
    for group in reversed(groups):
        rules = list[Rule]()
        for rule in reversed(group.rules):
            if "" in needed or (isinstance(rule, RecordingRule) and rule.name in needed):
                rules.append(rule)
                needed |= reads(rule.expr)
        kept.append(replace(group, rules=tuple(reversed(rules))))
    return kept[::-1]


def _of(names: Set[str], series: Iterable[Series]) -> Iterator[Series]:
    """Yield the series that have one of the names; all when a rule asks for any name."""
    for each in series:
        if "" in names or each[0].get(NAME_LABEL, "") in names:
            yield each


def _groups(pack: str, overrides: Sequence[Path]) -> tuple[Group, ...]:
    return (*_read(overrides), *_pack_groups(pack))


@lru_cache
def _pack_groups(pack: str) -> tuple[Group, ...]:
    return _read([rule_file(pack)])


def _read(files: Sequence[Path]) -> tuple[Group, ...]:
    read = [read_rule_file(str(file), RuleEngine(), DEFAULT_INTERVAL_MS) for file in files]
    if problems := [problem for file in read for problem in file.problems]:
        raise ConfigError(problems)
    return tuple(_recording(group) for file in read for group in file.groups)


def _recording(group: Group) -> Group:
    rules = tuple(rule for rule in group.rules if isinstance(rule, RecordingRule))
    return replace(group, rules=rules, query_offset_ms=0)
