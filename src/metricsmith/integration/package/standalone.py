"""Runs collectors where there is no metricsmith: prints one document of the integration protocol, version 4.

In the zip of a packaged integration of kind `python`, whose agent is New Relic's or ours. What collectors
may give, and what becomes of it, is said by the same modules as in an agent; these import nothing but
Python. What is left to agents: threads, time-outs, limits but for the count of samples.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import PurePosixPath
from typing import Any

from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.sources.python.find import Unit, units_of
from metricsmith.sources.python.limits import Limits
from metricsmith.sources.python.load import registering, where
from metricsmith.sources.python.values import Rows, Taker, is_asynchronous, merged
from metricsmith.wire.ohi.document import Dataset, Document, Metric
from metricsmith.wire.ohi.encode import encode
from metricsmith.wire.ohi.samples import latest, metrics_of

UNLIMITED = 1 << 30


def main(folder: str, settings: Mapping[str, Any]) -> int:
    """Print what the collectors give; return 1 when one failed, after the others were told.

    Nothing is printed when none could be read, so that an agent knows that it failed.
    """
    metrics: list[Metric] = []
    failed = collected = 0
    with redirect_stdout(sys.stderr):  # what collectors print is no document
        try:
            units = collectors(folder, settings["run"]["collector"])
        except Exception as error:
            path = f"{folder}/{settings['run']['collector']}"
            sys.stderr.write(f"{told(error, path)}\n")
            return 1
        for unit in units:
            try:
                metrics += collected_by(unit, settings)
                collected += 1
            except Exception as error:
                failed += 1
                sys.stderr.write(f"{unit.name}: {told(error, unit.origin)}\n")
    if collected or not failed:
        document = Document(4, settings["name"], settings["version"], (Dataset(metrics=tuple(metrics)),))
        sys.stdout.write(encode(document).decode())
        sys.stdout.flush()
    return int(failed > 0)


def told(error: Exception, file: str) -> str:
    """Return what went wrong in which line of the collectors' file."""
    return f"{PurePosixPath(where(error, file)).name}: {type(error).__name__}: {error}"


def collectors(folder: str, file: str) -> list[Unit]:
    """Return the collectors of a file; what lies beside it can be imported."""
    path = PurePosixPath(file)
    sys.path.insert(0, f"{folder}/{path.parent}")
    with registering() as registered:
        module = importlib.import_module(path.stem)
        return units_of(module, path.stem, str(module.__file__), registered)


def collected_by(unit: Unit, settings: Mapping[str, Any]) -> Iterator[Metric]:
    """Return the metrics of one collection; what is left out is told.

    Raises:
        Exception: whatever the collector raises, or it gave what is no sample, or too many.
    """
    labels = unit.options.labels
    limits = Limits(0, 0, settings["max_samples"], UNLIMITED, UNLIMITED, UNLIMITED, labels)
    taker = Taker(unit.plain, limits)
    result = unit.call()
    if is_asynchronous(result):
        asyncio.run(taker.take_asynchronous(result))
    else:
        taker.take(result)
    rows = taker.rows
    for reason, told in rows.told.items():
        sys.stderr.write(f"{unit.name}: {rows.problems[reason]} left out: {told}\n")
    samples = latest(zip(rows.names, rows.values, strict=True), rows.timed)
    return metrics_of(samples, known_of(unit, rows, settings["types"]), round(time.time() * 1000))


def known_of(unit: Unit, rows: Rows, declared: Mapping[str, str]) -> dict[str, Metadata]:
    """Return what is known of metrics: what a collector does not say, the declaration does."""
    found = {name: Metadata(MetricType(type_)) for name, type_ in declared.items()}
    said = merged(unit.described, rows.metadata)
    return found | {name: known for name, known in said.items() if known.type is not MetricType.UNKNOWN}
