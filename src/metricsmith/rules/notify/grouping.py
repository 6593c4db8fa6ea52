"""Which alerts are told together: those of one evaluation with equal values of some labels."""

from __future__ import annotations

from collections.abc import Sequence

from metricsmith.rules.model import Notification


def grouped(notifications: Sequence[Notification], by: Sequence[str]) -> list[list[Notification]]:
    """Return groups of at most MAX_GROUP alerts, in order."""
    groups: dict[tuple[str, ...], list[Notification]] = {}
    for told in notifications:
        groups.setdefault(tuple(told.labels.get(name, "") for name in by), []).append(told)
    return [
        group[first : first + MAX_GROUP]
        for group in groups.values()
        for first in range(0, len(group), MAX_GROUP)
    ]


MAX_GROUP = 100
