"""`metricsmith ohi`: collectors as an integration that a New Relic agent runs."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from metricsmith.cli.client import Unreachable
from metricsmith.cli.collect import TARGET_HELP, collectors_may_print, settings
from metricsmith.cli.exits import Exit
from metricsmith.cli.kafka_options import SAMPLE_VARIABLE, asked, need_client, with_groups
from metricsmith.errors import SourceError

if TYPE_CHECKING:
    from metricsmith.wire.ohi.document import Document

Made: TypeAlias = "tuple[Document, list[str], list[str]]"
"""A document, what went wrong all the same, and what is worth a word."""
EXAMPLES = """Examples:

metricsmith ohi collectors.d/shop.py --protocol 4

BOOTSTRAP_SERVERS=localhost:9092 SAMPLE_SIZE=1000 metricsmith ohi kafka-tombstones
"""
DEFAULT_SAMPLE = 1000
CHECK_LIMIT_S = 90.0
"""Less than the two minutes that an agent waits."""


def ohi(
    target: Annotated[
        str,
        typer.Argument(metavar="COLLECTOR", help=f"{TARGET_HELP} Or one that is built in: kafka-tombstones."),
    ],
    protocol: Annotated[
        int, typer.Option(metavar="3|4", min=3, max=4, help="Version of the integration protocol.")
    ] = 3,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Name of the integration.  [com.metricsmith.FILE]")
    ] = None,
    version: Annotated[
        str, typer.Option("--integration-version", metavar="VERSION", help="Its version.")
    ] = "1.0.0",
    entity: Annotated[
        str | None, typer.Option(metavar="TYPE:NAME", help="What the samples are about; else the host.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Longest collection, unless a collector says.")
    ] = "1m",
) -> None:
    """Run a collector once and print a document of New Relic's integration protocol.

    kafka-tombstones takes BOOTSTRAP_SERVERS and SAMPLE_SIZE (records of each
    partition, about) from the environment. What fails is told on stderr, and
    the command ends with 1 after it has printed what there is.
    """
    from metricsmith.wire.ohi.encode import encode

    output = sys.stdout
    with collectors_may_print(target):
        built_in = BUILT_IN.get(target)
        if built_in is not None:
            document, failures, remarks = built_in(protocol)
        else:
            _check(target)
            document, failures, remarks = _collected(target, protocol, name, version, entity, timeout)
    output.write(encode(document).decode())
    output.flush()
    for remark in remarks:
        typer.echo(f"warning: {remark}", err=True)
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if failures:
        raise typer.Exit(Exit.FAILURE)


def _check(target: str) -> None:
    if target.endswith(".py") or "/" in target or "." in target or ":" in target:
        return
    from metricsmith.model.wording import nearest

    hint = nearest(target, sorted(BUILT_IN)) or f"built in: {', '.join(sorted(BUILT_IN))}"
    raise typer.BadParameter(f'COLLECTOR: got "{target}", wanted FILE.py or package.module:Name ({hint})')


def _collected(
    target: str, protocol: int, name: str | None, version: str, entity: str | None, timeout: str
) -> Made:
    from pathlib import Path

    from metricsmith.runtime.collectors import Reading, open_session
    from metricsmith.runtime.ohi import Identity, document
    from metricsmith.wire.ohi.document import HOST, Entity

    about = HOST
    if entity is not None:
        kind, _, named = entity.partition(":")
        if not kind or not named:
            raise typer.BadParameter(f'--entity: got "{entity}", wanted TYPE:NAME')
        about = Entity(named, kind)
    config = settings(timeout)

    async def read() -> Reading:
        session = await open_session(target, config)
        try:
            return await session.read()
        finally:
            session.close()

    reading = asyncio.run(read())
    stem = Path(target).stem if target.endswith(".py") else target.partition(":")[0].rpartition(".")[2]
    identity = Identity(name or f"com.metricsmith.{stem}", version, about)
    return document(reading, identity, protocol), reading.failures, reading.remarks


def _kafka_tombstones(protocol: int) -> Made:
    need_client()
    import time

    from metricsmith.runtime.kafka_session import KafkaSession
    from metricsmith.runtime.ohi import tombstones
    from metricsmith.sources.kafka.scan import Budget

    session = KafkaSession(with_groups(asked().config, ""))
    try:
        budget = Budget(sample_size=_sample_size(), seconds=CHECK_LIMIT_S)
        counts = session.tombstones("sampled", budget, lambda done, total: None)
    except SourceError as error:
        raise Unreachable(str(error)) from None
    finally:
        session.close()
    return tombstones(counts, time.time_ns() // 1_000_000, protocol), [], session.take_remarks()


def _sample_size() -> int:
    text = os.environ.get(SAMPLE_VARIABLE) or str(DEFAULT_SAMPLE)
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise typer.BadParameter(f'{SAMPLE_VARIABLE}: got "{text[:40]}", wanted a number of records above 0')
    return int(text)


BUILT_IN: dict[str, Callable[[int], Made]] = {"kafka-tombstones": _kafka_tombstones}
