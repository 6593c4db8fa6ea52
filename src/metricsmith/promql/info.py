"""info(): the labels that info metrics such as `target_info` hold of a series' job and instance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import NAME_LABEL, decode_labels, metric_name
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.promql.budget import Budget
from metricsmith.promql.series_labels import describe, merge_same_labels, replace_labels
from metricsmith.promql.values import Vector, narrow

IDENTIFYING = ("instance", "job")
TARGET_INFO = "target_info"


@dataclass(frozen=True, slots=True)
class InfoSelector:
    """Which info series are looked at, and which of their labels are wanted (all, where there are none).

    `unenriched` match the names of series that are info series themselves.
    """

    matchers: tuple[Matcher, ...]
    unenriched: tuple[Matcher, ...]
    labels: frozenset[str]
    required: bool

    @classmethod
    def of(cls, written: Sequence[Matcher] | None) -> InfoSelector:
        """Return the selector of a call: its second argument's matchers, None where there is none.

        Source:
            Prometheus: names default to `target_info`, and to `.+_info` where
            the matchers only say which names they are not.
        """
        by_name = [m for m in written or () if m.name == NAME_LABEL]
        data = [m for m in written or () if m.name != NAME_LABEL]
        names = by_name or [Matcher(NAME_LABEL, MatchOp.EQ, TARGET_INFO)]
        if all(m.op in (MatchOp.NE, MatchOp.NRE) for m in names):
            names = [Matcher(NAME_LABEL, MatchOp.RE, ".+_info"), *names]
        return cls(
            (*names, *data),
            tuple(names if by_name or written is None else ()),
            frozenset(m.name for m in data),
            required=any(not m.matches("") for m in data),
        )


def enrich(base: Vector, infos: Vector, selector: InfoSelector, budget: Budget) -> Vector:
    """Return the series with the labels of the info series that have their job and instance.

    `infos` holds the times of its samples: of several info series of one name
    the newest counts. A label that a series has already stays as it is.

    Raises:
        ExecutionError: two info series are equally new, or disagree on a label.
    """
    known = _by_identity(infos)
    keys: list[bytes] = []
    rows: list[int] = []
    masks: list[Bool] = []
    newest: dict[tuple[str, ...], I64] = {}
    mask = base.mask()
    for row, key in enumerate(base.keys):
        budget.check_time()
        labels = decode_labels(key)
        identity = tuple(labels.get(name, "") for name in IDENTIFYING)
        named = known.get(identity, {}) if any(identity) else {}
        if selector.unenriched and all(m.matches(metric_name(key)) for m in selector.unenriched):
            named = {}
        elif not named and selector.required:
            continue
        if not named:
            keys.append(key)
            rows.append(row)
            masks.append(mask[row])
            continue
        if identity not in newest:
            newest[identity] = np.stack([_newest(infos, np.array(group)) for group in named.values()])
        for found, steps in _combinations(newest[identity], mask[row]):
            if not found and selector.required:
                continue
            added = _data_labels([infos.keys[i] for i in found], selector.labels, labels)
            keys.append(replace_labels(key, added))
            rows.append(row)
            masks.append(steps)
            budget.check_samples(len(keys) * base.values.shape[1])
    if not keys:
        return Vector([], base.values[:0])
    return merge_same_labels(narrow(keys, base.values[rows], np.stack(masks)))


def _by_identity(infos: Vector) -> dict[tuple[str, ...], dict[str, list[int]]]:
    """Return the rows of info series by identifying labels, then by metric name."""
    known: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, key in enumerate(infos.keys):
        labels = decode_labels(key)
        known[tuple(labels.get(name, "") for name in IDENTIFYING)][metric_name(key)].append(row)
    return known


def _newest(infos: Vector, rows: I64) -> I64:
    """Return which of the rows has the newest sample at each step, -1 where none has one.

    Shapes:
        rows: (R,); returns: (T,)
    """
    times: F64 = np.where(infos.mask()[rows], infos.values[rows], -np.inf)
    best = times.max(axis=0)
    alike = (times == best) & (best > -np.inf)
    if (alike.sum(axis=0) > 1).any():
        step = int(np.argmax(alike.sum(axis=0) > 1))
        first, second = (describe(infos.keys[rows[i]]) for i in np.flatnonzero(alike[:, step])[:2])
        time_ms = round(float(best[step]) * 1000)
        raise ExecutionError(
            f"found duplicate series for info metric: existing {first} @ {time_ms}, new {second} @ {time_ms}"
        )
    return np.where(best > -np.inf, rows[times.argmax(axis=0)], -1)


def _combinations(newest: I64, mask: Bool) -> Iterator[tuple[list[int], Bool]]:
    """Yield each set of info series that a series meets, and the steps at which it does.

    Shapes:
        newest: (N, T), mask: (T,)
    """
    if not mask.any():
        return
    columns, which = np.unique(newest[:, mask], axis=1, return_inverse=True)
    for number in range(columns.shape[1]):
        steps = np.zeros_like(mask)
        steps[np.flatnonzero(mask)[which.ravel() == number]] = True
        yield [i for i in columns[:, number].tolist() if i >= 0], steps


def _data_labels(keys: list[bytes], wanted: frozenset[str], own: dict[str, str]) -> dict[str, str]:
    added: dict[str, str] = {}
    for key in keys:
        for name, value in decode_labels(key).items():
            if name == NAME_LABEL or (wanted and name not in wanted):
                continue
            if added.get(name, value) != value:
                raise ExecutionError(
                    f"conflicting label: {name}: got {added[name]!r} and {value!r} from two info metrics"
                )
            if name not in own:
                added[name] = value
    return added
