"""A parsed template: nodes that write themselves, and expressions that have a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from metricsmith.errors import TemplateError
from metricsmith.rules.templates import values
from metricsmith.rules.templates.printf import show
from metricsmith.rules.templates.values import Sample, Value, is_true, kind

MAX_OUTPUT = 65_536
MAX_WORK = 4_000_000
"""Characters and samples that functions may take and make in one expansion, all together."""
MAX_STEPS = 100_000
MAX_QUERIES = 20
MAX_DEPTH = 60
"""Blocks and templates within one another, when parsed and when expanded."""

Query = Callable[[str, int], Sequence[Sample]]
"""Return the answer of an instant query at a time in milliseconds; raises `QueryError`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What templates see besides their alert; the same for all alerts of an agent."""

    query: Query | None = None
    external_labels: Mapping[str, str] = field(default_factory=dict)
    external_url: str = ""


class State:
    """One expansion: what was written, the variables, and what may still be spent."""

    __slots__ = (
        "_depth",
        "_length",
        "_queries",
        "_steps",
        "_work",
        "around",
        "dot",
        "out",
        "slots",
        "time_ms",
    )

    def __init__(self, data: Value, slots: list[Value], around: Surroundings, time_ms: int) -> None:
        self.dot = data
        self.slots = slots
        self.around = around
        self.time_ms = time_ms
        self.out: list[str] = []
        self._length = 0
        self._work = MAX_WORK
        self._steps = MAX_STEPS
        self._queries = MAX_QUERIES
        self._depth = 0

    def write(self, text: str) -> None:
        """Append to the result."""
        self.out.append(text)
        self._length += len(text)
        if self._length > MAX_OUTPUT:
            raise ValueError(f"got a text of over {MAX_OUTPUT} characters")

    def step(self) -> None:
        """Count a piece of work that is not free."""
        self._steps -= 1
        if self._steps < 0:
            raise ValueError(f"got more than {MAX_STEPS} steps")

    def spend(self, value: Value) -> None:
        """Count what a function takes or makes."""
        if isinstance(value, str | list):
            self._work -= len(value)
            if self._work < 0:
                raise ValueError(f"got more than {MAX_WORK} characters and samples of work")

    def ask(self, expr: str) -> Sequence[Sample]:
        """Return the answer of a query at the time of the evaluation."""
        if self.around.query is None:
            raise ValueError("queries are not possible here")
        self._queries -= 1
        if self._queries < 0:
            raise ValueError(f"got more than {MAX_QUERIES} queries")
        return self.around.query(expr, self.time_ms)

    def run(self, body: Sequence[Node]) -> None:
        """Write a block."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"got more than {MAX_DEPTH} blocks within one another")
        for node in body:
            node.run(self)
        self._depth -= 1

    def leave_to(self, depth: int) -> None:
        """Forget the blocks that a `break` or `continue` left."""
        self._depth = depth

    @property
    def depth(self) -> int:
        """How many blocks are open."""
        return self._depth


class Expression(ABC):
    """Something with a value. `final` is what the pipeline hands over, as last argument."""

    __slots__ = ()

    @abstractmethod
    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        """Return the value."""


@dataclass(frozen=True, slots=True)
class Literal(Expression):
    """A number, a text, true, false or nil."""

    constant: Value

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        return self.constant


@dataclass(frozen=True, slots=True)
class Dot(Expression):
    """`.`: what the block is about."""

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        return state.dot


@dataclass(frozen=True, slots=True)
class Variable(Expression):
    """`$name`, by its place."""

    slot: int

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        return state.slots[self.slot]


@dataclass(frozen=True, slots=True)
class Fields(Expression):
    """`base.a.b arguments`: the arguments go to the last one, which is a method then."""

    base: Expression
    names: tuple[str, ...]
    arguments: tuple[Expression, ...] = ()

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        found = self.base.value(state)
        for name in self.names[:-1]:
            found = values.field(found, name, ())
        arguments = [argument.value(state) for argument in self.arguments]
        return values.field(found, self.names[-1], (*arguments, *final))


@dataclass(frozen=True, slots=True)
class Call(Expression):
    """`function arguments`."""

    name: str
    function: Callable[..., Value]
    arguments: tuple[Expression, ...]

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        state.step()
        given = [*(argument.value(state) for argument in self.arguments), *final]
        for value in given:
            state.spend(value)
        made = self.function(state, *given)
        state.spend(made)
        return made


@dataclass(frozen=True, slots=True)
class Choice(Expression):
    """`and` and `or`: the first argument that decides, and none behind it is looked at."""

    wanted: bool
    arguments: tuple[Expression, ...]

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        found: Value = None
        for argument in (*self.arguments, *map(Literal, final)):
            found = argument.value(state)
            if is_true(found) is self.wanted:
                break
        return found


@dataclass(frozen=True, slots=True)
class Pipeline(Expression):
    """Commands, each handing its value to the next; `slot` is the variable that gets the last one."""

    commands: tuple[Expression, ...]
    slot: int | None = None

    def value(self, state: State, final: tuple[Value, ...] = ()) -> Value:
        found = self.commands[0].value(state, final)
        for command in self.commands[1:]:
            found = command.value(state, (found,))
        if self.slot is not None:
            state.slots[self.slot] = found
        return found


class Node(ABC):
    """Something that writes."""

    __slots__ = ()

    @abstractmethod
    def run(self, state: State) -> None:
        """Write to the state."""


@dataclass(frozen=True, slots=True)
class Text(Node):
    """What stands outside of braces."""

    text: str

    def run(self, state: State) -> None:
        state.write(self.text)


@dataclass(frozen=True, slots=True)
class At(Node):
    """A node whose errors are told with its place."""

    node: Node
    text: str
    position: int

    def run(self, state: State) -> None:
        state.step()
        try:
            self.node.run(state)
        except ValueError as error:
            raise TemplateError(str(error), self.text, self.position) from None


@dataclass(frozen=True, slots=True)
class Write(Node):
    """`{{ pipeline }}`."""

    pipeline: Pipeline

    def run(self, state: State) -> None:
        value = self.pipeline.value(state)
        if self.pipeline.slot is None:
            state.write(show(value))


@dataclass(frozen=True, slots=True)
class If(Node):
    """`if` and `with`; the second makes the value the dot."""

    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]
    moves_dot: bool

    def run(self, state: State) -> None:
        value = self.pipeline.value(state)
        if not is_true(value):
            state.run(self.otherwise)
            return
        outer = state.dot
        if self.moves_dot:
            state.dot = value
        state.run(self.body)
        state.dot = outer


class Leave(Exception):
    """`break`, or `continue` when `again`."""

    def __init__(self, again: bool) -> None:
        self.again = again


@dataclass(frozen=True, slots=True)
class Jump(Node):
    """`break` and `continue`."""

    again: bool

    def run(self, state: State) -> None:
        raise Leave(self.again)


@dataclass(frozen=True, slots=True)
class Range(Node):
    """`range`: the body for each item, the other block when there is none."""

    pipeline: Pipeline
    key: int | None
    item: int | None
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]

    def run(self, state: State) -> None:
        pairs = _pairs(self.pipeline.value(state))
        outer, depth = state.dot, state.depth
        for key, item in pairs:
            state.step()
            state.dot = item
            if self.key is not None:
                state.slots[self.key] = key
            if self.item is not None:
                state.slots[self.item] = item
            try:
                state.run(self.body)
            except Leave as leave:
                state.leave_to(depth)
                if not leave.again:
                    break
        state.dot = outer
        if not pairs:
            state.run(self.otherwise)


def _pairs(value: Value) -> Sequence[tuple[Value, Value]]:
    match value:
        case None:
            return ()
        case Mapping():
            return sorted(value.items())
        case list() | tuple():
            return list(enumerate(value))
        case int() if not isinstance(value, bool):
            return [(i, i) for i in range(min(value, MAX_STEPS + 1))]
    raise ValueError(f"range can't iterate over {show(value)} of type {kind(value)}")


@dataclass(slots=True)
class Body:
    """A template by name; filled when its definition has been read."""

    nodes: tuple[Node, ...] = ()
    slots: int = 1


@dataclass(frozen=True, slots=True)
class Include(Node):
    """`template "name" pipeline`."""

    body: Body
    pipeline: Pipeline | None

    def run(self, state: State) -> None:
        dot, slots = state.dot, state.slots
        state.dot = None if self.pipeline is None else self.pipeline.value(state)
        state.slots = [state.dot] + [None] * (self.body.slots - 1)
        state.run(self.body.nodes)
        state.dot, state.slots = dot, slots
