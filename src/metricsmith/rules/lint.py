"""What works, but perhaps not as its author thinks: rules written twice, rules that read themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

from metricsmith.errors import Problem
from metricsmith.rules.bands import RECURSIVE
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
    told: set[str] = set()
    for group in groups:
        for rule in group.rules:
            if isinstance(rule, RecordingRule) and ":" not in rule.name and rule.name not in told:
                told.add(rule.name)
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
    reads: dict[str, set[str]] = {rule.name: set() for rule in recording if not rule.name.endswith(RECURSIVE)}
    recording = [rule for rule in recording if rule.name in reads]
    for rule in recording:
        reads[rule.name] |= engine.reads(rule.expr) & reads.keys()
    circles = _circles(reads)
    hint = "a recursion never forgets: record under another name"
    for rule in recording:
        for name in sorted(engine.reads(rule.expr) & reads.keys()):
            if name == rule.name:
                yield _note(rule, f"{rule.name}: reads what it records, so it sees its own last value", hint)
            elif circles[name] == circles[rule.name]:
                yield _note(rule, f"{rule.name}: reads {name}, which is made from {rule.name}", hint)


def _circles(reads: Mapping[str, AbstractSet[str]]) -> dict[str, str]:
    """Return a common name for the names that are made from one another; alone, its own."""
    read_by: dict[str, list[str]] = {name: [] for name in reads}
    for name, below in reads.items():
        for other in below:
            read_by[other].append(name)
    circle: dict[str, str] = {}
    for name in reversed(_depth_first(reads)):
        ahead = [name]
        while ahead:
            other = ahead.pop()
            if other not in circle:
                circle[other] = name
                ahead += read_by[other]
    return circle


def _depth_first(reads: Mapping[str, AbstractSet[str]]) -> list[str]:
    """Return the names in the order in which a depth-first walk leaves them."""
    done: list[str] = []
    seen: set[str] = set()
    for start in reads:
        stack = [(start, iter(sorted(reads[start])))] if start not in seen else []
        seen.add(start)
        while stack:
            name, below = stack[-1]
            new = next((other for other in below if other not in seen), None)
            if new is None:
                done.append(name)
                stack.pop()
            else:
                seen.add(new)
                stack.append((new, iter(sorted(reads[new]))))
    return done


def _note(rule: RecordingRule | AlertingRule, message: str, hint: str) -> Problem:
    return Problem("", message, rule.origin.file, rule.origin.line, hint)
