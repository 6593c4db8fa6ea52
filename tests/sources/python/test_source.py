"""Collectors that run: what they emit, when their files change, and that none disturbs another."""

from __future__ import annotations

import asyncio
import threading

import pytest

from metricsmith.errors import DiskFull

GOOD = """
    from metricsmith.collector import collector
    @collector(name="good")
    def value():
        return {"good": 1}
"""


def report(labelled, name, up, samples):
    return {
        labelled("collector_up", collector=name): up,
        labelled("collector_samples", collector=name): samples,
    }


async def test_values_get_the_labels_of_the_source_and_a_report(write, collect, labelled):
    write("""
        from metricsmith.collector import collector, gauge
        @collector(labels={"shop": "north"})
        def depth():
            yield 3
            yield gauge("per_queue", 1, {"queue": "mail", "job": "own"})
    """)
    settings = {"labels": {"site": "x"}, "collectors": {"mine.depth": {"labels": {"shop": "south"}}}}
    async with collect(**settings) as source:
        got = await source.reading()
        (status,) = source.source.targets().active
    more = {"shop": "south", "site": "x"}
    assert got == {
        labelled("depth", **more): 3,
        labelled("per_queue", queue="mail", **{**more, "job": "own"}): 1,
        labelled("collector_up", collector="mine.depth", **more): 1,
        labelled("collector_samples", collector="mine.depth", **more): 2,
    }
    assert (status.url, status.health, status.interval_ms) == ("python:mine.depth", "up", 1000)


async def test_a_collector_all_of_whose_samples_are_refused_is_down(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        @collector(name="wrong", timeout="60s")
        def wrong():
            return {"a b": "text"}
        @collector(name="partly", timeout="60s")
        def partly():
            return {"good": 1, "bad": "text"}
        @collector(name="empty", timeout="60s")
        def empty():
            return {}
    """)
    async with collect() as source:
        got = {}
        while len([name for name in got if name.startswith("collector_up")]) < 3:
            got |= await source.reading()
        found = {status.labels["collector"]: status for status in source.source.targets().active}
    up = {name: got[labelled("collector_up", collector=name)] for name in found}
    assert up == {"wrong": 0, "partly": 1, "empty": 1}
    assert found["wrong"].health == "down" and "every sample was refused" in found["wrong"].last.error
    assert found["partly"].health == "up"


async def test_while_no_series_comes_or_goes_the_layout_is_the_same(write, collect):
    write("""
        from metricsmith.collector import collector
        calls = []
        @collector()
        def growing():
            calls.append(1)
            return {"a": 1, **({"b": 1} if len(calls) == 3 else {})}
    """)
    async with collect() as source:
        layouts = []
        for _ in range(4):
            await source.advance(1, 2)
            layouts.append((await source.recorder.batch()).layout)
    assert layouts[0] is layouts[1] is not layouts[2]


async def test_a_series_that_is_no_longer_given_ends(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        given = [{"a": 1, "b": 1}, {"a": 1}, 1/1, None]
        @collector()
        def shrinking():
            value = given.pop(0)
            if value is None:
                raise ValueError("all gone")
            return {"a": value} if isinstance(value, float) else value
    """)
    async with collect() as source:
        assert (await source.reading())[labelled("b")] == 1
        source.recorder.refuse = DiskFull("full")
        assert (await source.reading())[labelled("b")] == "stale"
        source.recorder.refuse = None
        got = await source.reading()
        assert got[labelled("b")] == "stale", "the marker is sent again when it was refused"
        assert await source.reading() == {
            labelled("a"): "stale", **report(labelled, "mine.shrinking", 0, 0)
        }  # fmt: skip
        assert source.failures("journal_error", "mine.shrinking") == 1
        assert source.failures("error", "mine.shrinking") == 1
        error = source.status("python:mine.shrinking").last.error
    assert "mine.py:8: ValueError: all gone" in error


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no')", "error"),
        ("import sys; sys.exit(1)", "error"),
        ("raise KeyboardInterrupt", "error"),
        ("return next(iter(()))", "error"),
        ("return 'text'", "error"),
        ("return range(10**9)", "too_many_samples"),
        ("def f(): return f()\n    return f()", "error"),
    ],
)
@pytest.mark.parametrize("kind", ["", "async "])
async def test_one_that_fails_or_floods_affects_only_itself(write, collect, labelled, body, reason, kind):
    write(GOOD, "good.py")
    header = "from metricsmith.collector import collector\n@collector(name='bad')\n"
    write(f"{header}{kind}def bad():\n    {body}\n", "bad.py")
    async with collect() as source:
        for number in (1, 2):
            got = await source.readings(2, 3)
            assert got == {
                labelled("good"): 1, **report(labelled, "good", 1, 1), **report(labelled, "bad", 0, 0)
            }  # fmt: skip
            assert source.failures(reason, "bad") == number
        assert source.status("python:bad").health == "down"


async def test_one_that_hangs_keeps_one_thread_and_is_not_started_again_until_it_returns(
    write, collect, labelled, monkeypatch
):
    release, begun, hangs = threading.Event(), [], threading.Event()
    monkeypatch.setattr(
        "builtins.hang", lambda: (begun.append(1), hangs.set(), release.wait(60)), raising=False
    )
    write(GOOD, "good.py")
    write("""
        from metricsmith.collector import collector
        @collector(name="bad", timeout="500ms")
        def bad():
            hang()
            return 1
    """)
    async with collect() as source:
        await source.advance(1, 3)
        assert await asyncio.to_thread(hangs.wait, 60)
        assert (await source.emitted())[labelled("good")] == 1
        await source.advance(0.5, 3)  # the source, the good one, the time-out
        assert await source.emitted() == report(labelled, "bad", 0, 0)
        assert source.failures("timeout", "bad") == 1
        for _ in range(3):
            got = await source.readings(2, 3)
            assert got[labelled("good")] == 1 and got[labelled("collector_up", collector="bad")] == 0
        assert (len(begun), source.own("metricsmith_collectors_hung")) == (1, 1)
        assert source.own("metricsmith_collector_skipped_total", collector="bad") == 3
        assert "has not returned" in source.status("python:bad").last.error
        release.set()
        await source.returned("bad")
        got = await source.readings(2, 3)
        assert got[labelled("collector_up", collector="bad")] == 1
        assert source.own("metricsmith_collectors_hung") == 0


async def test_an_asynchronous_one_that_waits_too_long_is_cancelled(write, collect, labelled, monkeypatch):
    begun, cancelled = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.note", [begun.set, cancelled.set], raising=False)
    write("""
        import asyncio
        from metricsmith.collector import collector
        @collector(timeout="500ms")
        async def waits():
            note[0]()
            try:
                await asyncio.Event().wait()
            finally:
                note[1]()
    """)
    async with collect() as source:
        await source.advance(1, 2)
        assert await asyncio.to_thread(begun.wait, 60)
        await source.advance(0.5, 2)
        assert await source.emitted() == report(labelled, "mine.waits", 0, 0)
        assert await asyncio.to_thread(cancelled.wait, 60)


async def test_an_asynchronous_one_keeps_its_event_loop(write, collect, labelled):
    write("""
        import asyncio
        from metricsmith.collector import collector
        loops = set()
        @collector()
        async def loop():
            loops.add(id(asyncio.get_running_loop()))
            await asyncio.sleep(0)
            yield len(loops)
    """)
    async with collect() as source:
        for _ in range(3):
            assert (await source.reading())[labelled("loop")] == 1


async def test_labels_that_explode_are_cut_off(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        import itertools
        ids = itertools.count()
        @collector(max_series=5)
        def leak():
            for _ in range(3):
                yield ("leak", 1, {"id": next(ids)})
            yield ("steady", 1)
    """)
    async with collect() as source:
        first, second = await source.reading(), await source.reading()
        assert source.problems("too_many_series", "mine.leak") == 2
    assert sum(value == 1 and name.startswith("leak") for name, value in first.items()) == 3
    assert sum(value == 1 and name.startswith("leak") for name, value in second.items()) == 1
    assert first[labelled("steady")] == second[labelled("steady")] == 1


async def test_a_series_belongs_to_the_collector_that_gave_it_first(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        rounds = []
        @collector()
        def a():
            rounds.append(1)
            return {"same": 1} if len(rounds) < 3 else None
        @collector()
        def b(): return {"same": 2}
    """)
    async with collect() as source:
        got = await source.readings(2, 3)
        owner = got[labelled("same")]
        refused = "mine.b" if owner == 1 else "mine.a"
        assert source.problems("other_collector", refused) == 1


async def test_samples_with_their_own_time_have_no_stream(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        from prometheus_client.core import Metric
        @collector()
        def past():
            family = Metric("past", "", "gauge")
            family.add_sample("past", {}, 1, timestamp=100)
            family.add_sample("past", {}, 2, timestamp=200)
            family.add_sample("past", {}, 3, timestamp=200)
            return family
    """)
    async with collect() as source:
        await source.advance(1, 2)
        await source.recorder.batch()
        batch = await source.recorder.batch()
        assert source.problems("duplicate", "mine.past") == 1
    assert batch.layout.stream is None
    assert (batch.times().tolist(), batch.value.tolist()) == ([100_000, 200_000], [1, 2])
    assert list(source.recorder.read(batch)) == [labelled("past")]


ONE = """
    from metricsmith.collector import collector
    @collector()
    def one():
        return {'one': 1, 'kept': 1}
"""


async def test_a_file_that_changes_is_read_again_and_takes_over_its_series(write, collect, labelled):
    write(ONE)
    async with collect(refresh="1s") as source:
        assert (await source.reading())[labelled("one")] == 1
        write(ONE.replace("'one': 1", "'two': 2"))
        got = {}
        while labelled("two") not in got:
            got = await source.reading()
        assert (got[labelled("one")], got[labelled("two")], got[labelled("kept")]) == ("stale", 2, 1)


async def test_a_bad_file_never_replaces_a_good_one(write, collect, labelled):
    path = write(ONE)
    async with collect(refresh="1s") as source:
        await source.reading()
        write("def broken(:\n")
        while not source.failures("load"):
            assert (await source.reading())[labelled("one")] == 1
        assert (await source.reading())[labelled("one")] == 1
        bad = source.status(str(path))
        assert (bad.health, bad.last.error) == ("down", f"{path}:1: invalid syntax")
        assert source.failures("load") == 1, "told once, not at every look"
        write(ONE.replace("'one': 1", "'one': 5"))
        got = {}
        while got.get(labelled("one")) != 5:
            got = await source.reading()
        assert [each.url for each in source.source.targets().active] == ["python:mine.one"]


async def test_a_file_that_goes_ends_its_series_and_a_new_one_is_found(write, collect, labelled):
    path = write(ONE)
    async with collect(refresh="1s") as source:
        await source.reading()
        write(GOOD, "good.py")
        path.unlink()
        ended = {}
        while labelled("one") not in ended or ended[labelled("one")] != "stale":
            ended = await source.reading(1)
        assert set(ended.values()) == {"stale"} and labelled("collector_up", collector="mine.one") in ended
        assert (await source.reading())[labelled("good")] == 1
        assert [each.url for each in source.source.targets().active] == ["python:good"]


async def test_a_file_that_hangs_when_it_is_read_holds_up_nothing_for_long(
    write, collect, labelled, monkeypatch
):
    begun, release = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.hang", lambda: (begun.set(), release.wait(60)), raising=False)
    write("hang()", "a_hangs.py")
    write(GOOD, "good.py")
    async with collect(load_timeout="1s") as source:
        assert await asyncio.to_thread(begun.wait, 60)
        await asyncio.wait_for(source.clock.sleeping(1), 60)
        source.clock.advance(1)  # the time-out of reading
        assert (await source.reading())[labelled("good")] == 1
        assert source.failures("load") == 1
        release.set()


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (GOOD, "same_name"),
        ("""
            from prometheus_client.core import GaugeMetricFamily
            class Twice:
                def describe(self): return [GaugeMetricFamily("good_bytes", "")]
                def collect(self): return []
         """, "same_metric"),
    ],
)  # fmt: skip
async def test_two_that_are_the_same_do_not_both_run(write, collect, labelled, second, reason):
    write("""
        from prometheus_client.core import GaugeMetricFamily
        from metricsmith.collector import collector
        @collector(name="good")
        class Once:
            def describe(self): return [GaugeMetricFamily("good_bytes", "")]
            def collect(self): yield ("good_bytes", 1)
    """, "a.py")  # fmt: skip
    write(second, "b.py")
    async with collect() as source:
        assert (await source.reading())[labelled("good_bytes")] == 1
        assert source.failures(reason) == 1
        assert len(source.source.targets().active) == 2


async def test_settings_of_single_collectors(write, collect, labelled):
    write("""
        from metricsmith.collector import collector
        @collector()
        def off(): return 1
        @collector(interval="1s", timeout="2s")
        def on(): return 1
    """)
    own = {"mine.off": {"enabled": False}, "mine.on": {"interval": "3s"}, "mine.of": {}}
    async with collect(collectors=own) as source:
        await source.rest(2)
        unknown = source.status("mine.of")
        on = source.status("python:mine.on")
        assert len(source.source.targets().active) == 2
    assert "no collector of that name (there are: mine.off, mine.on)" in unknown.last.error
    assert (on.interval_ms, on.timeout_ms) == (3000, 2000)


async def test_more_collectors_than_allowed_are_told(write, collect):
    write("\n".join([
        "from metricsmith.collector import collector",
        *(f"@collector()\ndef c{n}(): return 1" for n in range(4)),
    ]))  # fmt: skip
    async with collect(max_collectors=3) as source:
        await source.rest(4)
        assert source.failures("too_many") == 1
        assert sum(each.url.startswith("python:") for each in source.source.targets().active) == 3


@pytest.mark.parametrize("kind", ["", "async "])
async def test_a_loop_without_end_is_interrupted_when_it_is_due_again(
    write, collect, labelled, monkeypatch, kind
):
    begun = threading.Event()
    monkeypatch.setattr("builtins.note", begun.set, raising=False)
    write(f"""
        from metricsmith.collector import collector
        rounds = []
        @collector(timeout="500ms")
        {kind}def spins():
            rounds.append(1)
            note()
            while len(rounds) == 1:
                pass
            return 5
    """)
    async with collect() as source:
        await source.advance(1, 2)
        assert await asyncio.to_thread(begun.wait, 60)
        await source.advance(0.5, 2)
        await source.emitted()
        await source.reading()  # it is interrupted
        await source.returned("mine.spins")
        assert (await source.reading())[labelled("spins")] == 5
