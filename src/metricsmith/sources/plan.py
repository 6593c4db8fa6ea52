"""What one scrape's series become: decided once per structure of the exposition, then gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metricsmith.errors import ScrapeError
from metricsmith.model.arrays import I64, U32
from metricsmith.model.batch import Layout
from metricsmith.model.labels import (
    NAME_LABEL,
    PAIR,
    VALUE,
    decode_labels,
    encode_labels,
    encode_pairs,
    format_labels,
    metric_name,
    split_key,
)
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.relabel import relabel
from metricsmith.model.renames import Renames
from metricsmith.model.series import SeriesTable
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.wire.exposition import Structure

REPORT: Mapping[str, Metadata] = {
    "up": Metadata(MetricType.GAUGE, "", "1 when the last scrape of the target succeeded, else 0."),
    "scrape_duration_seconds": Metadata(MetricType.GAUGE, "seconds", "Duration of the scrape."),
    "scrape_samples_scraped": Metadata(MetricType.GAUGE, "", "Samples that the target exposed."),
    "scrape_samples_post_metric_relabeling": Metadata(
        MetricType.GAUGE, "", "Samples left after metric relabelling."
    ),
    "scrape_series_added": Metadata(
        MetricType.GAUGE, "", "Approximate number of series that are new in this scrape."
    ),
}
"""The series that report on a target, in the order of their values."""

DROPPED = -1
_EXPORTED = "exported_"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a parsed exposition of one structure becomes a batch.

    `layout` holds the kept samples and then the report series.

    Shapes:
        gather: (K,) indices of kept samples in the parsed values, None when
            all are kept in order.
        ids: (K,) the kept series.
    """

    layout: Layout
    gather: I64 | None
    ids: U32
    scraped: int
    post_relabel: int

    @property
    def duplicates(self) -> int:
        """Samples left out because a later line names the same series."""
        return self.post_relabel - len(self.ids)


class Planner:
    """Makes plans for one target: target labels, metric relabelling, label limits, interning.

    Series that the previous structure had too are not worked on again.
    """

    def __init__(self, config: ScrapeConfig, series: SeriesTable, labels: bytes, stream: str) -> None:
        self._config = config
        self._series = series
        self._labels = decode_labels(labels)
        _, self._pairs = split_key(labels)
        self.honoured = tuple(label for label, _ in self._pairs) if config.honor_labels else ()
        self._stream = stream
        self._report = series.intern_many(encode_pairs(name.encode(), self._pairs) for name in REPORT)
        self._limited = bool(
            config.label_limit or config.label_name_length_limit or config.label_value_length_limit
        )
        self._renames = Renames()
        self._keys: Sequence[bytes] = ()
        self._resolved: I64 = np.empty(0, dtype=np.int64)
        self.report = Layout(self._report, stream, REPORT)

    def plan(self, structure: Structure) -> Plan:
        """Return the plan of a structure.

        Raises:
            ScrapeError: a series is over a label limit or has no name left.
        """
        keys = self._exposed(structure)
        known = dict(zip(self._keys, self._resolved.tolist(), strict=True))
        resolve = self._resolve
        resolved = np.array(
            [resolve(key) if (found := known.get(key)) is None else found for key in keys], dtype=np.int64
        )
        self._keys, self._resolved = keys, resolved
        kept = np.flatnonzero(resolved != DROPPED)
        gather = self._without_duplicates(kept, resolved[kept])
        ids = resolved[gather].astype(np.uint32)
        metadata = {**self._renames.follow(structure.metadata), **REPORT}
        layout = Layout(np.concatenate((ids, self._report)), self._stream, metadata)
        everything = len(gather) == len(keys)
        return Plan(layout, None if everything else gather, layout.ids[: len(ids)], len(keys), len(kept))

    def without_samples(self, ended: U32) -> Layout:
        """Return the layout of the series `ended` and the report series."""
        return Layout(np.concatenate((ended, self._report)), self._stream, REPORT)

    def with_ended(self, plan: Plan, ended: U32) -> Layout:
        """Return the layout of a plan followed by the series `ended`."""
        return Layout(np.concatenate((plan.layout.ids, ended)), self._stream, plan.layout.metadata)

    def _exposed(self, structure: Structure) -> Sequence[bytes]:
        """The keys, with those empty labels that keep a target's label away."""
        if not structure.empty:
            return structure.keys
        keys = list(structure.keys)
        for label, rows in structure.empty.items():
            for row in rows.tolist():
                keys[row] += PAIR + label + VALUE
        return keys

    def _without_duplicates(self, kept: I64, ids: I64) -> I64:
        # The last of equal series stays, and a report series is never taken from the exposition.
        _, from_end = np.unique(ids[::-1], return_index=True)
        last = np.sort(len(ids) - 1 - from_end)
        last = last[~np.isin(ids[last], self._report)]
        return kept[last]

    def _resolve(self, key: bytes) -> int:
        if self._config.metric_relabel_configs:
            labels = relabel(
                decode_labels(self._with_target_labels(key)), self._config.metric_relabel_configs
            )
            if labels is None:
                return DROPPED
            self._renames.note(metric_name(key), labels.get(NAME_LABEL, ""))
            key = encode_labels(labels)
        else:
            key = self._with_target_labels(key)
        if self._limited:
            self._check_limits(key)
        if not key or key[0] == 0xFF:
            raise ScrapeError("relabel", f"{format_labels(decode_labels(key))} has no metric name left")
        return self._series.intern(key)

    def _with_target_labels(self, key: bytes) -> bytes:
        name, pairs = split_key(key)
        scraped = {label for label, _ in pairs}
        clash = [label for label, _ in self._pairs if label in scraped]
        if not clash:
            return encode_pairs(name, pairs + self._pairs)
        if self._config.honor_labels:
            given = [pair for pair in pairs if pair[1]]
            return encode_pairs(name, given + [pair for pair in self._pairs if pair[0] not in scraped])
        return encode_pairs(name, _exported(pairs, self._pairs))

    def _check_limits(self, key: bytes) -> None:
        config = self._config
        _, pairs = split_key(key)
        if config.label_limit and len(pairs) + 1 > config.label_limit:
            raise _over("labels", len(pairs) + 1, config.label_limit, key)
        for name, value in [(b"__name__", key.partition(b"\xff")[0]), *pairs]:
            if config.label_name_length_limit and len(name) > config.label_name_length_limit:
                raise _over("bytes of a label name", len(name), config.label_name_length_limit, key)
            if config.label_value_length_limit and len(value) > config.label_value_length_limit:
                raise _over("bytes of a label value", len(value), config.label_value_length_limit, key)


def _exported(
    pairs: list[tuple[bytes, bytes]], target_pairs: list[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    # Shortest name first, and again `exported_` while the new name is taken, as Prometheus does.
    merged = dict(pairs) | dict(target_pairs)
    targets = dict(target_pairs)
    for label, value in sorted((p for p in pairs if p[0] in targets), key=lambda p: len(p[0])):
        name = _EXPORTED.encode() + label
        while name in merged:
            name = _EXPORTED.encode() + name
        merged[name] = value
    return list(merged.items())


def _over(what: str, got: int, limit: int, key: bytes) -> ScrapeError:
    shown = format_labels(decode_labels(key))[:200]
    return ScrapeError("label_limit", f"got {got} {what}, wanted at most {limit}: {shown}")
