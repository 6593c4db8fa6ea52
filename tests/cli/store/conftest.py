"""Data directories with known content, made without an agent, and what is in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.runtime.offline import KEPT_FOR_EVER_MS, open_offline
from metricsmith.store.settings import EmbeddedConfig

Samples = Mapping[str, Mapping[int, float | None]]
"""Series as `name{label="value"}` labels → time in milliseconds → value; None is a staleness marker."""
Bits = dict[tuple[tuple[str, str], ...], dict[int, bytes | None]]


@pytest.fixture(scope="session")
def fill() -> Callable[..., None]:
    """Put samples, given as (labels, time → value), into a data directory."""

    def put(folder: Path, content: list[tuple[dict[str, str], dict[int, float | None]]]) -> None:
        asyncio.run(_fill(folder, content))

    return put


@pytest.fixture(scope="session")
def content_of() -> Callable[[Path], Bits]:
    """Read all of a data directory: labels → time → the bits of the value, None for a marker."""
    return lambda folder: asyncio.run(_read(folder))


def _config(folder: Path) -> EmbeddedConfig:
    return EmbeddedConfig(path=str(folder)).model_copy(update={"retention": KEPT_FOR_EVER_MS})


async def _fill(folder: Path, content: list[tuple[dict[str, str], dict[int, float | None]]]) -> None:
    async with open_offline(_config(folder)) as store:
        for labels, samples in content:
            series = store.series_table.intern(encode_labels(labels))
            values = list(samples.values())
            await store.accept(
                Batch(
                    Layout(np.full(len(samples), series, np.uint32)),
                    np.array(list(samples), np.int64),
                    np.array([np.nan if v is None else v for v in values], np.float64),
                    np.array([v is None for v in values]),
                )
            )


async def _read(folder: Path) -> Bits:
    found: Bits = {}
    async with open_offline(_config(folder)) as store:
        everything = store.samples([], -(1 << 60), 1 << 60, 1 << 60)
        for place, series in enumerate(everything.series.tolist()):
            own = slice(everything.offsets[place], everything.offsets[place + 1])
            stale = (
                np.zeros(own.stop - own.start, bool) if everything.stale is None else everything.stale[own]
            )
            labels = tuple(sorted(store.series_table.labels(series).items()))
            found[labels] = {
                time: None if marker else b"NaN" if value != value else value.tobytes()
                for time, value, marker in zip(
                    everything.times[own].tolist(), everything.values[own], stale, strict=True
                )
            }
    return found
