"""What is known of a cluster, round after round: what was read now, and the last good values of the rest.

A value that could not be read is never made up: the last one is shown, with its age, until `keep_for` has
passed. Lag is judged only where the commit and the end of the log are both of this round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from metricsmith.contracts import State
from metricsmith.model.arrays import I64, Bool
from metricsmith.sources.kafka import admin, offsets
from metricsmith.sources.kafka.admin import Group, Partition, Topology, Trouble
from metricsmith.sources.kafka.client import Client, Failure
from metricsmith.sources.kafka.history import History, Key
from metricsmith.sources.kafka.lag import UNKNOWN, Past, Present, Verdict, judge
from metricsmith.sources.kafka.pairs import Judged, PairTable, PartitionKey
from metricsmith.sources.kafka.record_times import RecordTimes, exact_seconds
from metricsmith.sources.kafka.retention import write_rate
from metricsmith.sources.kafka.settings import KafkaConfig
from metricsmith.sources.kafka.tail import ControlTails


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
    judged: Judged = field(default_factory=Judged)
    troubles: list[Trouble] = field(default_factory=list)


class Observer:
    """Reads topics, groups, offsets and lag; `view` is the result of the last round."""

    def __init__(self, config: KafkaConfig, state: State, clock_ms: Callable[[], int]) -> None:
        self._config, self._state, self._now = config, state, clock_ms
        self._ends = History("ends", config.history_window)
        self._committed = History("committed", config.history_window)
        self._tails = ControlTails()
        self._times = RecordTimes(config.max_record_times)
        self._end_keys: list[Key] = []
        self._row_of: dict[PartitionKey, int] = {}
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

    def now_ms(self) -> int:
        """Return the time, by which what is known is as old as it is."""
        return self._now()

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
        ids: dict[PartitionKey, Key] = {
            (p.topic, p.number): (p.topic, p.topic_id, p.number) for p in view.topology.partitions
        }
        wanted = {
            name: (view.groups[name][1].assigned or frozenset()).union(commits.offsets)
            for name, commits in view.commits.items()
        }
        if not view.judged.table.serves(wanted, ids):
            table = PairTable(wanted, ids)
            view.judged = Judged.of(table, view.judged)
            self._end_keys = list(ids.values())
            self._ends.keep_only(self._end_keys)
            self._committed.keep_only(table.history_keys)
        committed, fresh = self._commits_now()
        start, end = self._bounds_now(ids)
        self._record(end, committed)
        partition = np.array([self._row_of[key] for key in view.judged.table.partitions], dtype=np.int64)
        self._verdicts(client, committed, fresh, start[partition], end[partition])

    def _commits_now(self) -> tuple[I64, Bool]:
        """Return what each pair has committed, UNKNOWN unless read now, and whether it was read now."""
        judged, view = self.view.judged, self.view
        offsets: list[int] = []
        fresh: list[bool] = []
        for name, keys in zip(judged.table.groups, judged.table.keys_of, strict=True):
            commits = view.commits[name]
            offsets += [commits.offsets.get(key, UNKNOWN) for key in keys]
            fresh.append(commits.time_ms >= view.topology_ms)
        known = np.array(offsets, dtype=np.int64)
        judged.promised = known != UNKNOWN
        now = np.array(fresh, dtype=np.bool_)[judged.table.group]
        return np.where(now, known, UNKNOWN), now

    def _bounds_now(self, ids: Mapping[PartitionKey, Key]) -> tuple[I64, I64]:
        """Return begin and end of all logs, UNKNOWN unless read now."""
        self._row_of = {key: row for row, key in enumerate(ids)}
        start = np.full(len(ids), UNKNOWN, dtype=np.int64)
        end = start.copy()
        for key, bounds in self.view.bounds.items():
            if bounds.time_ms == self.view.time_ms:
                start[self._row_of[key]], end[self._row_of[key]] = bounds.start, bounds.end
        return start, end

    def _record(self, end: I64, committed: I64) -> None:
        spacing = max(self._ends.spacing_ms(), self._committed.spacing_ms())
        refused = self._ends.refused + self._committed.refused
        self._ends.record(self.view.time_ms, self._end_keys, end, spacing)
        pairs = self.view.judged.table.history_keys
        self._committed.record(self.view.time_ms, pairs, committed, spacing)
        if left_out := self._ends.refused + self._committed.refused - refused:
            message = f"{left_out} partitions and groups have no history: it is full"
            self.view.troubles.append(Trouble("history", "limit", message))

    def _verdicts(self, client: Client, committed: I64, fresh: Bool, starts: I64, ends: I64) -> None:
        """Judge the pairs of which commit and log were read now.

        Shapes:
            committed, fresh: (S,); starts, ends: of the table's partitions.
        """
        view, judged = self.view, self.view.judged
        table = judged.table
        rows = np.flatnonzero(fresh & (ends[table.partition] != UNKNOWN))
        if not len(rows):
            return
        start, end, committed = starts[table.partition[rows]], ends[table.partition[rows]], committed[rows]
        joined = np.array([view.groups[name][1].members != 0 for name in table.groups], dtype=np.bool_)
        past = self._past(rows)
        assert view.topology is not None
        keys = [table.partition_of[row] for row in rows.tolist()]
        tail, troubles = self._tails.of(client, view.topology.partitions, keys, committed, start, end, past)
        view.troubles += troubles
        # Up to the last stable offset only: who reads uncommitted records is rightly beyond it.
        stable = self._config.isolation_level == "read_committed"
        within = np.minimum(committed, end) if stable else committed
        now = Present(within, start, end, joined[table.group[rows]], tail)
        verdict = judge(past, now, self._config.stalled_after)
        groups = [table.groups[number] for number in table.group[rows].tolist()]
        self._look_at_records(client, groups, keys, now, verdict)
        judged.put(rows, view.time_ms, committed, verdict)

    def _look_at_records(
        self,
        client: Client,
        groups: Sequence[str],
        keys: Sequence[PartitionKey],
        now: Present,
        verdict: Verdict,
    ) -> None:
        """Put the ages of single records where history gives a bound only, or wherever it is asked for."""
        view, mode = self.view, self._config.record_times
        assert view.topology is not None
        wanted = (verdict.lag > 0) & ~now.control_tail
        if mode != "all":
            wanted &= verdict.at_least & (mode == "older")
        rows = np.flatnonzero(wanted)
        position = np.maximum(now.committed, now.start)[rows].tolist()
        spots = [(*keys[row], at) for row, at in zip(rows.tolist(), position, strict=True)]
        asking = [groups[row] for row in rows.tolist()]
        written, troubles = self._times.of(client, view.topology.partitions, asking, spots)
        view.troubles += troubles
        verdict.seconds[rows], verdict.at_least[rows] = exact_seconds(
            verdict.seconds[rows], verdict.at_least[rows], written, view.time_ms
        )

    def _past(self, rows: I64) -> Past:
        table = self.view.judged.table
        end_times, ends = self._ends.past(table.end_keys)
        self.view.judged.write_rate = write_rate(end_times, ends)
        times, committed = self._committed.past(table.history_keys)
        # The same readings, but for one that a crash left in one table alone.
        both, in_ends, in_committed = np.intersect1d(end_times, times, return_indices=True)
        return Past(
            both, ends[:, in_ends][table.partition[rows]], committed[rows[:, None], in_committed[None, :]]
        )

    def _expire(self) -> None:
        view = self.view
        oldest = view.time_ms - self._config.keep_for
        view.bounds = {key: b for key, b in view.bounds.items() if b.time_ms >= oldest}
        view.commits = {name: c for name, c in view.commits.items() if c.time_ms >= oldest}
        view.groups = {name: each for name, each in view.groups.items() if each[0] >= oldest}
        view.judged.expire(oldest)
        if view.topology is not None and view.topology_ms < oldest:
            view.topology = None
