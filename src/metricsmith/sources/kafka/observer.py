"""What is known of a cluster, round after round: what was read now, and the last good values of the rest.

A value that could not be read is never made up: the last one is shown, with its age, until `keep_for` has
passed. Lag is judged only where the commit and the end of the log are both of this round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from metricsmith.contracts import State
from metricsmith.model.arrays import Bool
from metricsmith.sources.kafka import admin, offsets
from metricsmith.sources.kafka.admin import Group, Partition, Topology, Trouble
from metricsmith.sources.kafka.client import Client, Failure
from metricsmith.sources.kafka.history import History, Key
from metricsmith.sources.kafka.lag import UNKNOWN, Past, Present, Verdict, judge
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.tail import ControlTails

PartitionKey = tuple[str, int]
PairKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class LogBounds:
    """Begin and end of a log, and when they were read."""

    time_ms: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Commits:
    """What a group has committed, and when that was read."""

    time_ms: int
    offsets: Mapping[PartitionKey, int]


@dataclass(frozen=True, slots=True)
class PairState:
    """The verdict on one group and partition: row `row` of `verdict`, judged at `time_ms`."""

    time_ms: int
    committed: int
    verdict: Verdict
    row: int


@dataclass(slots=True)
class View:
    """All that is known at `time_ms`; each value carries the time when it was read."""

    time_ms: int = 0
    up: bool = False
    topology: Topology | None = None
    topology_ms: int = 0
    bounds: dict[PartitionKey, LogBounds] = field(default_factory=dict)
    groups: dict[str, tuple[int, Group]] = field(default_factory=dict)
    commits: dict[str, Commits] = field(default_factory=dict)
    pairs: dict[PairKey, PairState] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)


class Observer:
    """Reads topics, groups, offsets and lag; `view` is the result of the last round."""

    def __init__(self, config: KafkaConfig, state: State, clock_ms: Callable[[], int]) -> None:
        self._config, self._state, self._now = config, state, clock_ms
        self._ends = History("ends", config.history_window)
        self._committed = History("committed", config.history_window)
        self._tails = ControlTails()
        self.view = View()

    def restore(self) -> int:
        """Take over the history of an earlier process; return how many entries were unreadable."""
        now_ms = self._now()
        return self._ends.restore(self._state, now_ms) + self._committed.restore(self._state, now_ms)

    def save(self) -> None:
        """Make the history durable.

        Raises:
            DiskFull, StoreError: the next save has it all.
        """
        self._ends.save(self._state)
        self._committed.save(self._state)

    def topics(self) -> dict[str, str]:
        """Return the ids of the topics that are looked at, by name."""
        topology = self.view.topology
        return {} if topology is None else {p.topic: p.topic_id for p in topology.partitions}

    def away(self, trouble: Trouble) -> None:
        """Note that the cluster cannot be reached: what is known grows older."""
        self.view.time_ms, self.view.up, self.view.troubles = self._now(), False, [trouble]
        self._expire()

    def read(self, client: Client) -> None:
        """Read everything once. Commits are read before the ends of logs."""
        view = self.view
        view.troubles = []
        described = admin.topology(client)
        if isinstance(described, Failure):
            self.away(Trouble("metadata", described.reason, described.message))
            return
        view.topology, view.topology_ms, view.up = self._wanted(described), self._now(), True
        view.troubles += described.troubles
        self._read_groups(client)
        self._read_bounds(client)
        self._judge(client)
        self._expire()

    def _wanted(self, told: Topology) -> Topology:
        """The topics that are looked at; one that could not be described now is as it was."""
        before = () if self.view.topology is None else self.view.topology.partitions
        known = [p for p in before if p.topic in told.unread_topics]
        verdicts: dict[str, bool] = {}
        kept: list[Partition] = []
        for each in (*told.partitions, *known):
            if each.topic not in verdicts:
                internal = each.topic in told.internal_topics
                verdicts[each.topic] = (
                    self._config.internal_topics or not internal
                ) and self._config.topics.wants(each.topic)
            if verdicts[each.topic]:
                kept.append(each)
        return replace(told, partitions=tuple(self._within_limit(kept)))

    def _within_limit(self, kept: list[Partition]) -> list[Partition]:
        cut = self._config.max_partitions
        if len(kept) <= cut:
            return kept
        while cut and kept[cut - 1].topic == kept[cut].topic:  # of a topic all partitions or none
            cut -= 1
        message = f"got {len(kept)} partitions, {len(kept) - cut} are left out; raise max_partitions"
        self.view.troubles.append(Trouble("metadata", "limit", f"{message} or narrow topics"))
        return kept[:cut]

    def _read_groups(self, client: Client) -> None:
        view, config = self.view, self._config
        told = admin.groups(client, client.brokers(), config.max_groups, config.groups.wants)
        commits, troubles = offsets.committed(client, told.found.values())
        view.troubles += [*told.troubles, *troubles]
        now_ms = self._now()
        for name, group in told.found.items():
            _, before = view.groups.get(name, (0, None))
            if group.members is None and before is not None and before.members is not None:
                view.groups[name] = (view.groups[name][0], replace(before, coordinator=group.coordinator))
            else:
                view.groups[name] = (now_ms, group)
        for name in view.groups.keys() - told.found.keys():
            # Gone only when nobody was silent who may have it; else it is old.
            if told.complete and view.groups[name][1].coordinator in told.answered:
                del view.groups[name]
        view.commits |= {name: Commits(now_ms, found) for name, found in commits.items()}
        for name in view.commits.keys() - view.groups.keys():
            del view.commits[name]

    def _read_bounds(self, client: Client) -> None:
        view = self.view
        assert view.topology is not None
        partitions = view.topology.partitions
        told = offsets.log_offsets(client, partitions, self._config.isolation_level == "read_committed")
        view.troubles += told.troubles
        view.time_ms = self._now()
        there = {(p.topic, p.number) for p in partitions}
        for key in view.bounds.keys() - there:
            del view.bounds[key]
        for each, start, end in zip(partitions, told.start.tolist(), told.end.tolist(), strict=True):
            if start != UNKNOWN and end != UNKNOWN:
                view.bounds[each.topic, each.number] = LogBounds(view.time_ms, start, end)

    def _judge(self, client: Client) -> None:
        view = self.view
        assert view.topology is not None
        ids = {(p.topic, p.number): (p.topic, p.topic_id, p.number) for p in view.topology.partitions}
        fresh = {key: b for key, b in view.bounds.items() if b.time_ms == view.time_ms}
        rows: list[tuple[PairKey, PartitionKey, int]] = []
        everything: set[PairKey] = set()
        for name, (_, group) in view.groups.items():
            commits = view.commits.get(name)
            if commits is None:
                continue
            keys: Iterable[PartitionKey] = (group.assigned or frozenset()).union(commits.offsets)
            now = commits.time_ms >= view.topology_ms
            for key in sorted(k for k in keys if k in ids):
                pair = (name, *key)
                everything.add(pair)
                if now and key in fresh:
                    rows.append((pair, key, commits.offsets.get(key, UNKNOWN)))
        self._record(ids, fresh, rows)
        self._forget(ids, everything)
        if rows:
            self._verdicts(client, ids, fresh, rows)

    def _record(
        self,
        ids: Mapping[PartitionKey, Key],
        fresh: Mapping[PartitionKey, LogBounds],
        rows: Sequence[tuple[PairKey, PartitionKey, int]],
    ) -> None:
        spacing = max(self._ends.spacing_ms(), self._committed.spacing_ms())
        refused = self._ends.refused + self._committed.refused
        ends = np.fromiter((b.end for b in fresh.values()), dtype=np.int64, count=len(fresh))
        self._ends.record(self.view.time_ms, [ids[key] for key in fresh], ends, spacing)
        commits = np.fromiter((c for _, _, c in rows), dtype=np.int64, count=len(rows))
        pairs = [(pair[0], *ids[key]) for pair, key, _ in rows]
        self._committed.record(self.view.time_ms, pairs, commits, spacing)
        if left_out := self._ends.refused + self._committed.refused - refused:
            message = f"{left_out} partitions and groups have no history: it is full"
            self.view.troubles.append(Trouble("history", "limit", message))

    def _forget(self, ids: Mapping[PartitionKey, Key], everything: set[PairKey]) -> None:
        view = self.view
        self._ends.keep_only(ids.values())
        self._committed.keep_only((name, *ids[topic, number]) for name, topic, number in everything)
        view.pairs = {pair: state for pair, state in view.pairs.items() if pair in everything}

    def _verdicts(
        self,
        client: Client,
        ids: Mapping[PartitionKey, Key],
        fresh: Mapping[PartitionKey, LogBounds],
        rows: Sequence[tuple[PairKey, PartitionKey, int]],
    ) -> None:
        view, count = self.view, len(rows)
        bounds = [fresh[key] for _, key, _ in rows]
        start = np.fromiter((b.start for b in bounds), dtype=np.int64, count=count)
        end = np.fromiter((b.end for b in bounds), dtype=np.int64, count=count)
        committed = np.fromiter((c for _, _, c in rows), dtype=np.int64, count=count)
        members: Bool = np.array([view.groups[pair[0]][1].members != 0 for pair, _, _ in rows])
        past = self._past(ids, rows)
        assert view.topology is not None
        tail, troubles = self._tails.of(
            client, view.topology.partitions, [key for _, key, _ in rows], committed, start, end, past
        )
        view.troubles += troubles
        verdict = judge(past, Present(committed, start, end, members, tail), self._config.stalled_after)
        for row, (pair, _, offset) in enumerate(rows):
            view.pairs[pair] = PairState(view.time_ms, offset, verdict, row)

    def _past(
        self, ids: Mapping[PartitionKey, Key], rows: Sequence[tuple[PairKey, PartitionKey, int]]
    ) -> Past:
        partitions = list(dict.fromkeys(key for _, key, _ in rows))
        number = {key: n for n, key in enumerate(partitions)}
        end_times, ends = self._ends.past([ids[key] for key in partitions])
        times, committed = self._committed.past([(pair[0], *ids[key]) for pair, key, _ in rows])
        # The same readings, but for one that a crash left in one table alone.
        both, in_ends, in_committed = np.intersect1d(end_times, times, return_indices=True)
        of_pair = np.array([number[key] for _, key, _ in rows])
        return Past(both, ends[of_pair][:, in_ends], committed[:, in_committed])

    def _expire(self) -> None:
        view = self.view
        oldest = view.time_ms - self._config.keep_for
        view.bounds = {key: b for key, b in view.bounds.items() if b.time_ms >= oldest}
        view.commits = {name: c for name, c in view.commits.items() if c.time_ms >= oldest}
        view.groups = {name: each for name, each in view.groups.items() if each[0] >= oldest}
        view.pairs = {pair: s for pair, s in view.pairs.items() if s.time_ms >= oldest}
        if view.topology is not None and view.topology_ms < oldest:
            view.topology = None
