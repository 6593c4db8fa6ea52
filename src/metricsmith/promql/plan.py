"""The plan of a query: nodes in the order of their execution, each naming the nodes that it reads.

A list instead of a tree, because then a sum of thousands of terms needs no recursion, and a
subexpression that occurs twice is one node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from metricsmith.model.duration import format_duration
from metricsmith.model.matchers import Matcher
from metricsmith.promql.ast import Matching
from metricsmith.promql.extended import ExtendedRange
from metricsmith.promql.info import InfoSelector
from metricsmith.promql.values import Grid, QueryTimes

Positions: TypeAlias = tuple[int, ...]
"""Where a call and each of its arguments begin in the text, for remarks; equal nodes are one wherever."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Samples to get from the store, in a closed time range."""

    matchers: tuple[Matcher, ...]
    start_ms: int
    end_ms: int

    def __str__(self) -> str:
        matchers = ",".join(map(str, self.matchers))
        return f"{{{matchers}}} from {self.start_ms} to {self.end_ms}"


@dataclass(frozen=True, slots=True)
class Constant:
    """A number."""

    value: float
    inputs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"number {self.value:g}"


@dataclass(frozen=True, slots=True)
class Text:
    """A string."""

    value: str
    inputs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"string {self.value!r}"


@dataclass(frozen=True, slots=True)
class Windows:
    """Samples of a fetch, with one window ending at each time of `ends`; markers kept for `Last`."""

    fetch: Fetch
    ends: Grid
    range_ms: int
    markers: bool
    inputs: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"windows of {format_duration(self.range_ms)} at {_steps(self.ends)} over {self.fetch}"


@dataclass(frozen=True, slots=True)
class Last:
    """The last value of each window, or its time; between two samples where the selector is extended."""

    inputs: tuple[int, ...]
    sample_times: bool
    extended: ExtendedRange | None = None

    def __str__(self) -> str:
        if self.extended is not None:
            return f"value between samples of #{self.inputs[0]}"
        return f"{'time of ' if self.sample_times else ''}last sample of #{self.inputs[0]}"


@dataclass(frozen=True, slots=True)
class Resample:
    """A vector at the steps of `grid`, taken as samples under windows: a subquery."""

    inputs: tuple[int, ...]
    grid: Grid
    ends: Grid
    range_ms: int

    def __str__(self) -> str:
        step, window = format_duration(self.grid.step_ms), format_duration(self.range_ms)
        return f"windows of {window} at {_steps(self.ends)} over #{self.inputs[0]} every {step}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """A value that does not change, at every step."""

    inputs: tuple[int, ...]
    steps: int

    def __str__(self) -> str:
        return f"repeat #{self.inputs[0]} at {self.steps} steps"


@dataclass(frozen=True, slots=True)
class Apply:
    """A function call; see `implementations.CallContext`."""

    function: str
    inputs: tuple[int, ...]
    grid: Grid
    selector_labels: bytes
    sample_times: bool
    extended: ExtendedRange | None = None
    positions: Positions = field(default=(), compare=False)

    def __str__(self) -> str:
        extension = f"{self.extended.extension} " if self.extended is not None else ""
        return f"{extension}{self.function}({', '.join(f'#{i}' for i in self.inputs)})"


@dataclass(frozen=True, slots=True)
class Enrich:
    """`info()`: a vector, and the times of the info series' samples."""

    inputs: tuple[int, ...]
    selector: InfoSelector

    def __str__(self) -> str:
        return f"info(#{self.inputs[0]}, #{self.inputs[1]})"


@dataclass(frozen=True, slots=True)
class Negate:
    """Unary minus."""

    inputs: tuple[int, ...]

    def __str__(self) -> str:
        return f"-#{self.inputs[0]}"


@dataclass(frozen=True, slots=True)
class Operate:
    """A binary operator; `drop_name`: the result is another quantity than the left operand."""

    op: str
    inputs: tuple[int, ...]
    return_bool: bool
    drop_name: bool
    matching: Matching

    def __str__(self) -> str:
        words = [self.op] + ["bool"] * self.return_bool
        if self.matching.on or self.matching.labels:
            words.append(f"{'on' if self.matching.on else 'ignoring'} ({', '.join(self.matching.labels)})")
        if self.matching.card in ("many-to-one", "one-to-many"):
            side = "left" if self.matching.card == "many-to-one" else "right"
            words.append(f"group_{side} ({', '.join(self.matching.include)})")
        return f"#{self.inputs[0]} {' '.join(words)} #{self.inputs[1]}"


@dataclass(frozen=True, slots=True)
class Reduce:
    """An aggregation over series; the parameter, where there is one, is the first input."""

    op: str
    inputs: tuple[int, ...]
    grouping: tuple[str, ...]
    without: bool
    positions: Positions = field(default=(), compare=False)

    def __str__(self) -> str:
        by = f" {'without' if self.without else 'by'} ({', '.join(self.grouping)})"
        shown = by if self.without or self.grouping else ""
        return f"{self.op}{shown} ({', '.join(f'#{i}' for i in self.inputs)})"


Node: TypeAlias = (
    Constant | Text | Windows | Last | Resample | Repeat | Apply | Enrich | Negate | Operate | Reduce
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Nodes in order of execution, the last one gives the result; and what to fetch for them.

    `source` maps the fetch that a node asks for to the one that is done, which
    covers it.
    """

    nodes: tuple[Node, ...]
    source: dict[Fetch, Fetch]
    query: QueryTimes

    def __str__(self) -> str:
        return "\n".join(f"#{index} {node}" for index, node in enumerate(self.nodes))


def _steps(grid: Grid) -> str:
    if grid.count == 1:
        return str(grid.start_ms)
    return f"{grid.count} steps of {format_duration(grid.step_ms)} from {grid.start_ms}"
