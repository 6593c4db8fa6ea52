"""Metric names that relabelling changed, so that what is known of a family follows its samples."""

from __future__ import annotations

from collections.abc import Mapping

from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata


class Renames:
    """The changes of name seen so far; they are few, as rules change names in few ways."""

    def __init__(self) -> None:
        self._changes: set[tuple[str, str]] = set()

    def note(self, before: str, after: str) -> None:
        """Remember what a metric is called now."""
        if after and before != after:
            self._changes.add((before, after))

    def follow(self, metadata: Mapping[str, Metadata]) -> Mapping[str, Metadata]:
        """Return metadata that has the new families too; what is said of them already stays.

        >>> from metricsmith.model.metadata import MetricType
        >>> renames = Renames()
        >>> renames.note("old_seconds_bucket", "new_seconds_bucket")
        >>> list(renames.follow({"old_seconds": Metadata(MetricType.HISTOGRAM)}))
        ['new_seconds', 'old_seconds']
        """
        found = {}
        for before, after in sorted(self._changes):
            for suffix in ("", *SAMPLE_SUFFIXES):
                family = before.removesuffix(suffix)
                if before.endswith(suffix) and after.endswith(suffix) and family in metadata:
                    found[after.removesuffix(suffix)] = metadata[family]
        return {**found, **metadata} if found else metadata
