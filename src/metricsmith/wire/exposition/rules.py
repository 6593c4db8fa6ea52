"""The rules of OpenMetrics 1.0 on families, groups, names and values.

What depends on names, labels and order is checked once per structure, here. What depends on values becomes
one byte of flags per sample, so that the next scrape of the same structure is checked without a loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from metricsmith.model.arrays import Bool
from metricsmith.model.labels import PAIR, VALUE
from metricsmith.model.metadata import MetricType
from metricsmith.wire.exposition.comments import Comment
from metricsmith.wire.exposition.value_rules import Broken, Flag, ValueRules

SUFFIXES: dict[MetricType, tuple[bytes, ...]] = {
    MetricType.COUNTER: (b"_total", b"_created"),
    MetricType.SUMMARY: (b"", b"_count", b"_sum", b"_created"),
    MetricType.HISTOGRAM: (b"_count", b"_sum", b"_bucket", b"_created"),
    MetricType.GAUGEHISTOGRAM: (b"_gcount", b"_gsum", b"_bucket"),
    MetricType.INFO: (b"_info",),
}
_HISTOGRAMS = (MetricType.HISTOGRAM, MetricType.GAUGEHISTOGRAM)
_ONE_PER_GROUP = (None, MetricType.UNKNOWN, MetricType.GAUGE, MetricType.COUNTER)
_COUNT = Flag.NOT_NAN | Flag.NOT_NEGATIVE | Flag.WHOLE
_FLAGS = {
    b"_total": Flag.NOT_NAN | Flag.NOT_NEGATIVE | Flag.EXEMPLAR,
    b"_sum": Flag.NOT_NAN | Flag.NOT_NEGATIVE,
    b"_count": _COUNT,
    b"_bucket": _COUNT | Flag.EXEMPLAR | Flag.BUCKET,
    b"_gcount": _COUNT,
    b"_gsum": Flag.NOT_NAN,
}


class KnownRun(NamedTuple):
    """One histogram that was found right: its samples, and what follows from them."""

    family: bytes
    type: MetricType | None
    keys: Sequence[bytes]
    group: bytes
    flags: bytes
    equal: tuple[int, int] | None  # relative to the first sample


Runs = Mapping[bytes, KnownRun]
"""Known runs without timestamps, by their first key."""


def check_structure(
    comments: Sequence[Comment],
    lines: Sequence[int],
    keys: Sequence[bytes],
    timed: Bool,
    moved: Bool,
    known: Runs,
) -> tuple[ValueRules, Runs]:
    """Return the rules on values of a document whose structure is right, and its histograms.

    Shapes:
        lines, keys: P line numbers and canonical keys.
        timed: (P,) whether a sample has a timestamp.
        moved: (P,) whether its timestamp differs from the one before it.
    Raises:
        Broken: a rule is broken.
    """
    walk = _Walk(keys, lines, known)
    times = (timed.tolist(), moved.tolist()) if timed.any() else None
    start = 0
    for comment in comments:
        stop = bisect_left(lines, comment.line, start)
        walk.samples(start, stop, times)
        walk.comment(comment)
        start = stop
    walk.samples(start, len(keys), times)
    walk.finish(len(keys))
    return ValueRules(walk.flags, walk.equal, walk.later), walk.runs


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

    first: int
    bound: float | None = None
    bucket: int = -1
    count: int = -1
    sum: int = -1
    gsum: int = -1
    below_zero: bool = False


class _Walk:
    """Goes through a document in order, as one state machine over families.

    Histograms seen before, and families of one sample per label set, are taken whole.
    """

    def __init__(self, keys: Sequence[bytes], lines: Sequence[int], known: Runs) -> None:
        self.flags = bytearray()
        self.equal: list[tuple[int, int]] = []
        self.later: list[int] = []
        self.runs: dict[bytes, KnownRun] = {}
        self._keys = keys
        self._lines = lines
        self._known = known
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

    def samples(self, start: int, stop: int, times: tuple[list[bool], list[bool]] | None) -> None:
        """Take the samples between two lines of metadata; `times` are `timed` and `moved`, if any is."""
        if times is None and self._take_simple_family(start, stop):
            return
        index = start
        while index < stop:
            taken = 0 if times else self._take_known_run(index, stop)
            if not taken:
                timed, moved = (times[0][index], times[1][index]) if times else (False, False)
                self._sample(index, timed, moved)
            index += taken or 1

    def finish(self, stop: int) -> None:
        """Close the last family, whose samples end before `stop`."""
        family = self._family
        self._finish_run(stop)
        if family is None:
            return
        for suffix in {*SUFFIXES.get(family.type or MetricType.UNKNOWN, ()), b""}:
            if family.name + suffix in self._names:
                name = (family.name + suffix).decode()
                raise Broken(f"got the name {name} a second time", line=family.line)
            self._names.add(family.name + suffix)
        if family.unit:
            if not family.name.endswith(b"_" + family.unit.encode()):
                raise Broken(f"got the unit {family.unit}, which does not end the name", line=family.line)
            if family.type in (MetricType.INFO, MetricType.STATESET):
                raise Broken(f"got a unit, which {family.type} must not have", line=family.line)

    def _take_simple_family(self, start: int, stop: int) -> bool:
        """Take all samples when they are of one name and the family's groups have one sample each."""
        family = self._family
        if family is None or start == stop or family.type not in _ONE_PER_GROUP:
            return False
        block = self._keys[start:stop]
        name = block[0].partition(PAIR)[0]
        head = name + PAIR
        one_name = len(block) == 1 or all(key.startswith(head) for key in block)
        if name not in family.allowed or not one_name or len(set(block)) != len(block):
            return False
        self.flags += bytes([self._flags(family, name[len(family.name) :])]) * len(block)
        family.samples += len(block)
        return True

    def _take_known_run(self, index: int, stop: int) -> int:
        """Take a histogram seen before; returns the number of its samples, 0 when it is none.

        What follows it must be another such histogram, as else it might go on.
        """
        run, family = self._known.get(self._keys[index]), self._family
        if run is None or family is None or (run.family, run.type) != (family.name, family.type):
            return 0
        end = index + len(run.keys)
        follows = self._known.get(self._keys[end]) if end < stop else None
        if (
            run.group in family.groups
            or self._keys[index:end] != run.keys
            or (end < stop and (follows is None or follows.group == run.group))
        ):
            return 0
        self._finish_run(index)
        self.flags += run.flags
        if run.equal is not None:
            self.equal.append((index + run.equal[0], index + run.equal[1]))
        self.runs[run.keys[0]] = run
        family.samples += len(run.keys)
        family.groups.add(run.group)
        family.group, family.group_timed = run.group, False
        return len(run.keys)

    def _sample(self, index: int, timed: bool, moved: bool) -> None:
        name, _, rest = self._keys[index].partition(PAIR)
        family = self._family
        if family is None or name not in family.allowed:
            line = self._lines[index]
            family = self._start(_Family(name, line, MetricType.UNKNOWN, allowed=frozenset([name])))
        suffix = name[len(family.name) :]
        family.samples += 1
        group = self._group(family, index, suffix, rest)
        if group == family.group:
            if timed != family.group_timed:
                raise Broken("got samples with and without timestamp in one group", index)
            if timed and family.type is not MetricType.INFO:
                self.later.append(index)
        elif group in family.groups:
            raise Broken("got a group of samples in two places, wanted it together", index)
        else:
            family.groups.add(group)
        self.flags.append(self._flags(family, suffix))
        if family.type in _HISTOGRAMS:
            self._histogram(index, suffix, rest, group != family.group or moved)
        family.group, family.group_timed = group, timed

    def _start(self, family: _Family) -> _Family:
        self.finish(len(self.flags))
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

    def _flags(self, family: _Family, suffix: bytes) -> int:
        match family.type:
            case MetricType.STATESET:
                return Flag.ZERO_OR_ONE
            case MetricType.INFO:
                return Flag.ONE
            case MetricType.SUMMARY if suffix == b"":
                return Flag.NOT_NEGATIVE
        return _FLAGS.get(suffix, 0)

    def _histogram(self, index: int, suffix: bytes, rest: bytes, starts: bool) -> None:
        if starts:
            self._finish_run(index)
        run = self._run
        if run is None:
            run = self._run = _Run(index)
        if suffix == b"_bucket":
            le, _ = take_label(rest, b"le")
            bound = _number(le or b"", index)
            if run.bound is not None and bound <= run.bound:
                raise Broken("got a bucket out of order", index)
            if run.bucket >= 0:
                self.flags[index] |= Flag.RISING
            run.bound, run.bucket = bound, index
            run.below_zero |= bound < 0
        elif suffix in (b"_count", b"_gcount"):
            run.count = index
        elif suffix == b"_sum":
            run.sum = index
        elif suffix == b"_gsum":
            run.gsum = index

    def _finish_run(self, stop: int) -> None:
        run, self._run, family = self._run, None, self._family
        if run is None or family is None:
            return
        if run.bound != float("inf"):
            raise Broken('wanted a bucket le="+Inf"', stop - 1)
        if (run.sum >= 0 or run.gsum >= 0) != (run.count >= 0):
            raise Broken("wanted count and sum of a histogram together", stop - 1)
        if run.below_zero and run.sum >= 0:
            raise Broken("got a sum beside a bucket below zero", run.sum)
        if run.count >= 0:
            self.equal.append((run.count, run.bucket))
        if run.gsum >= 0 and not run.below_zero:
            self.flags[run.gsum] |= Flag.NOT_NEGATIVE
        self._remember(run, family, stop)

    def _remember(self, run: _Run, family: _Family, stop: int) -> None:
        if family.group_timed:
            return
        keys, first = self._keys[run.first : stop], run.first
        equal = (run.count - first, run.bucket - first) if run.count >= 0 else None
        flags = bytes(self.flags[first:stop])
        self.runs[keys[0]] = KnownRun(family.name, family.type, keys, family.group or b"", flags, equal)


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
