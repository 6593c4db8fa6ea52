"""What the agent says of the demo's consumer groups: each change as it comes, and a table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from rich.console import Console
from rich.table import Table

from metricsmith.demo.kafka_story import GROUPS, TOPICS
from metricsmith.demo.programs import ANSWER_LIMIT
from metricsmith.sources.kafka.lag import REASONS, Reason

ASK_EVERY_S = 1.0
SURE_AFTER = 3
"""A verdict is told when so many answers in a row agree: a steady group is between two now and then."""

STATES = "count by (consumergroup, reason) (kafka_consumergroup_lag_state)"
LAG = "sum by (consumergroup) (kafka_consumergroup_lag)"
CATCH_UP = "max by (consumergroup) (kafka_consumergroup_topic_catch_up_seconds)"
HEALTH = "sum by (consumergroup) (kafka_health_score{scope='group'})"
TOPIC_COLUMNS = (
    ("balance of records", "sum by (topic) (kafka_topic_balance_score{kind='messages'})"),
    ("tombstones, %", "sum by (topic) (kafka_topic_tombstone_ratio_percent)"),
    ("health", "sum by (topic) (kafka_health_score{scope='topic'})"),
)
CLUSTER_HEALTH = "sum(kafka_health_score{scope='cluster'})"

Labels = tuple[str, ...]
Answer = dict[Labels, float]


@dataclass(slots=True)
class Verdict:
    """What most partitions of a group are said to be, and since when."""

    reason: Reason
    since_s: float
    agreeing: int = 1


class Watcher:
    """Asks the agent at `url`, tells the console what changes, and remembers since when."""

    def __init__(self, console: Console, url: str) -> None:
        self._console, self._url = console, url
        self._told: dict[str, Verdict] = {}
        self._seen: dict[str, Verdict] = {}

    async def watch(self, limit_s: float | None, stop: asyncio.Event, failed: Callable[[], None]) -> None:
        """Tell changes until the time is over or `stop` is set; `failed` raises what ended a player."""
        loop = asyncio.get_running_loop()
        ends = float("inf") if limit_s is None else loop.time() + limit_s
        async with aiohttp.ClientSession(f"{self._url}/") as session:
            while not stop.is_set() and loop.time() < ends:
                failed()
                states, lags = await _ask(session, STATES), await _ask(session, LAG)
                self.hear(states, lags)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), min(ASK_EVERY_S, max(0.0, ends - loop.time())))

    def hear(self, states: Answer, lags: Answer) -> None:
        """Take one answer: partitions by group and reason, records unread by group; tell what has changed."""
        for group, reason in _reasons(states).items():
            seen = self._seen.get(group)
            if seen is None or seen.reason is not reason:
                seen = self._seen[group] = Verdict(reason, time.time(), 0)
            seen.agreeing += 1
            told = self._told.get(group)
            if seen.agreeing >= SURE_AFTER and (told is None or told.reason is not reason):
                self._told[group] = seen
                unread = _count(lags.get((group,)))
                self._console.print(f"{_clock(seen.since_s)}  {group}: {reason}, {unread} unread")

    async def print_end(self) -> None:
        """Print what is known of groups, topics and the cluster."""
        async with aiohttp.ClientSession(f"{self._url}/") as session:
            lags, catch_up, health = [await _ask(session, each) for each in (LAG, CATCH_UP, HEALTH)]
            of_topics = [await _ask(session, expression) for _, expression in TOPIC_COLUMNS]
            cluster = await _ask(session, CLUSTER_HEALTH)
        groups = _table("group", "the agent says", "since", "unread", "caught up in", "health")
        for group in GROUPS:
            told = self._told.get(group.name)
            groups.add_row(
                group.name,
                *("-", "-") if told is None else (told.reason, _clock(told.since_s)),
                _count(lags.get((group.name,))),
                _seconds(catch_up.get((group.name,))),
                _count(health.get((group.name,))),
            )
        topics = _table("topic", *(title for title, _ in TOPIC_COLUMNS))
        for topic in TOPICS:
            topics.add_row(topic.name, *(_count(answer.get((topic.name,))) for answer in of_topics))
        for each in ("", groups, "", topics, "", f"health of the cluster: {_count(cluster.get(()))} of 100"):
            self._console.print(each)


def _reasons(states: Answer) -> dict[str, Reason]:
    """What most partitions of each group are; those that nothing can be said of yet do not count."""
    counts: defaultdict[str, Counter[Reason]] = defaultdict(Counter)
    for (group, reason), partitions in sorted(
        states.items(), key=lambda each: REASONS.index(Reason(each[0][1]))
    ):
        if reason not in (Reason.INSUFFICIENT_HISTORY, Reason.NO_COMMIT):
            counts[group][Reason(reason)] += int(partitions)
    return {group: found.most_common(1)[0][0] for group, found in counts.items()}


async def _ask(session: aiohttp.ClientSession, expression: str) -> Answer:
    """Return values by label values, in the order of the labels' names; nothing if there is no answer."""
    try:
        asked = {"query": expression}
        async with session.post("api/v1/query", data=asked, timeout=ANSWER_LIMIT) as response:
            answer = await response.json()
    except (aiohttp.ClientError, TimeoutError):  # an agent that has ended is told by who watches it
        return {}
    if answer.get("status") != "success":
        return {}
    return {
        tuple(value for _, value in sorted(each["metric"].items())): float(each["value"][1])
        for each in answer["data"]["result"]
    }


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _clock(time_s: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(time_s))


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return "never" if value == float("inf") else f"{value:,.0f} s"
