"""Metadata of a document's families, and what is odd about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from metricsmith.model.labels import PAIR, VALUE, decode_labels, format_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.wire.exposition.comments import Comment

MAX_WARNINGS = 20

STRICT_SUFFIX = {MetricType.COUNTER: "_total", MetricType.INFO: "_info"}
"""What OpenMetrics leaves out of a family's name, while its samples have it."""


def collect_metadata(comments: Iterable[Comment], strict: bool) -> dict[str, Metadata]:
    """Return what comments say of each family, under the name that the text format uses.

    OpenMetrics names a counter without `_total`; here it has it, as its samples do. Of two lines
    for one family the later counts.
    """
    said: dict[str, dict[str, Comment]] = {}
    for comment in comments:
        said.setdefault(comment.family.decode(), {})[comment.kind] = comment
    metadata = {}
    for family, kinds in said.items():
        type_ = kinds["TYPE"].type if "TYPE" in kinds else MetricType.UNKNOWN
        name = family + STRICT_SUFFIX.get(type_, "") if strict else family
        texts = {kind: comment.text for kind, comment in kinds.items()}
        metadata[name] = Metadata(type_, texts.get("UNIT", ""), texts.get("HELP", ""))
    return metadata


def incomplete_histograms(keys: Sequence[bytes], metadata: Mapping[str, Metadata]) -> tuple[str, ...]:
    """Return a warning for each histogram without a `+Inf` bucket, MAX_WARNINGS at most."""
    buckets = {
        f"{name}_bucket".encode() for name, known in metadata.items() if known.type is MetricType.HISTOGRAM
    }
    if not buckets:
        return ()
    complete: dict[bytes, bool] = {}
    mark = PAIR + b"le" + VALUE
    for key in keys:
        name, _, _ = key.partition(PAIR)
        if name in buckets:
            before, found, after = key.partition(mark)
            bound, more, others = after.partition(PAIR)
            group = before + more + others
            complete[group] = complete.get(group, False) or (bound == b"+Inf" and bool(found))
    missing = [group for group, done in complete.items() if not done]
    return tuple(
        f'{format_labels(decode_labels(group))} has no bucket le="+Inf"' for group in missing[:MAX_WARNINGS]
    )
