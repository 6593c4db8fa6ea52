"""count_values: how many series of a group have which value."""

from __future__ import annotations

import numpy as np

from metricsmith.model.arrays import Bool
from metricsmith.promql.budget import Budget
from metricsmith.promql.result import plain_number
from metricsmith.promql.series_labels import replace_labels, signatures
from metricsmith.promql.values import String, Vector


def count_values(
    vector: Vector, label: String, labels: tuple[str, ...], without: bool, budget: Budget
) -> Vector:
    """Return one series for each value in each group, the value's text in a label."""
    kept = labels if without else (*labels, label.value)
    counts: dict[bytes, np.ndarray] = {}
    mask = vector.mask()
    values = np.ascontiguousarray(vector.values)
    for row, key in enumerate(vector.keys):
        budget.check_time()
        for text, steps in _values(values[row], mask[row]):
            group = signatures([replace_labels(key, {label.value: text})], kept, keep=not without)[0]
            if group not in counts:
                budget.check_samples((len(counts) + 1) * vector.values.shape[1])
                counts[group] = np.zeros(vector.values.shape[1])
            counts[group][steps] += 1
    found = np.array(list(counts.values())).reshape(len(counts), vector.values.shape[1])
    return Vector(list(counts), found, found > 0)


def _values(values: np.ndarray, present: Bool) -> list[tuple[str, Bool]]:
    """Return the text of each distinct value of a series and the steps that have it."""
    # By their bits: 0 and -0 are two values, and NaN is one.
    bits = values.view(np.int64)
    distinct, first = np.unique(bits[present], return_index=True)
    texts = [plain_number(value) for value in values[present][first].tolist()]
    return [(text, (bits == same) & present) for text, same in zip(texts, distinct.tolist(), strict=True)]
