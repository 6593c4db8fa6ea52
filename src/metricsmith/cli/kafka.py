"""`metricsmith kafka`: a cluster looked at once, or again and again, without an agent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.kafka_demo import demo
from metricsmith.cli.kafka_options import (
    SAMPLE_VARIABLE,
    Asked,
    KafkaCommand,
    seconds,
    watching,
    with_groups,
    with_shared,
)
from metricsmith.cli.kafka_screen import Answer, show

if TYPE_CHECKING:
    from metricsmith.runtime.kafka_session import KafkaSession, Progress
    from metricsmith.sources.kafka.tombstone_counts import Mode

app = typer.Typer(
    no_args_is_help=True,
    help="Look at a Kafka cluster, without an agent; no group is joined and nothing is committed.",
)
app.command("demo")(demo)

Group = Annotated[
    str | None, typer.Option(metavar="REGEX", help="Groups to look at; matches the whole name.")
]
Partitions = Annotated[
    bool, typer.Option("--partitions", "-p", metavar="", help="Show each partition, not topics alone.")
]

Sample = Annotated[
    int,
    typer.Option(
        metavar="NUMBER",
        min=1,
        envvar=SAMPLE_VARIABLE,
        help="Records that a sample reads of each partition, about.",
    ),
]


def _examples(*lines: str) -> str:
    return "\n\n".join(("Examples:", *(f"metricsmith kafka {line}" for line in lines)))


@app.command(
    "topics",
    cls=KafkaCommand,
    epilog=_examples("topics --bootstrap kafka-0:9092,kafka-1:9092", "topics --topic 'orders.*' --json"),
)
@with_shared
def topics(
    asked: Asked,
    observe: Annotated[
        str,
        typer.Option(metavar="DURATION", help="Read twice, so long apart, for rates; 0s leaves them out."),
    ] = "2s",
) -> None:
    """Show topics: partitions, replicas, records, bytes, rate, retention, cleanup policy."""
    from metricsmith.cli.kafka_tables import topic_table
    from metricsmith.runtime.kafka_reports import topic_json, topic_rows
    from metricsmith.runtime.kafka_session import KafkaSession, Snapshot

    span_s = seconds(observe, "--observe")
    before: Snapshot | None = None

    def read(session: KafkaSession, progress: Progress) -> Answer:
        nonlocal before
        if before is None and span_s:
            before = session.observe(span_s, progress, readings=2)[0]
        now = session.read(sizes=True)
        rows = topic_rows(now, before)
        before = now
        return Answer(topic_json(rows), topic_table(rows), _remarks(session, asked))

    show(KafkaSession(with_groups(asked.config, "")), read, asked.as_json, asked.watch_s, "watching rates")


@app.command(
    "lag",
    cls=KafkaCommand,
    epilog=_examples(
        "lag --bootstrap kafka-0:9092", "lag --group 'billing.*' --partitions", "lag --observe 1m --json"
    ),
)
@with_shared
def lag(
    asked: Asked,
    group: Group = None,
    partitions: Partitions = False,
    observe: Annotated[
        str,
        typer.Option(
            metavar="DURATION",
            help="How long to watch commits and ends for a verdict; consumers commit each 5s by default."
            " That a group is stalled or idle is said after 2m without a commit: watch longer for it.",
        ),
    ] = "10s",
) -> None:
    """Show how far groups are behind, when they will have caught up, and why not."""
    from metricsmith.cli.kafka_tables import lag_table
    from metricsmith.runtime.kafka_reports import lag_json, lag_rows
    from metricsmith.runtime.kafka_session import KafkaSession

    span_s, first = seconds(observe, "--observe"), True

    def read(session: KafkaSession, progress: Progress) -> Answer:
        nonlocal first
        now = session.observe(span_s if first else 0, progress)[-1]
        first = False
        rows = lag_rows(now)
        return Answer(lag_json(rows), lag_table(rows, partitions), _remarks(session, asked, include))

    config = watching(with_groups(asked.config, group), span_s)
    include = config.groups.include
    show(KafkaSession(config), read, asked.as_json, asked.watch_s, "watching commits")


@app.command(
    "tombstones",
    cls=KafkaCommand,
    epilog=_examples(
        "tombstones --bootstrap kafka-0:9092 --topic users", "tombstones --exact --partitions --json"
    ),
)
@with_shared
def tombstones(
    asked: Asked,
    exact: Annotated[
        bool, typer.Option("--exact", metavar="", help="Read whole logs, in place of a sample.")
    ] = False,
    sample_size: Sample = 1000,
    limit: Annotated[
        str, typer.Option(metavar="DURATION", help="Longest time; what is read by then is told.")
    ] = "10m",
    partitions: Partitions = False,
) -> None:
    """Show how much of topics is tombstones: records without a value, which compaction deletes keys by."""
    from metricsmith.cli.kafka_tables import tombstone_table
    from metricsmith.runtime.kafka_reports import tombstone_json
    from metricsmith.runtime.kafka_session import KafkaSession
    from metricsmith.sources.kafka.scan import Budget

    mode: Mode = "exact" if exact else "sampled"
    budget = Budget(sample_size=sample_size, seconds=seconds(limit, "--limit"))

    def read(session: KafkaSession, progress: Progress) -> Answer:
        counts = session.tombstones(mode, budget, progress)
        return Answer(tombstone_json(counts), tombstone_table(counts, partitions), _remarks(session, asked))

    doing = "reading logs" if exact else "reading samples"
    show(KafkaSession(with_groups(asked.config, "")), read, asked.as_json, asked.watch_s, doing)


@app.command(
    "balance",
    cls=KafkaCommand,
    epilog=_examples("balance --bootstrap kafka-0:9092", "balance --observe 1m --json"),
)
@with_shared
def balance(
    asked: Asked,
    observe: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to watch message rates; 0s leaves them out.")
    ] = "10s",
) -> None:
    """Show how evenly partitions and brokers are loaded: 100 is evenly, 0 is all on few."""
    from metricsmith.cli.kafka_tables import balance_table
    from metricsmith.runtime.kafka_scores import balance_json, balance_rows
    from metricsmith.runtime.kafka_session import KafkaSession, Snapshot

    span_s = seconds(observe, "--observe")
    seen: list[Snapshot] = []

    def read(session: KafkaSession, progress: Progress) -> Answer:
        seen[:] = [*seen[-1:], *session.observe(0 if seen else span_s, progress, readings=2, sizes=True)]
        rows = balance_rows(seen)
        return Answer(balance_json(rows), balance_table(rows), _remarks(session, asked))

    config = with_groups(asked.config, "")
    show(KafkaSession(config), read, asked.as_json, asked.watch_s, "watching rates")


@app.command(
    "health",
    cls=KafkaCommand,
    epilog=_examples(
        "health --bootstrap kafka-0:9092", "health --watch 30s", "health --rules weights.yml --json"
    ),
)
@with_shared
def health(
    asked: Asked,
    group: Group = None,
    observe: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to watch commits and ends.")
    ] = "10s",
    sample_size: Sample = 1000,
    rules: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Rule files that set other weights and limits.", exists=True),
    ] = None,
) -> None:
    """Show the health score of the cluster, 0 to 100, what it is made of, and who lowers it.

    Tombstones are sampled first, at the first reading only when it is watched.
    """
    from metricsmith.cli.kafka_tables import health_table
    from metricsmith.runtime.kafka_scores import health as evaluate
    from metricsmith.runtime.kafka_scores import health_json
    from metricsmith.runtime.kafka_session import KafkaSession, Snapshot
    from metricsmith.sources.kafka.scan import Budget
    from metricsmith.sources.kafka.tombstone_counts import TombstoneCount

    span_s = seconds(observe, "--observe")
    seen: list[Snapshot] = []
    counts: list[TombstoneCount] = []

    def read(session: KafkaSession, progress: Progress) -> Answer:
        if not seen:
            counts[:] = session.tombstones("sampled", Budget(sample_size=sample_size), progress)
        seen[:] = [*seen[-1:], *session.observe(0 if seen else span_s, progress, sizes=True)]
        now = seen[-1].with_tombstones(counts)
        found = evaluate([*seen[:-1], now], rules or ())
        return Answer(health_json(found), health_table(found), _remarks(session, asked, group))

    config = watching(with_groups(asked.config, group), span_s)
    show(KafkaSession(config), read, asked.as_json, asked.watch_s, "looking at the cluster")


def _remarks(session: KafkaSession, asked: Asked, groups: str | None = None) -> list[str]:
    """Troubles, and that a filter leaves nothing; `groups` is the pattern of those asked for."""
    remarks = session.take_remarks()
    if not session.topics():
        hint = "no topics, but for internal ones perhaps (--internal shows them)"
        remarks.append(_nothing("topic", asked.config.topics.include, "orders.*", hint))
    elif groups is not None and not session.groups():
        remarks.append(_nothing("group", groups, "billing.*", "no consumer groups"))
    return remarks


def _nothing(what: str, include: str, example: str, none_at_all: str) -> str:
    if include == ".*":
        return none_at_all
    return f"no {what} matches {include}; the pattern must match the whole name, such as {example}"
