"""What a process tells of itself, beside what psutil and prometheus_client say of the same process."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import resource
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector

from metricsmith.sdk import Registry, generate_latest
from metricsmith.sdk.runtime_metrics import MODULES, RuntimeMetrics, memory, top_allocations
from metricsmith.sdk.runtime_metrics.process import ProcessMetrics, usable_cpus

Started = Callable[..., RuntimeMetrics]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def started(registry: Registry) -> Iterator[Started]:
    """Start modules; they are stopped at the end."""
    made = []

    def start(*modules: str) -> RuntimeMetrics:
        made.append(RuntimeMetrics(modules))
        made[-1].start(registry)
        return made[-1]

    yield start
    for metrics in made:
        metrics.stop()


def values(registry: Registry) -> dict[str, float]:
    """Return samples by name and label values."""
    return {
        " ".join((s.name, *map(str, s.labels.values()))): float(s.value)
        for reading in registry.read()
        for s in reading.samples
    }


def test_names_of_prometheus_client_are_kept_with_its_values(registry: Registry, started: Started) -> None:
    started("process", "gc")
    theirs = CollectorRegistry()
    ProcessCollector(registry=theirs)
    GCCollector(registry=theirs)
    gc.disable()
    try:
        ours = values(registry)
        other = {" ".join((s.name, *s.labels.values())): s.value for m in theirs.collect() for s in m.samples}
    finally:
        gc.enable()
    assert other.keys() - ours.keys() == set()
    loose = {"process_resident_memory_bytes": 4 << 20, "process_virtual_memory_bytes": 64 << 20}
    loose |= {"process_cpu_seconds_total": 0.5, "process_open_fds": 1, "process_start_time_seconds": 1}
    for name, value in other.items():
        assert ours[name] == pytest.approx(value, abs=loose.get(name, 0)), name


def test_memory_and_threads_agree_with_psutil(registry: Registry, started: Started) -> None:
    started("memory", "threads")
    found, process = values(registry), psutil.Process()
    resident = process.memory_info().rss
    parts = found["python_memory_heap_used_bytes"] + found["python_memory_non_heap_used_bytes"]
    assert parts == pytest.approx(resident, rel=0.05)
    assert found["python_threads"] == threading.active_count()
    assert found["process_threads"] == process.num_threads()
    assert found["process_memory_limit_bytes machine"] == psutil.virtual_memory().total
    assert 0 < found["python_memory_heap_max_bytes"] <= psutil.virtual_memory().total


def test_the_heap_grows_with_what_is_kept(registry: Registry, started: Started) -> None:
    started("memory")
    before = values(registry)["python_memory_heap_used_bytes"]
    # Pages of their own: what was freed before may still be resident, and would be given again.
    kept = mmap.mmap(-1, 50 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    kept[:: resource.getpagesize()] = b"x" * len(kept[:: resource.getpagesize()])
    assert values(registry)["python_memory_heap_used_bytes"] - before > 45 << 20


def test_a_limit_of_address_space_is_the_maximum() -> None:
    code = "from metricsmith.sdk.runtime_metrics import memory; print(memory.memory_limits())"
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)); {code}"
    said = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=True).stdout
    assert f"'address_space': {1 << 30}" in said


CGROUPS = [
    ("0::/\n", {"memory.max": "1000"}, 1000),
    ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "2000", "memory.max": "max"}, 2000),
    ("0::/a/b\n", {"a/b/memory.max": "1500", "a/memory.max": "2000"}, 1500),
    ("0::/host/path\n", {"memory.max": "3000"}, 3000),  # in a container
    ("0::/../../other\n", {"memory.max": "3000"}, 3000),
    ("0::/a\n", {"a/memory.max": "max"}, None),
    ("4:memory:/d/e\n0::/\n", {"memory/d/e/memory.limit_in_bytes": "4000"}, 4000),
    ("7:cpu,memory:/d\n", {"memory/d/memory.limit_in_bytes": "5000"}, 5000),
    ("4:memory:/d\n", {"memory/d/memory.limit_in_bytes": "9223372036854771712"}, None),
    ("4:memory:/d\n0::/d\n", {"memory/memory.limit_in_bytes": "700", "d/memory.max": "600"}, 600),
    ("nonsense\n", {"memory.max": "1"}, None),
    ("0::/a\n", {"a/memory.max": "nonsense"}, None),
]


@pytest.mark.parametrize(("groups", "files", "wanted"), CGROUPS)
def test_limits_of_control_groups(
    tmp_path: Path, groups: str, files: dict[str, str], wanted: int | None
) -> None:
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    (tmp_path / "cgroup").write_text(groups)
    assert memory.cgroup_limit(tmp_path / "cgroup", tmp_path / "fs") == wanted


def test_elsewhere_than_on_linux_psutil_says_about_the_same() -> None:
    linux, portable = memory.process_status(), memory.portable_status()
    assert portable["Threads"] == linux["Threads"]
    assert portable["VmSize"] == pytest.approx(linux["VmSize"], rel=0.05)
    assert portable["RssAnon"] == portable["VmRSS"] == pytest.approx(linux["VmRSS"], rel=0.05)


def test_without_proc_there_is_less_and_no_error(tmp_path: Path) -> None:
    assert memory.process_status(str(tmp_path / "none")) == {}
    assert memory.cgroup_limit(tmp_path / "none", tmp_path) is None


def test_cpu_usage_is_a_share_of_all_cpus_since_it_was_last_asked() -> None:
    times = iter([0.0, 0.5, 2.0, 2.1, 12.0])
    used = iter([0.0, 1.0, 3.0])
    metrics = ProcessMetrics(lambda: next(times), lambda: next(used))
    cpus = usable_cpus()
    assert metrics.usage() == 0.0  # after half a second: too short to tell
    assert metrics.usage() == pytest.approx(1.0 / 2.0 / cpus)
    assert metrics.usage() == pytest.approx(1.0 / 2.0 / cpus)
    assert metrics.usage() == pytest.approx(2.0 / 10.0 / cpus)


def test_pauses_are_counted_by_generation_while_started(registry: Registry, started: Started) -> None:
    metrics = started("gc")
    before = values(registry)
    for generation, times in ((0, 3), (1, 2), (2, 1)):
        for _ in range(times):
            gc.collect(generation)
    after = values(registry)
    for generation, times in ((0, 3), (1, 2), (2, 1)):
        name = f"python_gc_pause_seconds_count {generation}"
        assert after[name] - before[name] >= times
        assert after[f"python_gc_pause_seconds_sum {generation}"] > 0
        assert after[f"python_gc_pause_seconds_bucket {generation} +Inf"] == after[name]
    metrics.stop()
    callbacks = len(gc.callbacks)
    metrics.stop()
    assert len(gc.callbacks) == callbacks
    assert values(registry) == {}


def test_what_outlives_a_collection_is_promoted(registry: Registry, started: Started) -> None:
    started("gc")
    gc.collect()
    gc.disable()
    try:
        before = values(registry)["python_gc_promoted_objects_total"]
        kept = [[each] for each in range(5000)]
        gc.collect(0)
        grown = values(registry)["python_gc_promoted_objects_total"] - before
    finally:
        gc.enable()
    assert len(kept) <= grown <= len(kept) + 500


def test_garbage_is_heard_of_while_metrics_are_made(registry: Registry, started: Started) -> None:
    """A collection inside of an update must not wait for itself."""
    started("gc")
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            generate_latest(registry)
    finally:
        gc.set_threshold(*threshold)
    assert values(registry)["python_gc_pause_seconds_count 0"] > 50


async def probed_once(registry: Registry, count: str, before: float) -> None:
    """Look at ten probes: each is a hundredth of a second after the last one at least."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while (probes := values(registry)[count] - before) < 10:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert probes <= (loop.time() - began) / 0.01 + 2


async def test_lag_of_a_loop_that_is_held_up(registry: Registry, started: Started) -> None:
    metrics = started("asyncio")
    part = metrics._parts["asyncio"]
    part._probe_s = 0.01  # type: ignore[attr-defined]
    metrics.watch_event_loop("shop")
    metrics.watch_event_loop("shop")
    while not values(registry)["python_asyncio_loop_lag_seconds_count shop"]:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    time.sleep(0.3)  # noqa: ASYNC251  (this is what is measured)
    while values(registry)["python_asyncio_loop_lag_seconds_sum shop"] < 0.25:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    found = values(registry)
    count = found["python_asyncio_loop_lag_seconds_bucket shop +Inf"]
    assert count - found["python_asyncio_loop_lag_seconds_bucket shop 0.25"] >= 1
    await probed_once(registry, "python_asyncio_loop_lag_seconds_count shop", count)
    before = found["python_asyncio_tasks shop"]
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(5)]
    assert values(registry)["python_asyncio_tasks shop"] == before + 5
    for task in tasks:
        task.cancel()


async def test_a_loop_is_watched_once_after_a_stop_and_a_start(registry: Registry, started: Started) -> None:
    metrics = started("asyncio")
    metrics._parts["asyncio"]._probe_s = 0.01  # type: ignore[attr-defined]
    count = "python_asyncio_loop_lag_seconds_count main"
    for _ in range(3):
        metrics.watch_event_loop()
        metrics.stop()
        metrics.start(registry)
    before = values(registry).get(count, 0)
    metrics.watch_event_loop()
    await probed_once(registry, count, before)


def test_a_loop_that_ended_is_forgotten_and_its_name_can_be_used_again(
    registry: Registry, started: Started
) -> None:
    metrics = started("asyncio")

    async def watched() -> float:
        metrics.watch_event_loop()
        await asyncio.sleep(0)
        return values(registry)["python_asyncio_tasks main"]

    assert [asyncio.run(watched()) for _ in range(3)] == [1, 1, 1]
    assert "python_asyncio_tasks main" not in values(registry)
    assert "python_asyncio_loop_lag_seconds_count main" in values(registry)
    with pytest.raises(RuntimeError, match="no running event loop"):
        metrics.watch_event_loop()


def test_loops_have_a_bounded_number_of_names(started: Started) -> None:
    metrics = started("asyncio")
    loop = asyncio.new_event_loop()
    for number in range(16):
        metrics.watch_event_loop(f"loop-{number}", loop)
    with pytest.raises(ValueError, match="at most 16"):
        metrics.watch_event_loop("another", loop)
    loop.close()


def test_allocations_are_traced_on_demand(registry: Registry, started: Started) -> None:
    assert not tracemalloc.is_tracing()
    assert top_allocations() == []
    metrics = started("allocations")
    kept = [bytes(1000) for _ in range(1000)]
    found = values(registry)
    assert found["python_traced_memory_bytes"] > 1_000_000
    assert found["python_traced_memory_peak_bytes"] >= found["python_traced_memory_bytes"]
    (top,) = top_allocations(1)
    assert Path(__file__).name in top.place and top.bytes > 1_000_000
    metrics.stop()
    assert not tracemalloc.is_tracing()
    assert len(kept) == 1000


def test_names_of_a_jvm_are_told_without_the_others(registry: Registry, started: Started) -> None:
    started("jvm")
    gc.collect()
    found = values(registry)
    assert {name.split()[0] for name in found} == {
        "jvm_memory_heap_used_bytes",
        "jvm_memory_heap_max_bytes",
        "jvm_memory_non_heap_used_bytes",
        "jvm_gc_pause_seconds_count",
        "jvm_gc_pause_seconds_sum",
        "jvm_gc_promotion_total",
        "jvm_threads_total",
    }
    assert found["jvm_gc_pause_seconds_count 2"] >= 1
    assert found["jvm_memory_heap_used_bytes"] < found["jvm_memory_heap_max_bytes"]


@pytest.mark.parametrize("module", MODULES)
def test_each_module_alone(registry: Registry, started: Started, module: str) -> None:
    metrics = started(module)
    assert metrics.modules == (module,)
    assert bool(values(registry)) is (module != "asyncio")


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="got the module 'heap', wanted some of process, memory"):
        RuntimeMetrics(["heap"])


def test_the_open_files_are_those_that_are_open(registry: Registry, started: Started) -> None:
    started("process")
    before = values(registry)["process_open_fds"]
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(7)]
    assert values(registry)["process_open_fds"] - before == 7
    for each in opened:
        os.close(each)
