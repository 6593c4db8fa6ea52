"""What is known of a metric besides its samples: type, unit, help."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MetricType(StrEnum):
    """Metric types of Prometheus and OpenMetrics; `untyped` is read as `unknown`."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    GAUGEHISTOGRAM = "gaugehistogram"
    SUMMARY = "summary"
    INFO = "info"
    STATESET = "stateset"
    UNKNOWN = "unknown"


SAMPLE_SUFFIXES = ("_bucket", "_sum", "_count", "_created", "_total", "_info", "_gsum", "_gcount")
"""What the name of a sample can have besides its family's."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """Type, unit and help of a metric family; the family's name is the key it is stored under.

    The name is the family's as the Prometheus text format has it: a counter's
    ends in `_total` when its samples do, a histogram's has no suffix.
    """

    type: MetricType = MetricType.UNKNOWN
    unit: str = ""
    help: str = ""
