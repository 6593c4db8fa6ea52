"""What a registry tells at one moment: families of samples. Exporters take these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class Exemplar(NamedTuple):
    """One event behind a number: labels such as `trace_id`, its value, wall time in seconds."""

    labels: Mapping[str, str]
    value: float
    timestamp: float | None = None


class Sample(NamedTuple):
    """One line of exposition. `name` is the full name, such as `shop_orders_total`."""

    name: str
    labels: Mapping[str, str]
    value: float
    exemplar: Exemplar | None = None
    timestamp: float | None = None


class Reading(NamedTuple):
    """One metric family. `name` is that of OpenMetrics: a counter's has no `_total`, an info's no `_info`.

    `type` is one of TYPES.
    """

    name: str
    type: str
    documentation: str
    unit: str
    samples: Sequence[Sample]


TYPES = frozenset(
    ("counter", "gauge", "histogram", "summary", "info", "stateset", "gaugehistogram", "unknown")
)


def checked(reading: Reading) -> Reading:
    """Return a reading that everything behind can take: label values and help are text, values are numbers.

    Raises:
        AttributeError, TypeError, ValueError: it is none.
    """
    if reading.type not in TYPES:
        raise ValueError(f"{reading.name}: got the type {reading.type!r}, wanted one of {sorted(TYPES)}")
    samples = [
        sample
        if type(sample.value) is float and all(type(text) is str for text in sample.labels.values())
        else sample._replace(value=float(sample.value), labels={k: str(v) for k, v in sample.labels.items()})
        for sample in reading.samples
    ]
    return reading._replace(
        documentation=str(reading.documentation), unit=reading.unit or "", samples=samples
    )


def merged(readings: Iterable[Reading]) -> Iterator[Reading]:
    """Yield each family once, with the samples of all of its name; of the same series the first.

    Collectors that were registered twice, for two databases, tell parts of one family. The type is that of
    the first.
    """
    by_name: dict[str, list[Reading]] = {}
    for reading in readings:
        by_name.setdefault(reading.name, []).append(reading)
    for first, *others in by_name.values():
        if not others:
            yield first
            continue
        samples: dict[object, Sample] = {}
        for reading in (first, *others):
            for sample in reading.samples:
                samples.setdefault((sample.name, frozenset(sample.labels.items())), sample)
        yield first._replace(samples=list(samples.values()))
