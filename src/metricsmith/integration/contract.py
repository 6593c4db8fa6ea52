"""Whether what a collection gives is what the declaration says; each finding says what to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from metricsmith.integration.declaration import OWN_LABELS, Metric
from metricsmith.integration.kinds import Kind
from metricsmith.integration.observing import Observation, Sample, shown
from metricsmith.integration.project import DECLARATION, Project
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.wording import nearest

_GIVE = {"gauge": "gauge(…) of metricsmith.collector", "counter": "counter(…) of metricsmith.collector"}
_GAUGE_LIKE = (MetricType.GAUGE, MetricType.INFO, MetricType.STATESET)


def undeclared(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a finding for each metric that is given and not declared, with the line to add."""
    declared = [metric.name for metric in project.declaration.metrics]
    found: dict[str, list[Sample]] = defaultdict(list)
    metadata: dict[str, Metadata] = {}
    for observation in seen:
        metadata |= observation.metadata
        for sample in observation.samples:
            if project.declaration.metric_of(sample.name) is None:
                found[family_of(sample.name, observation.metadata)].append(sample)
    for name, samples in sorted(found.items()):
        hint = nearest(name, declared)
        line = _line_to_add(name, samples, metadata.get(name, Metadata()))
        told = f"{name} is not declared{f' ({hint})' if hint else ''}"
        yield f"{told}; add to {DECLARATION}, under metrics: {line}"


def missing(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a finding for each declared metric that no collection gives."""
    given = _given(project, seen)
    for index, metric in enumerate(project.declaration.metrics):
        if not metric.optional and index not in given:
            where = project.line("metrics", index)
            yield f"{metric.name} is declared and not given ({where}; `optional: true` where that may be)"


def types(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a finding for each metric whose type or unit is another than declared."""
    told: dict[str, Metadata] = {}
    for observation in seen:
        told |= observation.metadata
    given = _given(project, seen)
    for index, metric in enumerate(project.declaration.metrics):
        known = _known(metric, told)
        if known is None or known.type is MetricType.UNKNOWN != metric.metric_type:
            if project.kind is Kind.PYTHON and index in given:
                yield f"{metric.name} has no type: give {_GIVE.get(metric.type, 'a metric family')}"
            continue
        where = project.line("metrics", index, "type")
        if not _same_type(metric.metric_type, known.type):
            yield f"{metric.name}: got type {known.type}, wanted {metric.type} ({where})"
        if known.unit and known.unit != metric.unit:
            wanted = metric.unit or "none"
            yield f"{metric.name}: got unit {known.unit}, wanted {wanted} ({project.line('metrics', index)})"


def values(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a finding for each value that its metric's type cannot have, and each counter that falls."""
    told: set[str] = set()
    before: dict[object, float] = {}
    for observation in seen:
        for sample in observation.samples:
            metric = project.declaration.metric_of(sample.name)
            if metric is None or metric.name in told:
                continue
            wrong = _wrong(metric, sample, before.get(sample.series))
            before[sample.series] = sample.value
            if wrong:
                told.add(metric.name)
                yield f"{shown(sample.series)}: {wrong}"


def labels(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a finding for each label that is not as declared, or has too many values."""
    told: set[tuple[str, str]] = set()
    for observation in seen:
        for sample in observation.samples:
            metric = project.declaration.metric_of(sample.name)
            for label, message in () if metric is None else _label_names(project, metric, sample):
                if (sample.name, label) not in told:
                    told.add((sample.name, label))
                    yield f"{shown(sample.series)}: {message}"
    yield from _many_values(project, seen)
    most = max((len(observation.series) for observation in seen), default=0)
    union = len(frozenset().union(*(observation.series for observation in seen)))
    limit = project.declaration.limits.max_series
    if max(most, union) > limit:
        yield f"got {max(most, union)} series, wanted at most {limit} (limits.max_series)"


def helps(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    """Yield a remark for each help text that is another than declared; only collectors in Python give one."""
    if project.kind is not Kind.PYTHON:
        return
    told: dict[str, Metadata] = {}
    for observation in seen:
        told |= observation.metadata
    for metric in project.declaration.metrics:
        known = told.get(metric.name)
        if known is not None and known.help and known.help != metric.help:
            yield f'{metric.name}: its help is "{known.help[:80]}", declared is "{metric.help[:80]}"'


def family_of(sample: str, metadata: Iterable[str]) -> str:
    """Return the metric that a sample belongs to by what is known of it."""
    known = set(metadata)
    for suffix in ("_bucket", "_sum", "_count", "_created"):
        base = sample.removesuffix(suffix)
        if sample not in known and base != sample and base in known:
            return base
    return sample


def _given(project: Project, seen: Sequence[Observation]) -> set[int | None]:
    """Return the places in the declaration of the metrics that have samples."""
    names = {sample.name for observation in seen for sample in observation.samples}
    return {project.declaration.place_of(name) for name in names}


def _known(metric: Metric, metadata: dict[str, Metadata]) -> Metadata | None:
    return metadata.get(metric.name) or metadata.get(metric.name.removesuffix("_total"))


def _same_type(declared: MetricType, given: MetricType) -> bool:
    if declared is MetricType.INFO:
        return given in _GAUGE_LIKE
    return declared is given


def _wrong(metric: Metric, sample: Sample, before: float | None) -> str:
    value = sample.value
    if metric.type == "counter" and not sample.name.endswith("_created"):
        if not value >= 0:
            return f"got {value:g}, wanted 0 or more: it is a counter"
        if before is not None and value < before:
            return f"got {value:g} after {before:g}: a counter does not fall (declare it a gauge)"
    if metric.type == "info" and value != 1:
        return f"got {value:g}, wanted 1: it is an info"
    return ""


def _label_names(project: Project, metric: Metric, sample: Sample) -> Iterator[tuple[str, str]]:
    index = project.declaration.place_of(sample.name) or 0
    own = OWN_LABELS.get(metric.metric_type)
    given = sample.labels.keys() - {own}
    for label in sorted(given - metric.labels.keys()):
        hint = nearest(label, sorted(metric.labels))
        shape = "to its labels" if metric.labels else f"to {metric.name}"
        entry = f"{label}: What it tells apart."
        line = entry if metric.labels else f"labels: {{{entry}}}"
        where = project.line("metrics", index)
        told = f"label {label} is not declared{f' ({hint})' if hint else ''}"
        yield label, f"{told}; add {shape} ({where}): {line}"
    for label, declared in metric.labels.items():
        if label not in given and not declared.optional:
            where = project.line("metrics", index, "labels", label)
            yield label, f"lacks the label {label} ({where}; `optional: true` where that may be)"


def _many_values(project: Project, seen: Sequence[Observation]) -> Iterator[str]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for observation in seen:
        for sample in observation.samples:
            metric = project.declaration.metric_of(sample.name)
            for label, value in sample.series[1] if metric is not None else ():
                found[metric.name if metric else "", label].add(value)
    for index, metric in enumerate(project.declaration.metrics):
        for label, declared in metric.labels.items():
            count = len(found[metric.name, label])
            if count > declared.max_values:
                where = project.line("metrics", index, "labels", label)
                yield (
                    f"{metric.name}: label {label} has {count} values, wanted at most {declared.max_values}"
                    f" ({where}, max_values)"
                )


def _line_to_add(name: str, samples: Sequence[Sample], known: Metadata) -> str:
    declared_type = known.type.value if known.type in MetricType else "unknown"
    if declared_type in ("stateset", "gaugehistogram"):
        declared_type = "gauge"
    own = OWN_LABELS.get(known.type)
    names = sorted({label for sample in samples for label in sample.labels} - {own})
    help_text = known.help.replace('"', "'").replace("\n", " ").replace("\\", "/") or "What it is."
    unit = f", unit: {known.unit}" if known.unit else ""
    given = f", labels: {{{', '.join(f'{label}: ' + chr(34) * 2 for label in names)}}}" if names else ""
    return f'- {{name: {name}, type: {declared_type}{unit}, help: "{help_text}"{given}}}'
