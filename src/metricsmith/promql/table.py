"""Answers as Arrow tables: a row for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64, I64
from metricsmith.model.labels import NAME_LABEL, decode_labels
from metricsmith.model.query_result import Result

_SAMPLE_COLUMNS = ("time_ms", "value")


def to_table(result: Result) -> pa.Table:
    """Return label columns as dictionaries, then `time_ms` and `value`; remarks in the metadata.

    Raises:
        ExecutionError: the answer is a string.
    """
    if result.type == "string":
        raise ExecutionError("got an answer of type string, wanted numbers for a table")
    rows, times, values = _samples(result)
    columns = _label_columns(result.keys, rows)
    columns |= {"time_ms": pa.array(times), "value": pa.array(values)}
    remarks = {
        name: "\n".join(texts)
        for name, texts in (("warnings", result.warnings), ("infos", result.infos))
        if texts
    }
    table: pa.Table = pa.table(columns)
    return table.replace_schema_metadata(remarks) if remarks else table


def _samples(result: Result) -> tuple[I64, I64, F64]:
    """Return for each sample the row of its series, its time and its value."""
    if result.raw is not None:
        counts = np.diff(result.raw.offsets)
        return np.repeat(np.arange(len(counts)), counts), result.raw.times, result.raw.values
    shape = (len(result.keys), len(result.steps))
    present = np.ones(shape, bool) if result.present is None else result.present
    rows, steps = np.nonzero(present)
    return rows, result.steps[steps], result.values.reshape(shape)[rows, steps]


def _label_columns(keys: list[bytes], rows: I64) -> dict[str, pa.Array[Any]]:
    labels = [decode_labels(key) for key in keys]
    names = sorted({name for each in labels for name in each}, key=lambda name: (name != NAME_LABEL, name))
    taken = {*names, *_SAMPLE_COLUMNS}
    columns: dict[str, pa.Array[Any]] = {}
    for name in names:
        column = name
        while column in _SAMPLE_COLUMNS or (column != name and column in taken):
            column = f"exported_{column}"
        taken.add(column)
        of_series = pa.array([each.get(name) for each in labels], pa.string()).dictionary_encode()
        columns[column] = of_series.take(rows)
    return columns
