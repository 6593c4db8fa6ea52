"""What a collector may give and how long it may take. Imports nothing but Python: packages run with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one collector: its own words over the source's, its settings over both.

    `labels` are those that its series get where a sample has no label of that name.
    """

    interval_ms: int
    timeout_ms: int
    max_samples: int
    max_series: int
    max_labels: int
    max_label_length: int
    labels: Mapping[str, str]
