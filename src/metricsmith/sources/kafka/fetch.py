"""Raw record batches of ranges of partitions, from all leaders at once.

Nothing is joined and nothing is committed. Each broker has a few requests under way, each for many
partitions; the next one is sent before the answer is counted, so that broker and agent work at the same time.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from metricsmith.errors import InputError
from metricsmith.sources.kafka.admin import Partition, topology
from metricsmith.sources.kafka.client import Client, Failure, error_text, reason_of
from metricsmith.sources.kafka.codecs import MAX_BATCH_BYTES
from metricsmith.sources.kafka.fetch_request import fetch_request, told_partitions
from metricsmith.sources.kafka.offsets import log_offsets
from metricsmith.sources.kafka.records import batch_starts, until

from kafka.protocol.consumer import FetchRequest  # isort: skip

OUT_OF_RANGE = 1
LEAST_BYTES = 4 << 10
MOST_HELD_BYTES = 64 << 20
"""Answers of many brokers are smaller: all of them may wait to be counted."""
_MAY_PASS = {-1, 3, 5, 6, 9, 56, 74, 75, 78, 100}
"""Errors that may pass: another leader, a leader that does not know yet, a disk that is replaced."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How much is asked for at a time, and how long a partition may be in trouble before it is given up."""

    read_committed: bool = False
    answer_bytes: int = 8 << 20
    partition_bytes: int = 1 << 20
    requests_per_broker: int = 2
    wait_ms: int = 100
    timeout_s: float = 15.0
    patience_s: float = 15.0
    retry_s: float = 0.1


@dataclass(slots=True, eq=False)
class Range:
    """Offsets [at, end) of a partition that are still to be read.

    Batches are read whole, so `at` may end up beyond `end`. `skipped` counts offsets
    that were gone before they could be read; `failed` is why the rest was given up.
    """

    partition: Partition
    at: int
    end: int
    skipped: int = 0
    failed: str = ""
    _least_bytes: int = field(default=0, repr=False)
    _asked_bytes: int = field(default=0, repr=False)
    _first_trouble: float = field(default=0.0, repr=False)

    @property
    def place(self) -> tuple[str, int]:
        """Topic and partition."""
        return self.partition.topic, self.partition.number


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one answer held of a range, and the offset that was asked for.

    `aborted` is empty unless read_committed.
    """

    range: Range
    asked: int
    data: bytes
    aborted: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Answer:
    node: int
    ranges: Sequence[Range]
    value: Any


class LogReader:
    """Reads ranges of partitions. One `read` at a time."""

    def __init__(
        self,
        client: Client,
        settings: FetchSettings | None = None,
        on_problem: Callable[[str, str], None] = lambda reason, message: None,
    ) -> None:
        self._client = client
        self._settings = settings or FetchSettings()
        self._on_problem = on_problem
        self._answer_bytes = self._settings.answer_bytes
        self._usual_bytes: dict[tuple[str, int], int] = {}
        self._waiting: dict[int, deque[Range]] = {}
        self._parked: list[Range] = []
        self._parked_until = 0.0
        self._muted_until: dict[int, float] = {}
        self._under_way: dict[int, int] = {}
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def read(
        self, ranges: Sequence[Range], stop: Callable[[], bool] = lambda: False
    ) -> Iterator[list[Chunk]]:
        """Yield what answers hold until all ranges are read or given up, or `stop` says so.

        A range moves on as it is read: afterwards `at` is where it stopped. The
        client belongs to this for as long.
        """
        self._waiting, self._parked, self._under_way = {}, [], {}
        self._answers = SimpleQueue()
        answers = self._settings.requests_per_broker * len({each.partition.leader for each in ranges})
        self._answer_bytes = min(self._settings.answer_bytes, MOST_HELD_BYTES // max(1, answers))
        for each in ranges:
            if each.at < each.end:
                self._enqueue(each)
        with self._client.in_background():
            self._send()
            while (self._busy() or self._parked) and not stop():
                if self._parked and time.monotonic() >= self._parked_until:
                    self._retry()
                    self._send()
                try:
                    answer = self._answers.get(timeout=self._settings.retry_s)
                except Empty:
                    self._send()
                    continue
                self._under_way[answer.node] -= 1
                chunks = self._take(answer)
                self._send()
                if chunks:
                    yield chunks

    def _busy(self) -> bool:
        return any(self._under_way.values()) or any(self._waiting.values())

    def _enqueue(self, each: Range) -> None:
        if each.partition.leader < 0:
            self._trouble(each, "no_leader", f"{each.place} has no leader")
        else:
            self._waiting.setdefault(each.partition.leader, deque()).append(each)

    def _send(self) -> None:
        for node, waiting in self._waiting.items():
            if time.monotonic() < self._muted_until.get(node, 0.0):
                continue
            while waiting and (free := self._settings.requests_per_broker - self._under_way.get(node, 0)) > 0:
                chosen = self._choose(waiting, -(-len(waiting) // free))
                self._under_way[node] = self._under_way.get(node, 0) + 1
                self._ask(node, chosen)

    def _choose(self, waiting: deque[Range], most: int) -> list[Range]:
        """Take the next ranges: of distinct partitions, and as many as an answer has room for.

        So who gets nothing knows that it has asked for too little.
        """
        chosen: dict[tuple[str, int], Range] = {}
        passed: list[Range] = []
        room = self._answer_bytes
        while waiting and len(chosen) < most and (room > 0 or not chosen):
            each = waiting.popleft()
            if each.place in chosen or (chosen and each._least_bytes > room):
                passed.append(each)
            else:
                chosen[each.place] = each
                room -= each._least_bytes or LEAST_BYTES
        waiting.extendleft(reversed(passed))
        return list(chosen.values())

    def _ask(self, node: int, ranges: Sequence[Range]) -> None:
        answers = self._answers
        self._client.begin(
            node,
            self._request(ranges),
            round(self._settings.timeout_s * 1000),
            lambda value: answers.put(_Answer(node, ranges, value)),
        )

    def _request(self, ranges: Sequence[Range]) -> FetchRequest:
        share = self._answer_bytes - sum(each._least_bytes for each in ranges)
        share = max(LEAST_BYTES, share // max(1, sum(not each._least_bytes for each in ranges)))
        for each in ranges:
            usual = self._usual_bytes.get(each.place, self._settings.partition_bytes)
            each._asked_bytes = each._least_bytes or min(usual, share)
        return fetch_request(
            ((each.partition, each.at, each._asked_bytes) for each in ranges),
            max(self._answer_bytes, ranges[0]._asked_bytes),
            wait_ms=self._settings.wait_ms,
            read_committed=self._settings.read_committed,
        )

    def _take(self, answer: _Answer) -> list[Chunk]:
        value = answer.value
        if isinstance(value, Failure) or value.error_code:
            failure = value if isinstance(value, Failure) else _refusal(value.error_code, answer.node)
            if failure.reason == "throttled":  # the client holds back what was asked for too early
                self._wait_for_quota(answer.node, round(self._settings.retry_s * 1000))
            for each in answer.ranges:
                if failure.reason == "throttled":
                    self._enqueue_again(each)
                else:
                    self._trouble(each, failure.reason, failure.message)
            return []
        if value.throttle_time_ms > 0:
            self._wait_for_quota(answer.node, value.throttle_time_ms)
        told = told_partitions(value, (each.partition for each in answer.ranges))
        chunks: list[Chunk] = []
        for each in answer.ranges:
            if (partition := told.get(each.place)) is not None:
                if (chunk := self._take_partition(each, partition)) is not None:
                    chunks.append(chunk)
            elif value.throttle_time_ms > 0:
                self._enqueue_again(each)
            else:
                self._trouble(each, "broker_error", f"{each.place}: the answer is without it")
        return chunks

    def _wait_for_quota(self, node: int, wait_ms: int) -> None:
        """Leave a broker alone whose quota is used up: it is well, and no range is in trouble."""
        until = time.monotonic() + wait_ms / 1000
        self._muted_until[node] = max(until, self._muted_until.get(node, 0.0))
        self._on_problem("throttled", f"broker {node} grants no more for {wait_ms} ms: a quota is used up")

    def _enqueue_again(self, each: Range) -> None:
        each._first_trouble = 0.0
        self._enqueue(each)

    def _take_partition(self, each: Range, answer: Any) -> Chunk | None:
        if answer.error_code == OUT_OF_RANGE:
            self._follow_log_start(each)
            return None
        if answer.error_code:
            failure = _refusal(answer.error_code, each.place)
            if answer.error_code in _MAY_PASS:
                self._trouble(each, failure.reason, failure.message)
            else:
                self._give_up(each, failure.reason, failure.message)
            return None
        each._first_trouble = 0.0
        data, asked = bytes(answer.records or b""), each.at
        try:
            size, following = until(data, each.end)
        except InputError as error:
            self._give_up(each, "malformed", f"{each.place} at offset {asked}: {error}")
            return None
        if following is None:
            self._pass_gap(each, data)
            return None
        if each._least_bytes:
            self._usual_bytes[each.place], each._least_bytes = each._asked_bytes, 0
        each.at = max(following, asked + 1)
        if each.at < each.end:
            self._enqueue(each)
        aborted = [(one.producer_id, one.first_offset) for one in answer.aborted_transactions or ()]
        return Chunk(each, asked, data[:size], aborted if self._settings.read_committed else ())

    def _pass_gap(self, each: Range, data: bytes) -> None:
        """Go on where an answer holds no whole batch before the range's end."""
        if len(batch_starts(data)) > 1:
            each.at = each.end  # compaction has left nothing in between
            return
        # An answer's first partition gets a whole batch however large; the others only what fits.
        limit = each._asked_bytes * 8
        if limit <= MAX_BATCH_BYTES:
            each._least_bytes = limit
            self._enqueue(each)
        elif data:
            self._give_up(
                each, "too_large", f"{each.place} at offset {each.at}: a batch of more than {limit} bytes"
            )
        else:
            each.at = each.end  # nothing will ever come where compaction has removed the end of a log

    def _follow_log_start(self, each: Range) -> None:
        found = log_offsets(self._client, [each.partition], self._settings.read_committed)
        if found.troubles:
            self._trouble(each, found.troubles[0].reason, found.troubles[0].message)
            return
        start = int(found.start[0])
        if start <= each.at:
            self._give_up(each, "truncated", f"{each.place}: the log now ends before offset {each.at}")
            return
        self._on_problem("log_start_moved", f"{each.place}: offsets {each.at} to {start} are gone")
        start = min(start, each.end)
        each.skipped += start - each.at
        each.at = start
        if each.at < each.end:
            self._enqueue(each)

    def _trouble(self, each: Range, reason: str, message: str) -> None:
        """Read a range later, from whoever leads then, unless it has been in trouble for too long."""
        now = time.monotonic()
        each._first_trouble = each._first_trouble or now
        if now - each._first_trouble > self._settings.patience_s:
            self._give_up(each, reason, message)
            return
        self._on_problem(reason, message)
        if not self._parked:
            self._parked_until = now + self._settings.retry_s
        self._parked.append(each)

    def _give_up(self, each: Range, reason: str, message: str) -> None:
        each.failed = reason
        self._on_problem(reason, message)

    def _retry(self) -> None:
        """Ask who leads now, and put what was in trouble back; a topic that is no more is given up."""
        parked, self._parked = self._parked, []
        self._client.begin_round()
        now = topology(self._client)
        if isinstance(now, Failure):
            for each in parked:
                self._trouble(each, now.reason, now.message)
            return
        found = {(each.topic, each.number): each for each in now.partitions}
        for each in parked:
            there = found.get(each.place)
            if there is not None and there.topic_id == each.partition.topic_id:
                each.partition = there
                self._enqueue(each)
            elif there is None and each.partition.topic in now.unread_topics:
                self._trouble(each, "leader_moved", f"{each.place} cannot be described")
            else:
                self._give_up(each, "topic_deleted", f"{each.place} was deleted while it was read")


def _refusal(code: int, where: object) -> Failure:
    return Failure(reason_of(code), f"{where}: {error_text(code)}")
