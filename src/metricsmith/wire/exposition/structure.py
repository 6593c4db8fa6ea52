"""What the scrapes of an unchanged target have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.metadata import Metadata
from metricsmith.wire.exposition.families import incomplete_histograms


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Structure:
    """Series and metadata of a document; while these are unchanged, it is one object.

    Keys are canonical (`model.labels`), in document order. A document may repeat a series. Keys
    leave empty labels out; `empty` tells of those that the parser was asked for.

    Shapes:
        empty: of each label name, (R,) the rows whose text gives it the value "".
    """

    keys: tuple[bytes, ...]
    metadata: Mapping[str, Metadata]
    empty: Mapping[bytes, I64] = field(default_factory=dict)

    def is_like(
        self, keys: Sequence[bytes], metadata: Mapping[str, Metadata], empty: Mapping[bytes, I64]
    ) -> bool:
        """Return whether a document with these has this structure."""
        return (
            self.keys == keys
            and self.metadata == metadata
            and self.empty.keys() == empty.keys()
            and all(np.array_equal(rows, empty[name]) for name, rows in self.empty.items())
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, but no reason to fail, for people; looked for at each call."""
        return incomplete_histograms(self.keys, self.metadata)
