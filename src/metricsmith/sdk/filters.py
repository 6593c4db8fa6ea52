"""Which metrics and label sets are wanted: rules with glob patterns, of which the last that fits decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase


class Rule:
    """A pattern for names of metrics, patterns for values of labels, and whether what fits is kept."""

    __slots__ = ("keep", "labels", "name")

    def __init__(self, name: str, labels: Mapping[str, str], keep: bool) -> None:
        self.name, self.labels, self.keep = name, dict(labels), keep

    def fits(self, names: Sequence[str], labels: Mapping[str, str]) -> bool:
        """Return whether it speaks of this label set of a metric of these names. A missing label is empty."""
        return any(fnmatchcase(name, self.name) for name in names) and all(
            fnmatchcase(labels.get(label, ""), pattern) for label, pattern in self.labels.items()
        )


def kept(rules: Sequence[Rule], names: Sequence[str], labels: Mapping[str, str]) -> bool:
    """Return what the last rule that fits says; what no rule speaks of is kept.

    >>> rules = [Rule("debug_*", {}, False), Rule("debug_errors", {}, True)]
    >>> [kept(rules, [name], {}) for name in ("debug_queue", "debug_errors", "orders")]
    [False, True, True]
    """
    for rule in reversed(rules):
        if rule.fits(names, labels):
            return rule.keep
    return True
