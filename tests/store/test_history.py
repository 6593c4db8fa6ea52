"""Whatever is appended, flushed, merged, deleted, forgotten or restarted, in any order: it reads right."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import EmbeddedConfig, EmbeddedStore
from metricsmith.testing.clock import FakeClock

HOUR = 3_600_000
NOW = 1_700_000_000_000 // (18 * HOUR) * 18 * HOUR
RETENTION_H = 30 * 24
KEYS = [encode_labels({"__name__": name, "job": job}) for name in ("up", "load") for job in ("a", "b")]
SELECTORS = [
    (Matcher("job", MatchOp.EQ, "a"),),
    (Matcher("__name__", MatchOp.RE, "u.*"), Matcher("job", MatchOp.NE, "a")),
    (Matcher("__name__", MatchOp.NE, ""),),
]

hours = st.one_of(st.sampled_from([-50, -49, -30, -20, -19, -3, -2, 0]), st.integers(-RETENTION_H + 1, 0))
"""Some come again and again: later values win."""
appends = st.tuples(
    st.just("append"),
    st.lists(st.tuples(st.integers(0, 3), hours, st.integers(0, 3)), min_size=1, max_size=30),
)
scrapes = st.tuples(st.just("scrape"), st.integers(1, 15))
deletes = st.tuples(st.just("delete"), st.integers(0, 2), hours, st.integers(0, 200))
plain = st.sampled_from([("flush",), ("upkeep",), ("restart",), ("kill",), ("month",)])
steps = st.lists(
    st.one_of(appends, scrapes, plain, plain, deletes, st.tuples(st.just("pass"), st.integers(1, 9))),
    max_size=25,
)


class Life:
    """A store over restarts, the journal it is given again, and the dictionary that it must equal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock(NOW)
        self.model: dict[bytes, dict[int, float | None]] = {}
        self.journal: list[tuple[list[bytes], str | None, list[int], list[float | None]]] = []
        self.value = 0.0
        self.open()

    def open(self) -> None:
        self.table = SeriesTable()
        self.layouts: dict[Any, Layout] = {}
        config = EmbeddedConfig.model_validate({"path": str(self.folder), "retention": f"{RETENTION_H}h"})
        self.store = EmbeddedStore(config, Context("store", self.table, Telemetry(self.clock), self.clock))
        for sequence in range(self.store.cursor(), len(self.journal)):
            self.store.apply(self.batch(*self.journal[sequence]), sequence)

    def batch(
        self, keys: list[bytes], stream: str | None, times: list[int], values: list[float | None]
    ) -> Batch:
        name = (tuple(keys), stream)
        if name not in self.layouts:
            self.layouts[name] = Layout(self.table.intern_many(keys), stream)
        stale = np.array([value is None for value in values])
        return Batch(
            self.layouts[name],
            times[0] if stream else np.array(times, np.int64),
            np.array([np.nan if value is None else value for value in values]),
            stale if stale.any() else None,
        )

    def give(
        self, keys: list[bytes], stream: str | None, times: list[int], values: list[float | None]
    ) -> None:
        self.journal.append((keys, stream, times, values))
        self.store.apply(self.batch(*self.journal[-1]), len(self.journal) - 1)
        for key, time_ms, value in zip(keys, times, values, strict=True):
            self.model.setdefault(key, {})[time_ms] = value

    def append(self, samples: list[tuple[int, int, int]]) -> None:
        self.value += 1
        values = [None if kind == 3 else self.value + n / 100 for n, (_, _, kind) in enumerate(samples)]
        times = [NOW + hour * HOUR + kind for _, hour, kind in samples]
        self.give([KEYS[row] for row, _, _ in samples], None, times, values)

    def scrape(self, rounds: int) -> None:
        for _ in range(rounds):
            self.clock.advance(1200)
            self.value += 1
            self.give(KEYS[:3], "x", [self.clock.now_ms()] * 3, [self.value] * 3)

    def delete(self, which: int, hour: int, length: int) -> None:
        self.flush()
        start_ms = NOW + hour * HOUR
        end_ms = start_ms + length * HOUR
        self.store.delete_series((SELECTORS[which],), start_ms, end_ms)
        for key, row in self.model.items():
            labels = decode_labels(key)
            if all(matcher.matches(labels.get(matcher.name, "")) for matcher in SELECTORS[which]):
                for time_ms in [t for t in row if start_ms <= t <= end_ms]:
                    del row[time_ms]

    def flush(self) -> None:
        while self.store.cursor() < self.store.applied:
            self.store.begin_flush().result(30)

    def upkeep(self) -> None:
        self.clock.advance(61)
        self.store.tick(self.clock.now_ms())
        self.store._heads.wait_for_write(self.clock.now_ms())
        while self.store._upkeep is not None:
            self.store._upkeep.result(30)
            self.store.tick(self.clock.now_ms())

    def month(self) -> None:
        """All that is there becomes too old; ids of series without samples are released."""
        self.flush()
        self.clock.advance(RETENTION_H * 3600)
        for _ in range(3):
            self.upkeep()

    def kill(self) -> None:
        self.store.close(flush=False)
        self.open()

    def restart(self) -> None:
        self.store.close()
        self.open()

    def check(self, as_dict: Any) -> None:
        """All that is younger than the retention is there; what is older is as it was, while it is there."""
        found = as_dict(self.store.select([], -(1 << 61), 1 << 61))
        young = self.clock.now_ms() - RETENTION_H * HOUR
        wanted = {k: {t: v for t, v in row.items() if t >= young} for k, row in self.model.items()}
        got = {k: {t: v for t, v in row.items() if t >= young} for k, row in found.items()}
        assert {k: row for k, row in got.items() if row} == {k: row for k, row in wanted.items() if row}
        for key, row in found.items():
            assert row.items() <= self.model[key].items()


@settings(deadline=None, max_examples=60)
@given(steps=steps)
def test_any_history_reads_as_a_plain_dictionary(lab: SimpleNamespace, steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        life = Life(Path(folder))
        for name, *arguments in steps:
            if name == "pass":
                life.clock.advance(arguments[0] * 24 * 3600)
            else:
                getattr(life, name)(*arguments)
            if name not in ("append", "pass"):
                life.check(lab.as_dict)
        life.flush()
        life.upkeep()
        life.check(lab.as_dict)
        assert life.store._blocks.tombstones == ()
        life.store.close()
