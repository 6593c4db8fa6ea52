"""info(): the labels that info metrics such as `target_info` hold of a series' job and instance."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
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
    known = _Infos(infos)
    keys: list[bytes] = []
    rows: list[int] = []
    masks = [base.mask()[:0]]
    for row, (key, mask) in enumerate(zip(base.keys, base.mask(), strict=True)):
        budget.check_time()
        is_info = bool(selector.unenriched) and all(m.matches(metric_name(key)) for m in selector.unenriched)
        labels = {} if is_info else decode_labels(key)
        for found, steps in known.of(labels):
            here = mask & steps
            if not here.any() or (selector.required and not found and not is_info):
                continue
            budget.check_samples((len(keys) + 1) * len(mask))
            keys.append(replace_labels(key, _data_labels(found, selector.labels, labels)))
            rows.append(row)
            masks.append(here[None, :])
    return merge_same_labels(narrow(keys, base.values[rows], np.concatenate(masks)))


class _Infos:
    """Info series by the labels that identify what they are about."""

    def __init__(self, infos: Vector) -> None:
        self._infos = infos
        self._met: dict[tuple[str, ...], list[tuple[list[bytes], Bool]]] = {}
        self._named: dict[tuple[str, ...], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for row, key in enumerate(infos.keys):
            self._named[_identity(decode_labels(key))][metric_name(key)].append(row)

    def of(self, labels: dict[str, str]) -> list[tuple[list[bytes], Bool]]:
        """Return each set of info series that labels meet, and the steps at which they do, (T,)."""
        identity = _identity(labels)
        if identity not in self._met:
            named = self._named.get(identity, {}) if any(identity) else {}
            self._met[identity] = self._sets(list(named.values()))
        return self._met[identity]

    def _sets(self, groups: list[list[int]]) -> list[tuple[list[bytes], Bool]]:
        steps = self._infos.values.shape[1]
        if not groups:
            return [([], np.ones(steps, np.bool_))]
        newest = np.stack([_newest(self._infos, np.array(rows)) for rows in groups])
        sets, which = np.unique(newest, axis=1, return_inverse=True)
        keys = self._infos.keys
        return [
            ([keys[row] for row in chosen if row >= 0], which.ravel() == number)
            for number, chosen in enumerate(sets.T.tolist())
        ]


def _identity(labels: dict[str, str]) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in IDENTIFYING)


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
