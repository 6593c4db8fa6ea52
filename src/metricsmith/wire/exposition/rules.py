"""The rules of OpenMetrics 1.0 on families, groups, names and values.

What depends on names, labels and order is checked once per structure. What depends on values becomes
arrays of sample indices, so that the next scrape of the same structure is checked without a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.labels import PAIR, VALUE
from metricsmith.model.metadata import MetricType
from metricsmith.wire.exposition.comments import Comment

SUFFIXES: dict[MetricType, tuple[bytes, ...]] = {
    MetricType.COUNTER: (b"_total", b"_created"),
    MetricType.SUMMARY: (b"", b"_count", b"_sum", b"_created"),
    MetricType.HISTOGRAM: (b"_count", b"_sum", b"_bucket", b"_created"),
    MetricType.GAUGEHISTOGRAM: (b"_gcount", b"_gsum", b"_bucket"),
    MetricType.INFO: (b"_info",),
}
_HISTOGRAMS = (MetricType.HISTOGRAM, MetricType.GAUGEHISTOGRAM)
_NOT_NAN = frozenset({b"_total", b"_sum", b"_count", b"_bucket", b"_gcount", b"_gsum"})
_NOT_NEGATIVE = frozenset({b"_total", b"_sum", b"_count", b"_bucket", b"_gcount"})
_WHOLE = frozenset({b"_bucket", b"_count", b"_gcount"})
_WITH_EXEMPLAR = frozenset({b"_bucket", b"_total"})


class Broken(Exception):
    """A rule is broken at a sample (by index) or, when `line` is set, at a line."""

    def __init__(self, message: str, sample: int = -1, line: int = 0) -> None:
        self.message = message
        self.sample = sample
        self.line = line
        super().__init__(message)


@dataclass(slots=True)
class ValueRules:
    """Indices of the samples that each rule on values is about."""

    not_nan: list[int] = field(default_factory=list)
    not_negative: list[int] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    zero_or_one: list[int] = field(default_factory=list)
    one: list[int] = field(default_factory=list)
    rising: list[tuple[int, int]] = field(default_factory=list)
    equal: list[tuple[int, int]] = field(default_factory=list)
    later: list[int] = field(default_factory=list)
    with_exemplar: list[int] = field(default_factory=list)

    def freeze(self) -> FrozenRules:
        """Return the same as arrays."""
        return FrozenRules(
            not_nan=_indices(self.not_nan),
            not_negative=_indices(self.not_negative),
            whole=_indices(self.whole),
            zero_or_one=_indices(self.zero_or_one),
            one=_indices(self.one),
            later=_indices(self.later),
            rising=_indices(self.rising).reshape(-1, 2),
            equal=_indices(self.equal).reshape(-1, 2),
            with_exemplar=_indices(self.with_exemplar),
        )


def _indices(samples: Sequence[int] | Sequence[tuple[int, int]]) -> I64:
    return np.array(samples, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class FrozenRules:
    """`ValueRules` as arrays of indices into the samples."""

    not_nan: I64
    not_negative: I64
    whole: I64
    zero_or_one: I64
    one: I64
    later: I64
    rising: I64
    equal: I64
    with_exemplar: I64

    def check(self, values: F64, seconds: F64) -> None:
        """Hold a scrape's values against the rules.

        Shapes:
            values: (P,)
            seconds: (P,) timestamps, or (0,) when there are none.
        Raises:
            Broken: the first rule that is.
        """
        _refuse(self.not_nan, np.isnan(values[self.not_nan]), "got NaN, wanted a count or sum")
        _refuse(self.not_negative, values[self.not_negative] < 0, "got a negative count or sum")
        whole = values[self.whole]
        _refuse(self.whole, ~np.isfinite(whole) | (np.floor(whole) != whole), "wanted a whole number")
        flags = values[self.zero_or_one]
        _refuse(self.zero_or_one, (flags != 0) & (flags != 1), "wanted 0 or 1 in a stateset")
        _refuse(self.one, values[self.one] != 1, "wanted 1 in an info")
        at, before = self.rising[:, 0], self.rising[:, 1]
        _refuse(at, values[at] < values[before], "got a bucket smaller than the one before it")
        count, bucket = self.equal[:, 0], self.equal[:, 1]
        _refuse(count, values[count] != values[bucket], "got a count that differs from its +Inf bucket")
        if len(seconds):
            later = self.later
            _refuse(later, seconds[later] < seconds[later - 1], "got a timestamp before the one above it")


def _refuse(samples: I64, broken: Bool, message: str) -> None:
    if broken.any():
        raise Broken(message, sample=int(samples[int(np.argmax(broken))]))


def check_structure(
    comments: Sequence[Comment], lines: Sequence[int], keys: Sequence[bytes], timed: Bool, moved: Bool
) -> FrozenRules:
    """Return the rules on values of a document whose structure is right.

    Shapes:
        lines, keys: P line numbers and canonical keys.
        timed: (P,) whether a sample has a timestamp.
        moved: (P,) whether its timestamp differs from the one before it.
    Raises:
        Broken: a rule is broken.
    """
    walk = StructureWalk()
    pending = iter([*comments, None])
    comment = next(pending)
    has_time, has_moved = timed.tolist(), moved.tolist()
    for index, (line, key) in enumerate(zip(lines, keys, strict=True)):
        while comment is not None and comment.line < line:
            walk.comment(comment)
            comment = next(pending)
        walk.sample(index, key, has_time[index], has_moved[index], line)
    while comment is not None:
        walk.comment(comment)
        comment = next(pending)
    walk.finish()
    return walk.rules.freeze()


@dataclass(slots=True)
class _Family:
    name: bytes
    line: int
    type: MetricType | None = None
    unit: str | None = None
    has_help: bool = False
    allowed: frozenset[bytes] = frozenset()
    samples: int = 0
    group: bytes | None = None
    group_timed: bool = False
    groups: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _Run:
    """Samples of one histogram at one time."""

    last: int
    bound: float | None = None
    bucket: int = -1
    count: int = -1
    sum: int = -1
    gsum: int = -1
    below_zero: bool = False


class StructureWalk:
    """Goes through a document in order, as one state machine over families."""

    def __init__(self) -> None:
        self.rules = ValueRules()
        self._names: set[bytes] = set()
        self._family: _Family | None = None
        self._run: _Run | None = None

    def comment(self, comment: Comment) -> None:
        """Take a line of metadata."""
        family = self._family
        if family is None or comment.family != family.name:
            family = self._start(_Family(comment.family, comment.line, allowed=frozenset([comment.family])))
        elif family.samples:
            raise Broken("got metadata after samples of the family", line=comment.line)
        if comment.kind == "HELP":
            self._once(family.has_help, comment)
            family.has_help = True
        elif comment.kind == "UNIT":
            self._once(family.unit is not None, comment)
            family.unit = comment.text
        else:
            self._once(family.type is not None, comment)
            family.type = comment.type
            family.allowed = frozenset(family.name + s for s in SUFFIXES.get(comment.type, (b"",)))

    def sample(self, index: int, key: bytes, timed: bool, moved: bool, line: int) -> None:
        """Take a sample."""
        name, _, rest = key.partition(PAIR)
        family = self._family
        if family is None or name not in family.allowed:
            family = self._start(_Family(name, line, MetricType.UNKNOWN, allowed=frozenset([name])))
        suffix = name[len(family.name) :]
        family.samples += 1
        group = self._group(family, index, suffix, rest)
        if group == family.group:
            if timed != family.group_timed:
                raise Broken("got samples with and without timestamp in one group", index)
            if timed and family.type is not MetricType.INFO:
                self.rules.later.append(index)
        else:
            if group in family.groups:
                raise Broken("got a group of samples in two places, wanted it together", index)
            family.groups.add(group)
        if family.type in _HISTOGRAMS:
            self._histogram(index, suffix, rest, group != family.group or moved)
        family.group, family.group_timed = group, timed
        self._note(family, index, suffix)

    def finish(self) -> None:
        """Close the last family."""
        family = self._family
        self._finish_run()
        if family is None:
            return
        for suffix in {*SUFFIXES.get(family.type or MetricType.UNKNOWN, ()), b""}:
            if family.name + suffix in self._names:
                raise Broken(
                    f"got the name {(family.name + suffix).decode()} a second time", line=family.line
                )
            self._names.add(family.name + suffix)
        if family.unit:
            if not family.name.endswith(b"_" + family.unit.encode()):
                raise Broken(f"got the unit {family.unit}, which does not end the name", line=family.line)
            if family.type in (MetricType.INFO, MetricType.STATESET):
                raise Broken(f"got a unit, which {family.type} must not have", line=family.line)

    def _start(self, family: _Family) -> _Family:
        self.finish()
        self._family = family
        return family

    def _once(self, present: bool, comment: Comment) -> None:
        if present:
            raise Broken(f"got a second {comment.kind} of the family", line=comment.line)

    def _group(self, family: _Family, index: int, suffix: bytes, rest: bytes) -> bytes:
        """The labels that tell metrics of a family apart."""
        match family.type:
            case MetricType.INFO:
                return b""
            case MetricType.SUMMARY if suffix == b"":
                quantile, group = take_label(rest, b"quantile")
                if quantile is None or not 0 <= _number(quantile, index) <= 1:
                    raise Broken("wanted a quantile label from 0 to 1", index)
                return group
            case MetricType.STATESET:
                state, group = take_label(rest, family.name)
                if state is None:
                    raise Broken("wanted a label named as the stateset", index)
                return group
            case MetricType.HISTOGRAM | MetricType.GAUGEHISTOGRAM if suffix == b"_bucket":
                return take_label(rest, b"le")[1]
        return rest

    def _note(self, family: _Family, index: int, suffix: bytes) -> None:
        rules = self.rules
        if suffix in _NOT_NAN:
            rules.not_nan.append(index)
        if suffix in _NOT_NEGATIVE or (family.type is MetricType.SUMMARY and suffix == b""):
            rules.not_negative.append(index)
        if suffix in _WHOLE:
            rules.whole.append(index)
        if suffix in _WITH_EXEMPLAR:
            rules.with_exemplar.append(index)
        if family.type is MetricType.STATESET:
            rules.zero_or_one.append(index)
        elif family.type is MetricType.INFO:
            rules.one.append(index)

    def _histogram(self, index: int, suffix: bytes, rest: bytes, starts: bool) -> None:
        if starts:
            self._finish_run()
        run = self._run
        if run is None:
            run = self._run = _Run(index)
        run.last = index
        if suffix == b"_bucket":
            le, _ = take_label(rest, b"le")
            bound = _number(le or b"", index)
            if run.bound is not None and bound <= run.bound:
                raise Broken("got a bucket out of order", index)
            if run.bucket >= 0:
                self.rules.rising.append((index, run.bucket))
            run.bound, run.bucket = bound, index
            run.below_zero |= bound < 0
        elif suffix in (b"_count", b"_gcount"):
            run.count = index
        elif suffix == b"_sum":
            run.sum = index
        elif suffix == b"_gsum":
            run.gsum = index

    def _finish_run(self) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        if run.bound != float("inf"):
            raise Broken('wanted a bucket le="+Inf"', run.last)
        if (run.sum >= 0 or run.gsum >= 0) != (run.count >= 0):
            raise Broken("wanted count and sum of a histogram together", run.last)
        if run.below_zero and run.sum >= 0:
            raise Broken("got a sum beside a bucket below zero", run.sum)
        if run.count >= 0:
            self.rules.equal.append((run.count, run.bucket))
        if run.gsum >= 0 and not run.below_zero:
            self.rules.not_negative.append(run.gsum)


def take_label(rest: bytes, label: bytes) -> tuple[bytes | None, bytes]:
    """Return the value of a label in the pairs of a key, and the pairs without it."""
    head = label + VALUE
    if rest.startswith(head):
        value, _, others = rest[len(head) :].partition(PAIR)
        return value, others
    before, found, after = rest.partition(PAIR + head)
    if not found:
        return None, rest
    value, mark, others = after.partition(PAIR)
    return value, before + mark + others


def _number(text: bytes, index: int) -> float:
    """The bound of a bucket or quantile; infinity is written +Inf only."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value or b"_" in text or (value == float("inf") and text != b"+Inf"):
        raise Broken("wanted a number in le or quantile, infinity as +Inf", index)
    return value
