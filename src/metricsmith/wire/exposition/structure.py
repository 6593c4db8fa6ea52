"""What the scrapes of an unchanged target have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metricsmith.model.metadata import Metadata
from metricsmith.wire.exposition.families import incomplete_histograms


@dataclass(frozen=True, eq=False, weakref_slot=True, slots=True)
class Structure:
    """Series and metadata of a document; while these are unchanged, it is one object.

    Keys are canonical (`model.labels`), in document order. A document may repeat a series.
    """

    keys: tuple[bytes, ...]
    metadata: Mapping[str, Metadata]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd, but no reason to fail, for people; looked for at each call."""
        return incomplete_histograms(self.keys, self.metadata)
