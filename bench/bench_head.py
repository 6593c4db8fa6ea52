"""The head and the index: cost of appending, selecting and matching, beside the obvious ways in Python.

Run: python bench/bench_head.py
"""

from __future__ import annotations

import re
import time
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryDirectory

import numpy as np

from metricsmith.contracts import Context
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.model.selection import Selection
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.store.embedded import EmbeddedStore
from metricsmith.store.head import Head
from metricsmith.store.head_pieces import HeadPieces
from metricsmith.store.index import SeriesIndex
from metricsmith.store.key_lists import KeyLists
from metricsmith.store.merge import merge
from metricsmith.store.settings import EmbeddedConfig
from metricsmith.testing.clock import FakeClock

STREAMS, SERIES, SCRAPES = 100, 1000, 60
NOW = 1_700_000_000_000


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def best(work: Callable[[], object], times: int = 5) -> float:
    return min(timed(work) for _ in range(times))


def report(what: str, ours: str, peer: str, ratio: float) -> None:
    print(f"{what:<58} {ours:>22} {peer:>34} {ratio:>8.1f}x")


def table_of(count: int) -> SeriesTable:
    table = SeriesTable()
    table.intern_many(
        encode_labels(
            {
                "__name__": f"http_requests_{i % 50}_total",
                "instance": f"10.0.{i // 1000}.1:9100",
                "job": "shop",
                "path": f"/api/v1/item/{i % 1000}",
                "pod": f"shop-{i // 20:06d}-{i % 20}",
                "status_code": str(200 + i % 5),
            }
        )
        for i in range(count)
    )
    return table


def scrapes() -> list[tuple[Layout, int, np.ndarray]]:
    rng = np.random.default_rng(1)
    layouts = [
        Layout(np.arange(s * SERIES, (s + 1) * SERIES, dtype=np.uint32), f"s{s}") for s in range(STREAMS)
    ]
    return [
        (layout, NOW + 15_000 * n + 150 * s, rng.random(SERIES))
        for n in range(SCRAPES)
        for s, layout in enumerate(layouts)
    ]


def append_scrapes() -> Head:
    sent = scrapes()
    head = Head()

    def ours() -> None:
        for layout, at, values in sent:
            head.append(Batch(layout, at, values))

    def per_series_lists() -> None:
        times, kept = defaultdict(list), defaultdict(list)
        for layout, at, values in sent[:STREAMS]:
            for series, value in zip(layout.ids.tolist(), values.tolist(), strict=True):
                times[series].append(at)
                kept[series].append(value)

    million = STREAMS * SERIES * SCRAPES / 1e6
    ours_s, peer_s = timed(ours) / million, timed(per_series_lists) / (STREAMS * SERIES / 1e6)
    report(
        "append scrapes, 100 streams × 1,000 series, per million",
        f"{ours_s * 1e3:.1f} ms",
        f"lists {peer_s * 1e3:.0f} ms",
        peer_s / ours_s,
    )
    print(f"{'':<58} {head.bytes / head.samples:.2f} bytes/sample")
    return head


def append_loose(per_series: int) -> None:
    rng = np.random.default_rng(2)
    series = 10_000 // per_series
    batches = []
    for n in range(150):
        ids = np.repeat(rng.permutation(50_000)[:series].astype(np.uint32), per_series)
        times = NOW + 15_000 * (n * per_series + np.tile(np.arange(per_series), series))
        batches.append(Batch(Layout(ids), times, rng.random(len(ids))))
    head = Head()

    def ours() -> None:
        for batch in batches:
            head.append(batch)
        head.pieces(np.arange(1, dtype=np.uint32), 0, 1 << 60)

    def one_sort_per_query_of_all() -> None:
        ids = np.concatenate([b.layout.ids for b in batches])
        times = np.concatenate([b.times() for b in batches])
        np.lexsort((times, ids))

    samples = sum(len(b) for b in batches)
    ours_s, peer_s = timed(ours), timed(one_sort_per_query_of_all)
    report(
        f"append loose, {per_series}-sample series",
        f"{samples / ours_s / 1e6:.1f} M samples/s",
        f"one lexsort {samples / peer_s / 1e6:.1f} M/s",
        peer_s / ours_s,
    )


def select(head: Head) -> None:
    table = table_of(STREAMS * SERIES)
    end = NOW + 15_000 * SCRAPES
    for what, ids in (
        ("1 series", np.array([4242], np.uint32)),
        ("1,000 series of one stream", np.arange(5000, 6000, dtype=np.uint32)),
        ("1,000 series of 100 streams", np.arange(0, 100_000, 100, dtype=np.uint32)),
    ):
        ours_s = best(partial(merge_of, head, ids, end, table))
        print(f"{'select ' + what + f' × {SCRAPES} samples from the head':<58} {ours_s * 1e3:>19.2f} ms")
    flush_s = timed(lambda: [None for _ in HeadPieces(head, table)])
    print(f"{'head to block pieces, per million samples':<58} {flush_s / head.samples * 1e9:>19.1f} ms")


def select_history() -> None:
    """Six hours of 1,000 series at 15 s, flushed as an agent does, and as unflushed remote-write runs."""
    samples, series, step = 1440, 1000, 15_000
    table, clock = table_of(series), FakeClock(NOW)
    ids = np.arange(series, dtype=np.uint32)
    rng = np.random.default_rng(3)
    values = rng.random((samples, series))
    loose = Head()
    for n in range(0, samples, 20):
        times = np.tile(NOW + step * np.arange(n, n + 20), series)
        loose.append(Batch(Layout(np.repeat(ids, 20)), times, values[n : n + 20].T.ravel()))
    end = NOW + step * samples
    from_runs = partial(merge_of, loose, ids, end, table)
    report_select("1,000 series × 1,440 from sorted runs", from_runs)
    report_select("1 series × 1,440 from sorted runs", partial(merge_of, loose, ids[7:8], end, table))
    with TemporaryDirectory() as folder:
        config = EmbeddedConfig(path=folder)
        store = EmbeddedStore(config, Context("store", table, Telemetry(clock), clock))
        layouts = [Layout(ids[n : n + 100].copy(), f"s{n}") for n in range(0, series, 100)]
        for t in range(samples):
            for n, layout in enumerate(layouts):
                store.apply(Batch(layout, clock.now_ms(), values[t, n * 100 : n * 100 + 100]), t)
            clock.advance(step / 1000)
            store.tick(clock.now_ms())
        store.close()
        store = EmbeddedStore(config, Context("store", table, Telemetry(clock), clock))
        one = [Matcher("pod", MatchOp.EQ, "shop-000007-3")]
        report_select("1,000 series × 1,440 from blocks, cached", lambda: store.select([], NOW, end))
        report_select("1 series × 1,440 from blocks, cached", lambda: store.select(one, NOW, end))
        store.close()


def merge_of(head: Head, ids: np.ndarray, end: int, table: SeriesTable) -> Selection:
    return merge(head.pieces(ids, NOW, end), NOW, end, KeyLists(table))


def report_select(what: str, select: Callable[[], Selection]) -> None:
    """Print the time of a selection and, if it is large, that of sorting its samples by series and time."""
    selection = select()
    ours_s = best(select)
    if len(selection.keys) == 1:
        print(f"{'select ' + what:<58} {ours_s * 1e3:>19.2f} ms")
        return
    rows = np.concatenate([np.repeat(m.rows, len(m.times)) for m in selection.matrices])
    times = np.concatenate([np.tile(m.times, len(m.rows)) for m in selection.matrices])
    shuffled = np.random.default_rng(4).permutation(len(rows))
    times, rows = times[shuffled], rows[shuffled]
    peer_s = best(lambda: np.lexsort((times, rows)), 2)
    report(f"select {what}", f"{ours_s * 1e3:.2f} ms", f"lexsort {peer_s * 1e3:.2f} ms", peer_s / ours_s)


def index() -> None:
    count = 1_000_000
    table = table_of(count)
    index = SeriesIndex(table)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    index.catch_up()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    spent = timed(SeriesIndex(table).catch_up)
    print(
        f"{'index 1,000,000 series, 6 labels':<58} {size / count:>15.0f} B/series"
        f" {spent * 1e6 / count:>26.2f} µs/series"
    )
    sets = [decode_labels(key) for key in table.keys(0, 100_000)]
    for name, op, value in (
        ("pod", "=", "shop-000500-7"),
        ("path", "=~", "/api/v1/item/(1|22|333)"),
        ("pod", "=~", "shop-0005.*"),
        ("pod", "=~", ".*9-1[0-5]"),
    ):
        matchers = [
            Matcher("__name__", MatchOp.EQ, "http_requests_7_total"),
            Matcher(name, MatchOp(op), value),
        ]
        index.match(matchers)
        ours_s = best(partial(index.match, matchers))
        test = re.compile(value).fullmatch

        def peer(name: str = name, test: Callable[[str], object] = test) -> None:
            [i for i, s in enumerate(sets) if s["__name__"] == "http_requests_7_total" and test(s[name])]

        peer_s = timed(peer) * count / len(sets)
        report(
            f"match {matchers[1]} of a million",
            f"{ours_s * 1e3:.2f} ms",
            f"dictionaries {peer_s * 1e3:.0f} ms",
            peer_s / ours_s,
        )


def main() -> None:
    head = append_scrapes()
    append_loose(1)
    append_loose(20)
    select(head)
    select_history()
    index()


if __name__ == "__main__":
    main()
