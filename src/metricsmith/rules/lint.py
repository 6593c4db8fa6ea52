"""What works, but perhaps not as its author thinks: rules written twice, rules that read themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from metricsmith.errors import Problem
from metricsmith.rules.model import AlertingRule, Engine, Group, RecordingRule, Rule


def remarks(groups: Sequence[Group], engine: Engine) -> Iterator[Problem]:
    """Yield what the author of groups should know, group by group."""
    for group in groups:
        yield from _duplicates(group)
        yield from _recursive(group, engine)


def conventions(groups: Sequence[Group]) -> Iterator[Problem]:
    """Yield recorded names that are not of the form level:metric:operations.

    Source:
        Prometheus' best practices for recording rules; a matter of taste.
    """
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, RecordingRule) and ":" not in rule.name:
                message = f"{rule.name}: recorded names have colons, so that no exporter has the same"
                yield _note(rule, message, "such as job:requests:rate5m")


def _duplicates(group: Group) -> Iterator[Problem]:
    first: dict[tuple[str, str, tuple[tuple[str, str], ...]], Rule] = {}
    for rule in group.rules:
        key = (type(rule).__name__, rule.name, tuple(sorted(rule.labels.items())))
        other = first.setdefault(key, rule)
        if other is not rule:
            what = "the series" if isinstance(rule, RecordingRule) else "the alerts"
            message = f"{rule.name}: a rule with this name and these labels is on line {other.origin.line}"
            yield _note(rule, message, f"if both give {what} of one label set, the later one fails")


def _recursive(group: Group, engine: Engine) -> Iterator[Problem]:
    recording = [rule for rule in group.rules if isinstance(rule, RecordingRule)]
    names = {rule.name for rule in recording}
    reads: dict[str, set[str]] = {name: set() for name in names}
    for rule in recording:
        reads[rule.name] |= engine.reads(rule.expr) & names
    for rule in recording:
        for name in sorted(engine.reads(rule.expr) & names):
            if name == rule.name:
                message = f"{rule.name}: reads what it records, so it sees its own last value"
                yield _note(rule, message, "a recursion never forgets: record under another name")
            elif rule.name in _reachable(name, reads):
                message = f"{rule.name}: reads {name}, which is made from {rule.name}"
                yield _note(rule, message, "a recursion never forgets: record under another name")


def _reachable(start: str, reads: Mapping[str, AbstractSet[str]]) -> set[str]:
    seen, ahead = {start}, [start]
    while ahead:
        new = reads[ahead.pop()] - seen
        seen |= new
        ahead.extend(new)
    return seen


def _note(rule: RecordingRule | AlertingRule, message: str, hint: str) -> Problem:
    return Problem("", message, rule.origin.file, rule.origin.line, hint)
