"""A broker that dies during collection: nothing wrong is said, what is old is marked with its age."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

Samples = dict[tuple[str, ...], float]
TOPIC, PARTITIONS, RECORDS = "fail-topic", 6, 20
GROUPS = [f"fail-group-{n}" for n in range(6)]
LIMIT_S = 60.0


def wrong(samples: Samples) -> list[object]:
    """Every value of an offset, a lag or a group that is not what all along was true."""
    truth = {
        "kafka_topic_partition_current_offset": RECORDS,
        "kafka_topic_partition_oldest_offset": 0,
        "kafka_consumergroup_current_offset": 5,
        "kafka_consumergroup_current_offset_sum": 5 * PARTITIONS,
        "kafka_consumergroup_lag": RECORDS - 5,
        "kafka_consumergroup_lag_sum": (RECORDS - 5) * PARTITIONS,
        "kafka_consumergroup_committed_partitions": PARTITIONS,
        "kafka_topic_partitions": PARTITIONS,
    }
    counts = {name: sum(key[0] == name for key in samples) for name in truth}
    per = {"kafka_consumergroup_current_offset": PARTITIONS, "kafka_consumergroup_lag": PARTITIONS}
    missing = [
        (name, count)
        for name, count in counts.items()
        if name.startswith("kafka_consumergroup") and count != len(GROUPS) * per.get(name, 1)
    ]
    return missing + [(key, value) for key, value in samples.items() if truth.get(key[0], value) != value]


def test_a_broker_dies_and_comes_back(live_cluster: Any, watch: Any) -> None:
    cluster = live_cluster.cluster
    live_cluster.create(TOPIC, PARTITIONS, copies=3)
    for partition in range(PARTITIONS):
        live_cluster.write(TOPIC, RECORDS, partition)
    for group in GROUPS:
        live_cluster.commit(group, TOPIC, *[5] * PARTITIONS)
    watching = watch("fail-(topic|group.*)", live_cluster.bootstrap, timeout="3s", keep_for="1h")
    observer = watching.observer

    def read(after_ms: int = 100) -> Samples:
        return watching.round(after_ms=after_ms)

    def old(samples: Samples) -> float:
        return sum(value for key, value in samples.items() if key[0] == "kafka_snapshot_old_items")

    try:
        samples = read()
        deadline = time.monotonic() + LIMIT_S
        while observer.view.troubles:  # a cluster that has just started moves its leaders about
            assert time.monotonic() < deadline
            samples = read()
        assert wrong(samples) == []
        assert old(samples) == 0

        began = time.monotonic()
        read()
        usual_s = time.monotonic() - began
        cluster.broker(2).kill()
        began = time.monotonic()
        samples = read(15_000)
        took_s = time.monotonic() - began
        assert took_s < 3 * 3 + 20 * usual_s, "one time-out for the broker, not one per question"
        assert wrong(samples) == []
        assert observer.view.troubles
        ages = {
            key: value
            for key, value in samples.items()
            if key[0] == "kafka_topic_partition_snapshot_age_seconds"
        }
        assert ages, "the partitions that it led are old"
        assert set(ages.values()) == {15.0}
        assert samples["kafka_snapshot_age_seconds", "offsets"] == 15
        groups = sum(key[0] == "kafka_consumergroup_snapshot_age_seconds" for key in samples)
        fresh = (PARTITIONS - len(ages)) * (len(GROUPS) - groups)
        assert samples["kafka_snapshot_old_items", "lag"] == PARTITIONS * len(GROUPS) - fresh

        deadline = time.monotonic() + LIMIT_S
        while old(samples):
            assert time.monotonic() < deadline, observer.view.troubles
            samples = read()
            assert wrong(samples) == []
        assert samples["kafka_brokers",] == 2
        under = [v for k, v in samples.items() if k[0] == "kafka_topic_partition_under_replicated_partition"]
        assert under == [1] * PARTITIONS

        cluster.broker(2).start()
        deadline = time.monotonic() + LIMIT_S
        while samples["kafka_brokers",] != 3 or old(samples):
            assert time.monotonic() < deadline, observer.view.troubles
            samples = read()
            assert wrong(samples) == []
    finally:
        if cluster.broker(2).process is None:
            cluster.broker(2).start()


def named(samples: dict[Any, float], name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by consumergroup, topic, partition or part, as far as it has them."""
    order = ("consumergroup", "topic", "partition", "part")
    return {
        tuple(dict(labels)[each] for each in order if each in dict(labels)): value
        for (found, labels), value in samples.items()
        if found == name
    }


class Truth:
    """What may be said of a topic whose records and commits only ever grow, batch by batch."""

    def __init__(self, topic: str, group: str, partitions: int, end: int, committed: int) -> None:
        self.pairs = [(group, topic, str(number)) for number in range(partitions)]
        self.ends = {pair[1:]: {end} for pair in self.pairs}
        self.commits = {pair: {committed} for pair in self.pairs}
        self._seen: Counter[tuple[str, ...]] = Counter()

    def check(self, batch: dict[Any, float]) -> list[str]:
        """Return what is wrong in a batch: a value that never was, or an older one without its age."""
        if ("kafka_up", frozenset()) not in batch:
            return self._tombstones(batch)
        up = batch["kafka_up", frozenset()]
        ends = named(batch, "kafka_topic_partition_current_offset")
        marked = named(batch, "kafka_topic_partition_snapshot_age_seconds")
        commits = named(batch, "kafka_consumergroup_current_offset")
        lags = named(batch, "kafka_consumergroup_lag")
        old = named(batch, "kafka_snapshot_old_items")
        sums = named(batch, "kafka_consumergroup_lag_sum")
        wrong = [f"end {at}: {value}" for at, value in ends.items() if value not in self.ends[at]]
        wrong += [f"begin: {v}" for v in named(batch, "kafka_topic_partition_oldest_offset").values() if v]
        wrong += [f"commit {at}: {value}" for at, value in commits.items() if value not in self.commits[at]]
        for at, value in ends.items():
            if at not in marked and value < self._seen[at]:
                wrong.append(f"end {at}: {value} after {self._seen[at]}, without its age")
            if at not in marked:
                self._seen[at] = int(value)
        stale = sum(lags[at] != ends.get(at[1:], -1) - commits.get(at, -1) for at in lags)
        if stale > old.get(("lag",), 0):
            wrong.append(f"{stale} lags are not of this round, {old.get(('lag',))} are marked")
        wrong += [f"sum {at}: {value}" for at, value in sums.items() if value != sum(lags.values())]
        if not up and (ends.keys() - marked.keys() or old.get(("lag",), 0) < len(lags)):
            wrong.append("the cluster is away, and a value has no age")
        return wrong

    def _tombstones(self, batch: dict[Any, float]) -> list[str]:
        whole = named(batch, "kafka_topic_tombstone_coverage")
        ratios = named(batch, "kafka_topic_tombstone_ratio_percent")
        return [f"ratio {at}: {ratio}" for at, ratio in ratios.items() if whole[at] == 1 and ratio != 25]


async def test_while_all_brokers_are_away_every_sample_is_right_or_marked_old(
    live_cluster: Any, run: Any
) -> None:
    topic, group, cluster = "fail-all", "fail-all-group", live_cluster.cluster
    quarter: list[bytes | None] = [None, b"a", b"b", b"c"]
    await asyncio.to_thread(live_cluster.create, topic, 3, 3)
    for partition in range(3):
        await asyncio.to_thread(live_cluster.write, topic, quarter * 5, partition)
    await asyncio.to_thread(live_cluster.commit, group, topic, 5, 5, 5)
    source = run(
        bootstrap_servers=live_cluster.bootstrap,
        topics={"include": topic},
        groups={"include": group},
        interval="200ms",
        timeout="1s",
        tombstones={"mode": "exact", "interval": "500ms"},
    )
    truth = Truth(topic, group, 3, end=20, committed=5)
    first = {"consumergroup": group, "topic": topic, "partition": "0"}
    ratio = "kafka_topic_tombstone_ratio_percent"

    def settled(lag: int) -> bool:
        old = [value for (name, _), value in source.samples.items() if name == "kafka_snapshot_old_items"]
        all_of_it = len(named(source.samples, "kafka_consumergroup_lag")) == 3
        return (
            all_of_it
            and not any(old)
            and source.value("kafka_up") == 1
            and source.value("kafka_consumergroup_lag", **first) == lag
            and source.value(ratio, topic=topic) == 25
        )

    await source.until(lambda: settled(15))
    source.checks.append(truth.check)
    try:
        for broker in cluster.brokers:
            await asyncio.to_thread(broker.kill)
        await source.until(lambda: source.value("kafka_up") == 0)
        assert source.value("kafka_consumergroup_lag", **first) == 15, "the last value stays"
        ages = []
        for _ in range(3):
            ages.append(source.value("kafka_snapshot_age_seconds", part="offsets"))
            await source.until(lambda: source.value("kafka_snapshot_age_seconds", part="offsets") > ages[-1])
        assert ages[-1] > ages[0] > 0, "it grows older"
    finally:
        for broker in cluster.brokers:
            broker.process is None and broker.begin()
        for broker in cluster.brokers:
            await asyncio.to_thread(broker.wait_until_ready)
    await source.until(lambda: settled(15))
    truth.ends[topic, "0"] = set(range(20, 25))
    truth.commits[group, topic, "0"] = {5, 8}
    await asyncio.to_thread(live_cluster.write, topic, quarter, 0)
    await asyncio.to_thread(live_cluster.reconnect)
    await asyncio.to_thread(live_cluster.commit, group, topic, 8)
    await source.until(lambda: settled(16))
    assert source.wrong == []
