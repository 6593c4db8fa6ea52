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

from kafka.errors import KafkaError
from kafka.net import KafkaConnectionManager
from kafka.protocol.consumer import FetchRequest

from metricsmith.errors import InputError
from metricsmith.sources.kafka.partitions import (
    Leadership,
    PartitionId,
    bounds,
    error_name,
    leaderships,
)
from metricsmith.sources.kafka.records import Piece, next_offset

OUT_OF_RANGE = 1
MOST_BATCH_BYTES = 64 << 20
_MOVED = {-1, 3, 5, 6, 9, 56, 74, 75, 78, 100}
"""Errors that may pass: another leader, a leader that does not know yet."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How much is asked for at a time, and how long a partition may be silent."""

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

    `skipped` counts offsets that were gone before they could be read; `failed` is
    the reason why the rest was given up.
    """

    key: PartitionId
    at: int
    end: int
    number: int = 0
    bytes_limit: int = 0
    skipped: int = 0
    failed: str = ""
    _first_trouble: float = field(default=0.0, repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one answer held of a range, and the offset that was asked for."""

    range: Range
    asked: int
    piece: Piece


@dataclass(frozen=True, slots=True)
class _Answer:
    node: int
    ranges: Sequence[Range]
    value: Any
    error: BaseException | None


class LogReader:
    """Reads ranges of partitions. One `read` at a time."""

    def __init__(
        self,
        manager: KafkaConnectionManager,
        settings: FetchSettings | None = None,
        on_problem: Callable[[PartitionId, str], None] = lambda key, reason: None,
    ) -> None:
        self._manager = manager
        self._settings = settings or FetchSettings()
        self._on_problem = on_problem
        self._leaders: dict[PartitionId, Leadership] = {}
        self._waiting: dict[int, deque[Range]] = {}
        self._parked: list[Range] = []
        self._parked_until = 0.0
        self._under_way: dict[int, int] = {}
        self._answers: SimpleQueue[_Answer] = SimpleQueue()

    def read(
        self,
        ranges: Sequence[Range],
        leaders: dict[PartitionId, Leadership],
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[Chunk]]:
        """Yield what answers hold until all ranges are read or given up, or `stop` says so.

        A range moves on as it is read: afterwards `at` is where it stopped.
        """
        self._leaders = dict(leaders)
        self._waiting, self._parked, self._under_way = {}, [], {}
        self._answers = SimpleQueue()
        for each in ranges:
            if each.at < each.end:
                self._enqueue(each)
        self._send()
        while (self._busy() or self._parked or any(self._waiting.values())) and not stop():
            if self._parked and (time.monotonic() >= self._parked_until or not self._busy()):
                self._retry()
            try:
                answer = self._answers.get(timeout=self._settings.retry_s)
            except Empty:
                continue
            self._under_way[answer.node] -= 1
            chunks = self._take(answer)
            self._send()
            if chunks:
                yield chunks

    def _busy(self) -> bool:
        return any(self._under_way.values())

    def _enqueue(self, each: Range) -> None:
        leadership = self._leaders.get(each.key)
        if leadership is None or leadership.leader < 0:
            self._trouble(each, "no_leader")
        else:
            self._waiting.setdefault(leadership.leader, deque()).append(each)

    def _send(self) -> None:
        for node, waiting in self._waiting.items():
            while waiting and (free := self._settings.requests_per_broker - self._under_way.get(node, 0)) > 0:
                chosen = _distinct(waiting, -(-len(waiting) // free))
                self._under_way[node] = self._under_way.get(node, 0) + 1
                self._ask(node, chosen)

    def _ask(self, node: int, ranges: Sequence[Range]) -> None:
        request, limit_ms = self._request(ranges), self._settings.timeout_s * 1000

        async def ask() -> Any:
            return await self._manager.send(request, node_id=node, request_timeout_ms=limit_ms)

        answers = self._answers
        future = self._manager.call_soon(ask)
        future.add_callback(lambda value: answers.put(_Answer(node, ranges, value, None)))
        future.add_errback(lambda error: answers.put(_Answer(node, ranges, None, error)))

    def _request(self, ranges: Sequence[Range]) -> Any:
        settings, topic_type = self._settings, FetchRequest.FetchTopic
        share = max(1 << 14, min(settings.partition_bytes, settings.answer_bytes // len(ranges)))
        topics: dict[str, list[Any]] = {}
        for each in ranges:
            topics.setdefault(each.key.topic, []).append(
                topic_type.FetchPartition(
                    partition=each.key.partition,
                    fetch_offset=each.at,
                    partition_max_bytes=each.bytes_limit or share,
                    current_leader_epoch=-1,
                    last_fetched_epoch=-1,
                    log_start_offset=-1,
                )
            )
        ids = {each.key.topic: self._leaders[each.key].topic_id for each in ranges}
        return FetchRequest(
            max_wait_ms=settings.wait_ms,
            min_bytes=1,
            max_bytes=max(settings.answer_bytes, *(each.bytes_limit for each in ranges), 0),
            isolation_level=int(settings.read_committed),
            session_id=0,
            session_epoch=-1,
            rack_id="",
            forgotten_topics_data=[],
            topics=[
                topic_type(topic=name, topic_id=ids[name], partitions=parts) for name, parts in topics.items()
            ],
        )

    def _take(self, answer: _Answer) -> list[Chunk]:
        if answer.error is not None or answer.value.error_code:
            reason = (
                type(answer.error).__name__
                if answer.error is not None
                else error_name(answer.value.error_code)
            )
            for each in answer.ranges:
                self._trouble(each, reason)
            return []
        names = {self._leaders[each.key].topic_id: each.key.topic for each in answer.ranges}
        asked = {each.key: each for each in answer.ranges}
        chunks = []
        for topic in answer.value.responses:
            name = topic.topic or names.get(str(topic.topic_id), "")
            for partition in topic.partitions:
                each = asked.pop(PartitionId(name, partition.partition_index), None)
                if each is not None and (chunk := self._take_partition(each, partition)) is not None:
                    chunks.append(chunk)
        for each in asked.values():
            self._trouble(each, "not_answered")
        return chunks

    def _take_partition(self, each: Range, answer: Any) -> Chunk | None:
        if answer.error_code == OUT_OF_RANGE:
            self._follow_log_start(each)
            return None
        if answer.error_code:
            name = error_name(answer.error_code)
            if answer.error_code in _MOVED:
                self._trouble(each, name)
            else:
                self._give_up(each, name)
            return None
        each._first_trouble = 0.0
        data, asked = bytes(answer.records or b""), each.at
        try:
            following = next_offset(data)
        except InputError:
            self._give_up(each, "malformed")
            return None
        if following is None:
            self._ask_for_more(each, answer, data)
            return None
        each.at, each.bytes_limit = max(following, asked + 1), 0
        if each.at < each.end:
            self._enqueue(each)
        aborted = [(one.producer_id, one.first_offset) for one in answer.aborted_transactions or ()]
        return Chunk(each, asked, Piece(data, asked, aborted if self._settings.read_committed else ()))

    def _ask_for_more(self, each: Range, answer: Any, data: bytes) -> None:
        """Ask again for what did not fit. An answer's first partition gets a whole batch, the others wait."""
        limit = (each.bytes_limit or self._settings.partition_bytes) * 8
        if limit <= MOST_BATCH_BYTES:
            each.bytes_limit = limit
            self._enqueue(each)
        elif data:
            self._give_up(each, "too_large")
        else:
            # The end of a compacted log may be a gap: nothing will ever come.
            each.at = each.end

    def _follow_log_start(self, each: Range) -> None:
        leader = {each.key: self._leaders[each.key]}
        found, problems = bounds(self._manager, leader, self._settings.read_committed)
        if each.key in problems:
            self._trouble(each, problems[each.key])
            return
        start = found[each.key].start
        if start <= each.at:
            self._give_up(each, "truncated")
            return
        self._on_problem(each.key, "log_start_moved")
        each.skipped += min(start, each.end) - each.at
        each.at = min(start, each.end)
        if each.at < each.end:
            self._enqueue(each)

    def _trouble(self, each: Range, reason: str) -> None:
        """Read a range later, from whoever leads then, unless it has been in trouble for too long."""
        now = time.monotonic()
        each._first_trouble = each._first_trouble or now
        self._on_problem(each.key, reason)
        if now - each._first_trouble > self._settings.patience_s:
            self._give_up(each, reason)
            return
        if not self._parked:
            self._parked_until = now + self._settings.retry_s
        self._parked.append(each)

    def _give_up(self, each: Range, reason: str) -> None:
        each.failed = reason
        self._on_problem(each.key, f"gave_up_{reason}")

    def _retry(self) -> None:
        """Ask who leads now, and put what was in trouble back; a topic that is no more is given up."""
        time.sleep(max(0.0, self._parked_until - time.monotonic()))
        parked, self._parked = self._parked, []
        try:
            self._manager.run(self._manager.cluster.refresh_metadata)
            leaders, gone = leaderships(self._manager, sorted({each.key.topic for each in parked}))
        except KafkaError as error:
            for each in parked:
                self._trouble(each, type(error).__name__)
            return
        for each in parked:
            now = leaders.get(each.key)
            made_anew = now is not None and now.topic_id != self._leaders[each.key].topic_id
            if gone.get(each.key.topic) == "unknown_topic" or made_anew:
                self._give_up(each, "topic_deleted")
            elif now is None:
                self._trouble(each, gone.get(each.key.topic, "no_leader"))
            else:
                self._leaders[each.key] = now
                self._enqueue(each)


def _distinct(waiting: deque[Range], most: int) -> list[Range]:
    """Take the next ranges of distinct partitions: a request may name each once."""
    chosen: dict[PartitionId, Range] = {}
    passed = []
    while waiting and len(chosen) < most:
        each = waiting.popleft()
        if each.key in chosen:
            passed.append(each)
        else:
            chosen[each.key] = each
    waiting.extendleft(reversed(passed))
    return list(chosen.values())
