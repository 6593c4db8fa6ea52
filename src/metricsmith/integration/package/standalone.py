"""Runs collectors where there is no metricsmith: prints one document of the integration protocol, version 4.

In the zip of a packaged integration of kind `python`, whose agent is New Relic's or ours. It imports
nothing but the standard library, so it is a small form of what sources/python does: one collection,
no threads, no limits but a count; agents have theirs.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import math
import sys
import time
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import PurePosixPath
from typing import Any

from metricsmith.collector import Value, options_of

KINDS = {"counter": "cumulative-count"}
_PARTS = {"histogram": ("buckets", "le", "upper_bound", "cumulative_count"),
          "summary": ("quantiles", "quantile", "quantile", "value")}  # fmt: skip


def main(folder: str, settings: Mapping[str, Any]) -> int:
    """Print what the collectors give; return 1 when one failed, after the others were told."""
    path = PurePosixPath(settings["run"]["collector"])
    sys.path.insert(0, f"{folder}/{path.parent}")
    reading, failed = Reading(settings), False
    with redirect_stdout(sys.stderr):  # what collectors print is no document
        module = importlib.import_module(path.stem)
        for name, made in collectors(module):
            try:
                reading.take(name, given(made))
            except Exception as error:
                failed = True
                sys.stderr.write(f"{name}: {where(error, folder)}: {type(error).__name__}: {error}\n")
    metrics = list(reading.metrics())
    if metrics or not failed:
        data = [{"common": {}, "metrics": metrics, "inventory": {}, "events": [], "ignore_entity": True}]
        identity = {"name": settings["name"], "version": settings["version"]}
        document = {"protocol_version": "4", "integration": identity, "data": data}
        print(json.dumps(document, allow_nan=False))  # noqa: T201
    return int(failed)


def where(error: BaseException, folder: str) -> str:
    """Return the last line of the project that an error went through, else the last of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(folder)]
    last = (own or frames)[-1]
    return f"{PurePosixPath(last.filename).name}:{last.lineno}"


def collectors(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a module marks as collectors, in its order."""
    for name, made in vars(module).items():
        if getattr(made, "__module__", None) == module.__name__ and options_of(made) is not None:
            yield (options_of(made) or made).name or name, made


def given(made: Any) -> Any:
    """Return what a function gives, or a class by its `collect()`; what is async is waited for."""
    result: Any = made()
    if inspect.isclass(made):
        result = result.collect()
    if hasattr(result, "__aiter__"):
        return asyncio.run(_all(result))
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _all(values: AsyncIterator[Any]) -> list[Any]:
    return [value async for value in values]


async def _awaited(value: Any) -> Any:
    return await value


class Reading:
    """Samples of one collection; `types` of the settings are those declared, for values without one."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._declared: Mapping[str, str] = settings["types"]
        self._left: int = settings["max_samples"]
        self._time_s = int(time.time())
        self._plain: list[dict[str, Any]] = []
        self._parts: dict[tuple[str, str, str], dict[str, Any]] = {}

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Yield each metric of the document."""
        yield from self._plain
        yield from self._parts.values()

    def take(self, plain: str, item: Any) -> None:
        """Take a value, or whatever holds values; `plain` names a number that has no name."""
        if item is None:
            return
        if isinstance(item, Value):
            self._add(item.name, item.value, item.labels, item.type)
        elif isinstance(item, tuple) and item and isinstance(item[0], str):
            self._add(item[0], item[1], item[2] if len(item) > 2 else None)
        elif isinstance(item, Mapping):
            for name, value in item.items():
                self._add(name, value)
        elif hasattr(item, "samples") and hasattr(item, "documentation"):
            for sample in item.samples:
                self._of_family(item, sample)
        elif isinstance(item, Iterable) and not isinstance(item, str | bytes):
            for inner in item:
                self.take(plain, inner)
        else:
            self._add(plain, item)

    def _of_family(self, family: Any, sample: Any) -> None:
        if family.type not in _PARTS:
            type_ = family.type if not sample.name.endswith("_created") else "gauge"
            self._add(sample.name, sample.value, sample.labels, type_)
            return
        points, end, at, of = _PARTS[family.type]
        labels = {label: text for label, text in sample.labels.items() if label != end}
        empty = {"sample_count": 0, "sample_sum": 0, points: []}
        key = (family.name, family.type, json.dumps(labels, sort_keys=True))
        if key not in self._parts:
            self._parts[key] = self._metric(family.name, f"prometheus-{family.type}", labels, empty)
        value = self._parts[key]["value"]
        if sample.name in (f"{family.name}_count", f"{family.name}_sum"):
            value[f"sample_{sample.name.rpartition('_')[2]}"] = float(sample.value)
        elif end in sample.labels and math.isfinite(float(sample.labels[end])):
            value[points].append({at: float(sample.labels[end]), of: float(sample.value)})

    def _add(self, name: str, value: Any, labels: Any = None, type_: str = "unknown") -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("got more samples than max_samples of integration.yaml")
        number = math.nan if value is None else float(value)
        if math.isfinite(number):  # JSON has no others
            declared = self._declared.get(name, "gauge")
            kind = KINDS.get(declared if type_ in ("unknown", "untyped") else type_, "gauge")
            self._plain.append(self._metric(name, kind, labels or {}, number))

    def _metric(self, name: str, kind: str, labels: Mapping[str, Any], value: Any) -> dict[str, Any]:
        attributes = {str(label): "" if text is None else str(text) for label, text in labels.items()}
        return {"name": name, "type": kind, "timestamp": self._time_s,
                "attributes": attributes, "value": value}  # fmt: skip
