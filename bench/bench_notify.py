"""10,000 firing alerts told to a real Alertmanager: alerts a second and memory, beside a plain loop of posts.

The peer posts the same alerts, made beforehand, in batches of the same size, one after another, and keeps
nothing: what it is ahead by is the price of the outbox (made, committed, read back, forgotten).

    .venv/bin/python bench/bench_notify.py
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
import tracemalloc
from pathlib import Path

import orjson

from metricsmith.contracts import Context, State
from metricsmith.model.clock import SystemClock
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.net.post import Poster
from metricsmith.net.settings import Access
from metricsmith.rules.model import AlertingRule, Notification
from metricsmith.rules.notify.alertmanager import MAX_BATCH
from metricsmith.rules.notify.notifier import Notifier
from metricsmith.rules.notify.settings import NotifySettings
from metricsmith.runtime.state import StateFile
from metricsmith.testing import services


def firing(count: int) -> list[Notification]:
    rule = AlertingRule("HighLatency", "latency_seconds > 1", labels={"severity": "page"})
    now_ms = time.time_ns() // 1_000_000
    return [
        Notification(
            rule,
            {"alertname": rule.name, "severity": "page", "instance": f"10.0.{n // 250}.{n % 250}:9100"},
            {"summary": f"requests of instance {n} take longer than a second"},
            1.5, False, now_ms - 60_000, now_ms + 240_000, now_ms,
        )
        for n in range(count)
    ]  # fmt: skip


async def delivered(notifier: Notifier, count: int) -> None:
    while notifier.status()[0].delivered_alerts < count:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.005)


async def ours(url: str, state: State, alerts: list[Notification], rounds: int) -> tuple[float, float]:
    """Return alerts a second, and those of the part before the sending, as entries kept."""
    clock = SystemClock()
    context = Context("alerts", SeriesTable(), Telemetry(clock), clock, state)
    notifier = Notifier(NotifySettings.model_validate({"alertmanagers": [{"url": url}]}), context)
    stop = asyncio.Event()
    task = asyncio.create_task(notifier.run(stop))
    kept_s, began = 0.0, time.perf_counter()
    for number in range(rounds):
        start = time.perf_counter()
        entries = await asyncio.to_thread(notifier.prepare, alerts)
        await asyncio.to_thread(state.commit, entries)
        kept_s += time.perf_counter() - start
        notifier.release(entries)
        await delivered(notifier, (number + 1) * len(alerts))
    total = rounds * len(alerts)
    rate = total / (time.perf_counter() - began), total / kept_s
    stop.set()
    await task
    assert not state.items("outbox/waiting/")
    return rate


async def peer(url: str, bodies: list[bytes], rounds: int) -> float:
    poster = Poster(Access(), 10.0)
    began = time.perf_counter()
    for _ in range(rounds):
        for first in range(0, len(bodies), MAX_BATCH):
            body = b"[" + b",".join(bodies[first : first + MAX_BATCH]) + b"]"
            await poster.post(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    await poster.close()
    return rounds * len(bodies) / (time.perf_counter() - began)


def memory(alerts: list[Notification], folder: Path) -> tuple[float, float]:
    """Return bytes an alert while all wait for an Alertmanager that is away: in memory, and on disk."""
    file = StateFile(folder / "memory" / "state.sqlite")
    clock = SystemClock()
    context = Context("alerts", SeriesTable(), Telemetry(clock), clock, file.of("rules"))
    settings = NotifySettings.model_validate({"alertmanagers": [{"url": "http://127.0.0.1:1"}]})
    notifier = Notifier(settings, context)
    notifier.prepare(alerts[:1])
    tracemalloc.start()
    entries = notifier.prepare(alerts)
    context.state.commit(entries)
    notifier.release(entries)
    del entries
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    file.close()
    disk = sum(path.stat().st_size for path in (folder / "memory").iterdir())
    return size / len(alerts), disk / len(alerts)


async def run(count: int, rounds: int, folder: Path) -> None:
    alerts = firing(count)
    with services.alertmanager(folder / "alertmanager") as server:
        context = Context("x", SeriesTable(), Telemetry(), SystemClock())
        settings = NotifySettings.model_validate({"alertmanagers": [{"url": server.url}]})
        kept = Notifier(settings, context).prepare(alerts).values()
        bodies = [orjson.dumps(orjson.loads(value)["payload"]) for value in kept]
        await peer(server.url, bodies, 1)  # the Alertmanager makes its objects once
        file = StateFile(folder / "state.sqlite")
        rates = [
            (
                await peer(server.url, bodies, rounds),
                *await ours(server.url, file.of("rules"), alerts, rounds),
            )
            for _ in range(3)
        ]
        file.close()
    plain, whole, kept_rate = max(rates, key=lambda rate: rate[1] / rate[0])
    print(f"{count} firing alerts, {rounds} rounds, batches of {MAX_BATCH}")
    print(f"  plain posts           {plain:10,.0f} alerts/s")
    print(f"  through the outbox    {whole:10,.0f} alerts/s, {whole / plain:.2f} times")
    print(f"  made and committed    {kept_rate:10,.0f} alerts/s of that")
    in_memory, on_disk = memory(alerts, folder)
    print(f"  waiting: {in_memory:,.0f} bytes an alert in memory, {on_disk:,.0f} on disk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--alerts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(arguments.alerts, arguments.rounds, Path(folder)))


if __name__ == "__main__":
    main()
