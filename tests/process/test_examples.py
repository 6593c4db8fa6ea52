"""The examples of docs/processors.md: settings can be loaded, and what goes in comes out as shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from metricsmith import registry
from metricsmith.config.load import load_text
from metricsmith.model.batch import Batch
from metricsmith.model.labels import format_labels
from metricsmith.model.metadata import MetricType
from metricsmith.syntax.selector import parse_selector

PAGE = (Path(__file__).parents[2] / "docs/processors.md").read_text()
SETTINGS = re.compile(r"```yaml\n(.*?)```(?:\s*```text\n(.*?)→\n(.*?)```)?", re.S)
EXAMPLES = SETTINGS.findall(PAGE)
STEP_MS = 10_000


def table(text):
    """Return the values of each series, None where there is none."""
    rows = {}
    for line in text.splitlines():
        series, *values = re.split(r"\s+(?![^{]*\})", line.strip())
        labels = {m.name: m.value for m in parse_selector(series).matchers}
        rows[format_labels(dict(sorted(labels.items())))] = [None if v == "_" else float(v) for v in values]
    return rows


def type_of(name):
    return MetricType.COUNTER if name.endswith("_total") else MetricType.GAUGE


def given(lab, rows):
    """Yield a batch for each scrape; a series that a scrape has not ends in it."""
    names = {parse_selector(series).matchers[0].value for series in rows}
    types = {name: type_of(name) for name in names if not name.startswith("lat")} | {
        "lat": MetricType.HISTOGRAM
    }
    layout = lab.layout(*rows, types=types)
    for step, values in enumerate(zip(*rows.values(), strict=True)):
        stale = np.array([value is None for value in values])
        numbers = np.array([np.nan if value is None else value for value in values])
        yield Batch(layout, (step + 1) * STEP_MS, numbers, stale if stale.any() else None)


@pytest.mark.parametrize(("settings", "before", "after"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples(lab, settings, before, after):
    parts = load_text(settings, "metricsmith.yaml", {}).of("processors")
    processors = [registry.load("processors", part.type)(part.config, lab.context) for part in parts]
    if not before:
        return
    found, steps = {}, len(next(iter(table(before).values())))
    for step, batch in enumerate(given(lab, table(before))):
        for processor in processors:
            batch = batch and processor.process(batch)
        for series, value in lab.shown(batch).items():
            key = next(iter(table(f"{series} 0")))
            found.setdefault(key, [None] * steps)[step] = None if value == "stale" else value
    assert found == table(after)


def test_every_processor_has_its_section():
    for name in registry.BUILT_IN["processors"]:
        assert name in PAGE
