"""A store with the results of a round on top: each rule sees what the rules before it recorded.

Rules of a group mostly look at the same few metrics: what one has read from the store, the others have
without reading it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence, Set

import numpy as np

from metricsmith.errors import QueryLimitExceeded
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import NAME_LABEL, decode_labels, metric_name
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.sample_groups import gather_small, within
from metricsmith.model.selection import MatrixGroup, RaggedGroup, Selection
from metricsmith.store_contracts import Layered, Selectable

MAX_REMEMBERED = 2_000_000
"""About so many samples of the store does one round remember."""
MAX_WIDE = 200_000
"""A selection of more samples is read as it is asked for, and not remembered."""
WIDE_MS = 300_000
"""So far back is read at least: instant selectors and most ranges are then cut from one reading."""


class Overlay:
    """`Layered`: the samples of a store, and those of one round at one time, which win."""

    def __init__(self, store: Selectable, time_ms: int) -> None:
        self._store, self._time_ms = store, time_ms
        self._values: dict[bytes, float | None] = {}
        self._by_name: defaultdict[str, dict[bytes, None]] = defaultdict(dict)
        self._read: dict[tuple[Matcher, ...], dict[tuple[int, int], Selection]] = {}
        self._remembered = 0

    def add(self, keys: Sequence[bytes], values: F64, ended: Sequence[bytes] = ()) -> None:
        """Add one sample for each key, and markers for series that have ended; later ones win.

        Shapes:
            keys: S canonical keys.
            values: (S,)
        """
        ended_values: dict[bytes, float | None] = dict.fromkeys(ended)
        self._values |= ended_values | dict(zip(keys, values.tolist(), strict=True))
        for key in (*ended, *keys):
            self._by_name[metric_name(key)][key] = None

    def differs(self, names: Set[str]) -> bool:
        """Return whether selectors of these metrics may find what the round has written; "" is any metric."""
        written = bool(self._by_name) if "" in names else not names.isdisjoint(self._by_name)
        return written or (isinstance(self._store, Layered) and self._store.differs(names))

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None = None
    ) -> Selection:
        """Return the samples of both; see `store_contracts.Selectable`."""
        found = self._stored(tuple(matchers), start_ms, end_ms, limit)
        if not start_ms <= self._time_ms <= end_ms:
            return found
        written = self._matching(matchers)
        if not written:
            return found
        return _merged(found, {key: self._values[key] for key in written}, self._time_ms)

    def _stored(
        self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int, limit: int | None
    ) -> Selection:
        known = self._read.setdefault(matchers, {})
        found = known.get((start_ms, end_ms))
        if found is None:
            wider = next((k for k in known if k[0] <= start_ms and end_ms <= k[1]), None)
            if wider is None:
                wider = self._read_wide(matchers, start_ms, end_ms)
            if wider is not None:
                found = known[start_ms, end_ms] = within(known[wider], start_ms, end_ms)
        if found is None or (limit is not None and found.sample_count() > limit):
            return self._store.select(matchers, start_ms, end_ms, limit)
        return found

    def _read_wide(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> tuple[int, int] | None:
        """Read more than is asked for, remember it, and return its range; None when it is too much."""
        start_ms = min(start_ms, self._time_ms - WIDE_MS)
        if self._remembered >= MAX_REMEMBERED:
            return None
        try:
            found = self._store.select(matchers, start_ms, end_ms, MAX_WIDE)
        except QueryLimitExceeded:
            return None
        # Each query would do this again: a small matrix per target is slower than all of them in one.
        found = Selection(found.keys, *gather_small(found.matrices, found.ragged, 1))
        self._remembered += found.sample_count()
        self._read[matchers][start_ms, end_ms] = found
        return start_ms, end_ms

    def _matching(self, matchers: Sequence[Matcher]) -> list[bytes]:
        names = [m.value for m in matchers if m.name == NAME_LABEL and m.op is MatchOp.EQ]
        candidates = self._by_name.get(names[0], {}) if names else self._values
        rest = [m for m in matchers if m.name != NAME_LABEL or m.op is not MatchOp.EQ or m.value != names[0]]
        return [key for key in candidates if _matches(key, rest)] if rest else list(candidates)


def _matches(key: bytes, matchers: Sequence[Matcher]) -> bool:
    labels = decode_labels(key)
    return all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers)


def _merged(found: Selection, written: dict[bytes, float | None], time_ms: int) -> Selection:
    keys = sorted({*found.keys, *written})
    row_of = {key: row for row, key in enumerate(keys)}
    moved = np.array([row_of[key] for key in found.keys], dtype=np.int64)
    touched = np.array([key in written for key in found.keys], dtype=np.bool_)
    matrices: list[MatrixGroup] = []
    for group in found.matrices:
        matrices += _extended(group, found.keys, moved, touched, written, time_ms)
    ragged = None
    if found.ragged is not None:
        ragged = _inserted(found.ragged, found.keys, moved, touched, written, time_ms)
    known = set(found.keys)
    new = [key for key in written if key not in known]
    matrices += _new_series(new, row_of, written, time_ms)
    return Selection(keys, matrices, ragged)


def _extended(
    group: MatrixGroup,
    keys: list[bytes],
    moved: I64,
    touched: Bool,
    written: dict[bytes, float | None],
    time_ms: int,
) -> list[MatrixGroup]:
    """Return a group as up to three: rows that stay as they are, with a value more, with a marker more."""
    parts = []
    own = touched[group.rows]
    if not own.all():
        rest = group.values[~own] if own.any() else group.values
        parts.append(MatrixGroup(moved[group.rows[~own]], group.times, rest, group.stale))
    values = {row: written[keys[row]] for row in group.rows[own].tolist()}
    for marker in (False, True):
        chosen = np.array([row in values and (values[row] is None) == marker for row in group.rows.tolist()])
        if chosen.any():
            column = np.array([values[row] for row in group.rows[chosen].tolist()], dtype=np.float64)
            parts.append(_with_column(group, moved, chosen, column, marker, time_ms))
    return parts


def _with_column(
    group: MatrixGroup, moved: I64, chosen: Bool, column: F64, marker: bool, time_ms: int
) -> MatrixGroup:
    at = int(np.searchsorted(group.times, time_ms))
    after = at + (at < len(group.times) and group.times[at] == time_ms)
    values = group.values[chosen]
    joined = np.concatenate([values[:, :at], column[:, None], values[:, after:]], axis=1)
    times = np.concatenate([group.times[:at], [time_ms], group.times[after:]])
    stale = np.zeros(len(group.times), np.bool_) if group.stale is None else group.stale
    stale = np.concatenate([stale[:at], [marker], stale[after:]])
    return MatrixGroup(moved[group.rows[chosen]], times, joined, stale if stale.any() else None)


def _inserted(
    group: RaggedGroup,
    keys: list[bytes],
    moved: I64,
    touched: Bool,
    written: dict[bytes, float | None],
    time_ms: int,
) -> RaggedGroup:
    """Return a group where each touched row has one sample more, or another one at that time."""
    mine = np.flatnonzero(touched[group.rows])
    at = np.array(
        [
            first + np.searchsorted(group.times[first:end], time_ms)
            for first, end in zip(group.offsets[mine].tolist(), group.offsets[mine + 1].tolist(), strict=True)
        ],
        dtype=np.int64,
    )
    new = [written[keys[row]] for row in group.rows[mine].tolist()]
    values, markers = np.array(new, dtype=np.float64), np.array([value is None for value in new], np.bool_)
    stale = np.zeros(len(group.times), np.bool_) if group.stale is None else group.stale
    same = (at < group.offsets[mine + 1]) & (group.times[np.minimum(at, len(group.times) - 1)] == time_ms)
    kept_values, kept_stale = group.values.copy(), stale.copy()
    kept_values[at[same]], kept_stale[at[same]] = values[same], markers[same]
    more = np.zeros(len(group.rows), np.int64)
    more[mine[~same]] = 1
    return RaggedGroup(
        moved[group.rows],
        group.offsets + np.concatenate([[0], np.cumsum(more)]),
        np.insert(group.times, at[~same], time_ms),
        np.insert(kept_values, at[~same], values[~same]),
        np.insert(kept_stale, at[~same], markers[~same]),
    )


def _new_series(
    new: list[bytes], row_of: dict[bytes, int], written: dict[bytes, float | None], time_ms: int
) -> list[MatrixGroup]:
    times = np.array([time_ms], dtype=np.int64)
    parts = []
    for marker in (False, True):
        chosen = [key for key in new if (written[key] is None) == marker]
        if chosen:
            rows = np.array([row_of[key] for key in chosen], dtype=np.int64)
            values = np.array([[written[key]] for key in chosen], dtype=np.float64)
            parts.append(MatrixGroup(rows, times, values, np.array([True]) if marker else None))
    return parts
