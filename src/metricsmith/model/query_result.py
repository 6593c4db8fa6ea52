"""What a query answers, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.selection import RaggedGroup

ResultType = Literal["scalar", "vector", "matrix", "string"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a query answers.

    A scalar is one row with the empty key; a string has only `text`. `raw` is
    set when an instant query asked for a range of samples: series in the order
    of the keys, and `values` is empty then. Series of ranges are in the order of
    their labels.

    Shapes:
        keys: S canonical label keys.
        steps: (T,) milliseconds; values: (S, T); present: (S, T), or None when every value is there.
    """

    type: ResultType
    steps: I64
    keys: list[bytes] = field(default_factory=list)
    values: F64 = field(default_factory=lambda: np.empty((0, 0)))
    present: Bool | None = None
    raw: RaggedGroup | None = None
    text: str = ""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)

    def points(self) -> int:
        """Return the number of values in the answer."""
        if self.raw is not None:
            return len(self.raw.values)
        return self.values.size if self.present is None else int(np.count_nonzero(self.present))
