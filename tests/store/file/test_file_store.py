"""What files answer is what was written to them: all formats, current and finished, damaged ones left out."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.contracts import Delivery
from metricsmith.errors import QueryLimitExceeded, QueryTimeout, StoreUnavailable
from metricsmith.model.labels import encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.promql.engine import Engine

NOON = 1_763_726_400_000
DAY = 86_400_000
EVER = (-(1 << 61), 1 << 61)


def _is(name: str, value: str, op: MatchOp = MatchOp.EQ) -> Matcher:
    return Matcher(name, op, value)


def _all(agent: Any, lab: Any, *matchers: Matcher, start: int = EVER[0], end: int = EVER[1]) -> Any:
    return dict(sorted(lab.as_dict(agent.store.select(matchers, start, end)).items()))


def _key(labels: dict[str, str]) -> bytes:
    return encode_labels(labels)


async def test_samples_are_there_as_soon_as_they_are_delivered(agent: Any, lab: Any, label_sets: Any) -> None:
    assert _all(agent, lab) == {}
    assert agent.store.status().status == "connected"
    wanted: dict[bytes, dict[int, Any]] = {}
    for n in range(20):
        await agent.send(((0, 1, 4), 1000 * n, (n, 0.1 * n, None if n == 7 else -n)))
        for row, value in ((0, n), (1, 0.1 * n), (4, None if n == 7 else -n)):
            wanted.setdefault(_key(label_sets[row]), {})[NOON + 1000 * n] = value
        assert _all(agent, lab) == wanted
    await agent.sink.close()
    assert _all(agent.next_life(), lab) == wanted


async def test_finished_files_answer_as_current_ones(agent: Any, lab: Any, label_sets: Any) -> None:
    for n in range(30):
        await agent.send(
            ((5, 0, 3), 1000 * n, (n, float("nan") if n == 3 else n * 2, 7)), ((1,), (n,), (1.5,))
        )
    before = repr(_all(agent, lab, end=NOON + DAY))
    await agent.end_the_day()
    assert repr(_all(agent, lab, end=NOON + DAY)) == before
    assert _all(agent, lab, start=NOON + DAY) == {_key(label_sets[0]): {NOON + 2 * DAY: 99.0}}
    other = agent.next_life()
    assert repr(_all(other, lab, end=NOON + DAY)) == before
    await agent.sink.close()


@pytest.mark.parametrize("files", ["json", "csv", "parquet"])
@settings(max_examples=20)
@given(data=st.data())
def test_any_samples(files: str, new_agent: Any, lab: Any, label_sets: Any, data: st.DataObject) -> None:
    times = st.integers(0, 3 * 3_600_000)
    sample = st.tuples(st.integers(0, 5), times, st.one_of(st.none(), st.floats()))
    deliveries = data.draw(
        st.lists(
            st.lists(sample, min_size=1, max_size=6, unique_by=lambda each: each[:2]),
            min_size=1, max_size=6,
        )
    )  # fmt: skip
    matchers = data.draw(
        st.lists(
            st.sampled_from(
                [_is("__name__", "up"), _is("job", "b"), _is("zone", ""), _is("job", "a|c", MatchOp.RE)]
            ),
            max_size=2,
        )
    )
    start, end = sorted((data.draw(times), data.draw(times)))
    wanted: dict[bytes, dict[int, Any]] = {}

    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            agent = new_agent(Path(folder) / "data", {"format": files, "rotation": "hourly"})
            for made in deliveries:
                rows, at, numbers = zip(*made, strict=True)
                await agent.send((rows, at, numbers))
                for row, t, value in made:
                    wanted.setdefault(_key(label_sets[row]), {})[NOON + t] = value
            if data.draw(st.booleans()):
                await agent.end_the_day()
            await agent.sink.close()
            expected = lab.selected_from(wanted, matchers, NOON + start, NOON + end)
            for each in (agent, agent.next_life()):
                found = _all(each, lab, *matchers, start=NOON + start, end=NOON + end)
                assert repr(sorted(found.items())) == repr(
                    sorted((key, dict(sorted(row.items()))) for key, row in expected.items())
                )

    asyncio.run(check())


async def test_a_small_cache_answers_the_same(agent: Any, lab: Any, new_agent: Any) -> None:
    for n in range(50):
        await agent.send(((0, 1, 2, 3), 1000 * n, (n, n, n, n)))
    small = new_agent(agent.path, {**agent.settings, "cache_bytes": 100}, agent.clock)
    for _ in range(2):
        assert _all(small, lab) == _all(agent, lab)
    await agent.send(((0,), 100_000, (1,)))
    assert _all(small, lab) == _all(agent, lab)
    await agent.sink.close()


async def test_names_and_values(agent: Any, label_sets: Any) -> None:
    await agent.send(((0, 1, 4), 0, (1, 2, 3)))
    await agent.end_the_day()
    store = agent.store
    assert store.series([], NOON, NOON) == sorted(_key(label_sets[i]) for i in (0, 1, 4))
    assert store.series([_is("job", "b")], NOON, NOON) == [_key(label_sets[1])]
    assert store.label_names([], NOON, NOON) == ["__name__", "job", "zone"]
    assert store.label_values("__name__", [], NOON, NOON) == ["requests_total", "up"]
    assert store.label_values("zone", [], NOON, NOON) == ['a"b']
    assert store.series([], NOON + 2 * DAY, NOON + 3 * DAY) == [_key(label_sets[0])]
    assert store.series([], NOON + 20 * DAY, NOON + 30 * DAY) == []
    await agent.sink.close()


async def test_limits(agent: Any, lab: Any) -> None:
    for n in range(20):
        await agent.send(((0, 1), 1000 * n, (n, n)))
    await agent.end_the_day()
    assert agent.store.select([], NOON, NOON + 9000, 20).sample_count() == 20
    with pytest.raises(QueryLimitExceeded, match="wanted at most 19"):
        agent.store.select([], NOON, NOON + 9000, 19)
    await agent.sink.close()


async def test_status_metadata_and_cardinality(agent: Any) -> None:
    batch = agent.batch(((0, 1, 4), 0, (1, 2, 3)))
    batch.layout.metadata = {"up": Metadata(MetricType.GAUGE, "", "Up.")}
    await agent.sink.send(Delivery([0], [batch]))
    assert agent.store.metadata() == {"up": Metadata(MetricType.GAUGE, "", "Up.")}
    assert agent.store.status().series is None  # nothing is decoded for it
    found = agent.store.cardinality(2)
    assert (found.series, found.label_pairs, found.last_ms) == (3, 5, NOON)
    assert found.series_by_metric == [("up", 2), ("requests_total", 1)]
    status = agent.store.status()
    assert (status.type, status.status, status.database) == ("file", "connected", str(agent.path))
    assert (status.last_sample_ms, status.blocks, status.series, status.head_samples) == (NOON, 1, 3, 3)
    assert status.disk_usage_bytes == sum(p.stat().st_size for p in agent.path.glob("metrics-*"))
    await agent.sink.close()


async def test_promql(agent: Any) -> None:
    for n in range(20):
        await agent.send(((0, 1, 4), 15_000 * n, (1, 1, 15 * n)))
    engine = Engine(agent.store, clock=agent.clock)
    found = engine.instant("sum(up) + on() rate(requests_total[2m])", NOON + 19 * 15_000)
    assert (found.keys, found.values.tolist()) == ([b""], [[3.0]])
    await agent.sink.close()


async def test_a_damaged_file_is_left_out_and_named(agent: Any, lab: Any, label_sets: Any) -> None:
    await agent.send(((0, 1), 0, (1, 2)), ((0,), 1000, (3,)))
    await agent.end_the_day()
    await agent.sink.close()
    (finished,) = (p for p in agent.path.glob("metrics-20251121-*") if "current" not in p.name)
    data = bytearray(finished.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 8] = b"\xff" * 8
    finished.write_bytes(data)
    other = agent.next_life()
    found = _all(other, lab)
    assert found[_key(label_sets[0])][NOON + 2 * DAY] == 99.0
    reasons = ("file", "part")
    damaged = "metricsmith_store_files_damaged_total"
    assert sum(other.telemetry.value(damaged, reason=reason) for reason in reasons) > 0
    assert finished.name in other.store.status().detail


async def test_files_of_others_are_read(new_agent: Any, lab: Any, tmp_path: Path) -> None:
    agent = new_agent(tmp_path, {})
    (tmp_path / "metrics-20251121-000001.csv").write_text(
        'time,name,labels,value\n2025-11-21T12:00:00Z,up,,1\n2025-11-21 12:00:01,up,"{""a"":""b""}",2\n'
    )
    table = pa.table(
        {
            "value": pa.array([3, None, 5], pa.int64()),
            "time": pa.array(
                [NOON * 1000 + 2_000_000, NOON * 1000 + 3_000_000, NOON * 1000], pa.timestamp("us")
            ),
            "labels": ["{}", "", '{"a":"b"}'],
            "name": ["up", "up", "up"],
        }
    )
    pq.write_table(table, tmp_path / "metrics-20251121-000002.parquet")
    (tmp_path / "metrics-20251121-000003.parquet").write_bytes(b"PAR1 no")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "metrics-20251121-000004.parquet")
    (tmp_path / "other.json").write_text("{")
    assert _all(agent, lab) == {
        b"up": {NOON: 1.0, NOON + 2000: 3.0, NOON + 3000: None},
        b"up\xffa\xfeb": {NOON: 5.0, NOON + 1000: 2.0},
    }
    assert agent.telemetry.value("metricsmith_store_files_damaged_total", reason="file") == 2
    _all(agent, lab)
    assert agent.telemetry.value("metricsmith_store_files_damaged_total", reason="file") == 2  # told once
    table = table.slice(0, 1)
    pq.write_table(table, tmp_path / "metrics-20251121-000003.parquet")  # mended
    assert agent.store.select([], *EVER).sample_count() == 5
    assert agent.telemetry.value("metricsmith_store_files_damaged_total", reason="file") == 2


def test_a_damaged_row_group_is_left_out(new_agent: Any, lab: Any, tmp_path: Path) -> None:
    agent, path = new_agent(tmp_path, {}), tmp_path / "metrics-20251121-000001.parquet"
    names = [name for name in "abc" for _ in range(1000)]
    times = pa.array([NOON + i for i in range(1000)] * 3, pa.timestamp("ms"))
    values = [float(i) for i in range(3000)]
    table = pa.table({"time": times, "name": names, "labels": ["{}"] * 3000, "value": values})
    pq.write_table(table, path, row_group_size=1000, compression="zstd")
    data = bytearray(path.read_bytes())
    for column in range(4):  # which of its columns does not matter
        at = pq.ParquetFile(path).metadata.row_group(1).column(column).data_page_offset + 30
        data[at : at + 9] = b"\xff" * 9
    path.write_bytes(data)
    for _ in range(2):
        found = _all(agent, lab)
        assert {key: len(row) for key, row in found.items()} == {b"a": 1000, b"c": 1000}
    assert agent.telemetry.value("metricsmith_store_files_damaged_total", reason="part") == 1
    assert f"{path}: row group 1" in agent.store.status().detail


async def test_what_is_not_acknowledged_is_not_shown(agent: Any, lab: Any) -> None:
    """A delivery that fails is taken back: nobody may have seen it."""
    await agent.send(((0,), 0, (1,)))
    before = _all(agent, lab)
    (current,) = agent.path.glob("*.current.*")
    with current.open("ab") as file:
        file.write(current.read_bytes()[:7] + b"\n")
    assert _all(agent, lab) == before
    assert _all(agent.next_life(), lab) == before
    await agent.sink.close()


async def test_a_folder_that_cannot_be_read_is_told(new_agent: Any, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no folder")
    agent = new_agent(tmp_path / "data", {})
    with pytest.raises(StoreUnavailable, match="data: Not a directory"):
        agent.store.select([], *EVER)
    assert agent.store.status().status == "error"


async def test_queries_while_files_are_finished(agent: Any, lab: Any) -> None:
    """Renaming and deleting go on beside queries; each sees all that was delivered before it began."""
    delivered = 0
    stop, asked = asyncio.Event(), asyncio.Event()
    agent.clock.monotonic = time.monotonic  # no query takes as long as the hours that pass here

    def query() -> None:
        at_least = delivered
        found = agent.store.select([_is("__name__", "up")], *EVER)
        assert found.sample_count() >= at_least

    async def ask() -> int:
        count = 0
        while not stop.is_set():
            await asyncio.to_thread(query)
            count += 1
            asked.set()
        return count

    asking = asyncio.create_task(ask())
    for n in range(25):
        await agent.send(((0,), n * 3_600_000, (n,)))
        delivered += 1
        agent.clock.advance(3600)
        if n % 8 == 0:  # a machine may have no time for queries meanwhile
            asked.clear()
            await asked.wait()
    stop.set()
    assert await asking > 1
    await agent.sink.close()


async def test_reading_takes_no_longer_than_a_query_may(agent: Any, lab: Any) -> None:
    for day in range(6):
        await agent.send(((0,), day * 86_400_000, (float(day),)))
    read = agent.clock.monotonic

    def slow() -> float:
        agent.clock.advance(30)
        return float(read())

    agent.clock.monotonic = slow
    with pytest.raises(QueryTimeout, match="not read within 120 s"):
        _all(agent, lab)
    agent.clock.monotonic = read
    (found,) = _all(agent, lab).values()
    assert list(found.values()) == [0, 1, 2, 3, 4, 5]
