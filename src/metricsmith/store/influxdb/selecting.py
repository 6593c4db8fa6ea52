"""Samples by InfluxQL: conditions are pushed down, and all are held against what comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import numpy as np

from metricsmith.errors import LimitExceeded, QueryLimitExceeded, QueryTimeout
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.clock import Clock
from metricsmith.model.labels import NAME_LABEL, decode_labels
from metricsmith.model.matchers import Matcher
from metricsmith.model.sample_groups import selection_of
from metricsmith.model.selection import SampleLimit, Selection
from metricsmith.store.influxdb.lists import names_statement, tags_of, told_by_fields, values_statement
from metricsmith.store.influxdb.rows import Rows, rows_in
from metricsmith.store.influxdb.schema import Wanted, fields_statement, source, wanted_fields
from metricsmith.store.influxdb.server import (
    MAX_ANSWER_BYTES,
    NoDatabase,
    Server,
    malformed,
    rows_of,
    series_of,
)
from metricsmith.store.influxdb.settings import InfluxdbConfig
from metricsmith.wire.influxql import condition, identifier
from metricsmith.wire.line_protocol_places import ENDED_FIELD, Places
from metricsmith.wire.line_protocol_template import ended_names

PIECE_BYTES = 32 << 20
FIRST_MS, LAST_MS = -9_223_372_036_854, 9_223_372_036_853
"""InfluxDB keeps times in nanoseconds, of 64 bits."""
T = TypeVar("T")


@dataclass(slots=True)
class _Series:
    """What was found of a series, in pieces."""

    times: list[I64] = field(default_factory=list)
    values: list[F64] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def joined(self, end_ms: int) -> tuple[I64, F64, Bool]:
        """Return times, values and markers up to a time; an end is later than a sample of its time."""
        times = np.concatenate([*self.times, np.empty(0, np.int64)])
        values = np.concatenate([*self.values, np.empty(0)])
        if not self.ends:
            return times, values, np.zeros(len(times), np.bool_)
        ends = np.unique(np.array(self.ends, dtype=np.int64))
        ends = np.unique(ends + np.isin(ends, times))
        ends = ends[~np.isin(ends, times) & (ends <= end_ms)]
        all_times = np.concatenate([times, ends])
        order = np.argsort(all_times, kind="stable")
        all_values = np.concatenate([values, np.full(len(ends), np.nan)])
        return all_times[order], all_values[order], (order >= len(times))


class Reader:
    """Reads samples; one for each selection."""

    def __init__(
        self, server: Server, config: InfluxdbConfig, places: Places, clock: Clock, timeout_s: float
    ) -> None:
        self._server, self._config, self._places = server, config, places
        self._clock, self._timeout_s = clock, timeout_s
        self._deadline_s = clock.monotonic() + timeout_s
        self._matched: dict[bytes, bool] = {}

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, limit: int | None) -> Selection:
        """Return the samples of the matching series in the closed range, as `store_contracts.Selectable`."""
        start_ms, end_ms = max(start_ms, FIRST_MS), min(end_ms, LAST_MS)
        found: defaultdict[bytes, _Series] = defaultdict(_Series)
        counted = SampleLimit(limit)
        for wanted in self._wanted(matchers, start_ms, end_ms):
            for key, times, values in self._samples(wanted, matchers, start_ms, end_ms):
                counted.add(len(times))
                found[key].times.append(times)
                found[key].values.append(values)
            for key, time_ms in self._ends(wanted, matchers, start_ms, end_ms):
                counted.add(1)
                found[key].ends.append(time_ms)
        return selection_of([(key, *found[key].joined(end_ms)) for key in sorted(found)])

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[bytes]:
        """Return the sorted keys of the matching series that have samples in the closed range."""
        start_ms, end_ms = max(start_ms, FIRST_MS), min(end_ms, LAST_MS)
        found: set[bytes] = set()
        for wanted in self._wanted(matchers, start_ms, end_ms):
            columns = [f"last({identifier(name.decode())}::field)" for name in wanted.fields]
            statement = self._statement(columns, wanted, matchers, start_ms, end_ms)
            try:
                answer = self._ask(statement, partial(rows_in, fields=len(columns)))
            except LimitExceeded as error:
                raise _too_many(error) from None
            for rows in answer:
                for at, name in enumerate(wanted.fields):
                    if not np.isnan(rows.numbers[:, 1 + at]).all():
                        found.update(self._key(rows.measurement, rows.tags, name, matchers))
        return sorted(found)

    def label_names(self) -> list[str]:
        """Return the sorted label names of all series."""
        tags = self._list(
            names_statement(self._config.database), lambda b: tags_of(b, self._places, "tagKey")
        )
        return sorted(tags.union(name for name, _ in self._told()) - {""})

    def label_values(self, label: str) -> list[str]:
        """Return the sorted values that a label has in all series."""
        told = {value for name, value in self._told() if name == label}
        if label == NAME_LABEL or "\x00" in label:
            return sorted(told)
        statement = values_statement(self._config.database, label)
        return sorted(told | self._list(statement, lambda body: tags_of(body, self._places, "value")))

    def _told(self) -> set[tuple[str, str]]:
        statement = fields_statement(self._config, self._places, [])
        assert statement is not None  # without conditions nothing is impossible
        return self._list(statement, lambda body: set(told_by_fields(body, self._places)))

    def _list(self, statement: str, decode: Callable[[bytes], set[T]]) -> set[T]:
        try:
            return self._ask(statement, decode)
        except NoDatabase:  # the sink creates it, with the first samples
            return set()
        except LimitExceeded as error:
            raise _too_many(error) from None

    def _wanted(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Wanted]:
        statement = fields_statement(self._config, self._places, matchers)
        if statement is None or start_ms > end_ms:
            return []
        try:
            return self._ask(statement, lambda body: wanted_fields(body, self._places, matchers))
        except NoDatabase:  # the sink creates it, with the first samples
            return []
        except LimitExceeded as error:
            raise _too_many(error) from None

    def _samples(
        self, wanted: Wanted, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterable[tuple[bytes, I64, F64]]:
        columns = [f"{identifier(name.decode())}::field" for name in wanted.fields]
        decode = partial(rows_in, fields=len(columns))
        at, width_ms = start_ms, end_ms - start_ms + 1
        while at <= end_ms:
            last = min(end_ms, at + width_ms - 1)
            try:
                answer = self._ask(self._statement(columns, wanted, matchers, at, last), decode, PIECE_BYTES)
            except LimitExceeded as error:
                if last == at:
                    raise _too_many(error) from None
                width_ms = (last - at + 1) // 2
                continue
            for rows in answer:
                yield from self._of(rows, wanted, matchers)
            at = last + 1

    def _of(
        self, rows: Rows, wanted: Wanted, matchers: Sequence[Matcher]
    ) -> Iterable[tuple[bytes, I64, F64]]:
        """Yield the samples of each series in rows."""
        times = rows.numbers[:, 0].astype(np.int64)
        for at, name in enumerate(wanted.fields):
            values = rows.numbers[:, 1 + at]
            kept = np.flatnonzero(~np.isnan(values))
            # Others write finer times than ours: of one millisecond the last counts.
            kept = kept[np.append(np.diff(times[kept]) != 0, True)[: len(kept)]]
            if len(kept):
                for key in self._key(rows.measurement, rows.tags, name, matchers):
                    yield key, times[kept], values[kept]

    def _ends(
        self, wanted: Wanted, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> Iterable[tuple[bytes, int]]:
        """Yield which series ended, and when."""
        if not wanted.ends:
            return
        column = f"{identifier(ENDED_FIELD.decode())}::field"
        statement = self._statement([column], wanted, matchers, start_ms, end_ms)
        try:
            answer = self._ask(statement, series_of)
        except LimitExceeded as error:
            raise _too_many(error) from None
        fields = set(wanted.fields)
        for series in answer:
            tags = tuple((n.encode(), v.encode()) for n, v in (series.get("tags") or {}).items() if v)
            for row in rows_of(series):
                if not isinstance(row.get("time"), int):
                    raise malformed("a row has no time")
                for name in fields.intersection(ended_names(row.get(ENDED_FIELD.decode()))):
                    for key in self._key(str(series.get("name")).encode(), tags, name, matchers):
                        yield key, row["time"]

    def _key(
        self,
        measurement: bytes,
        tags: Sequence[tuple[bytes, bytes]],
        name: bytes,
        matchers: Sequence[Matcher],
    ) -> Iterable[bytes]:
        """Yield the key of a series, if it is ours and satisfies all conditions."""
        key = self._places.key(measurement, tags, name)
        if key is None:
            return
        matched = self._matched.get(key)
        if matched is None:
            labels = decode_labels(key)
            matched = self._matched[key] = all(m.matches(labels.get(m.name, "")) for m in matchers)
        if matched:
            yield key

    def _statement(
        self, columns: list[str], wanted: Wanted, matchers: Sequence[Matcher], start_ms: int, end_ms: int
    ) -> str:
        sources = ", ".join(source(self._config, name) for name in wanted.measurements)
        conditions = [f"time >= {start_ms}ms", f"time < {end_ms + 1}ms"]
        for matcher in matchers:
            if matcher.name not in (NAME_LABEL, wanted.told):
                conditions += filter(None, [condition(matcher)])
        return f"SELECT {', '.join(columns)} FROM {sources} WHERE {' AND '.join(conditions)} GROUP BY *"

    def _ask(self, statement: str, decode: Callable[[bytes], T], limit_bytes: int = MAX_ANSWER_BYTES) -> T:
        left_s = self._deadline_s - self._clock.monotonic()
        if left_s <= 0:
            raise QueryTimeout(f"the server has not answered a selector within {self._timeout_s:g} s")
        return self._server.ask(statement, decode, timeout_s=left_s, limit_bytes=limit_bytes)


def _too_many(error: LimitExceeded) -> QueryLimitExceeded:
    return QueryLimitExceeded(f"a selector has too many series: {error}; use a narrower one", "series")
