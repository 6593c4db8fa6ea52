"""Sessions of workers: each push counts once, however often it comes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from metricsmith.sdk.clock import Clock
from metricsmith.sdk.processes.cells import ADD, Bins, Pairs, Shape
from metricsmith.sdk.processes.frames import BadFrame
from metricsmith.sdk.processes.messages import (
    Hello,
    read_bins,
    read_hello,
    read_labels,
    read_shape,
    read_values,
)
from metricsmith.sdk.processes.totals import MAX_CELLS, Bound, Totals
from metricsmith.sdk.reading import Reading

FORGET_S = 600.0
"""How long a process that is gone is remembered, in case it comes back."""
EXPIRY_S = 86_400.0
"""How long the totals of an application stay of which no process is connected."""
MAX_SESSIONS = 10_000
MAX_DEFINED = MAX_CELLS
"""Cells and shapes of one connection: a process may have all that the totals hold."""


class Kept(Protocol):
    """Where totals outlive the collecting process: `metricsmith.contracts.State` is one."""

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]: ...

    def commit(self, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None: ...


class Session:
    """One process, from its first push until it is forgotten."""

    __slots__ = ("applied", "id", "left_s", "name", "order", "speaker")

    def __init__(self, name: str, id: int, order: int, applied: int) -> None:
        self.name, self.id, self.order, self.applied = name, id, order, applied
        self.left_s: float | None = 0.0
        self.speaker: Speaker | None = None


class Speaker:
    """One connection: what was defined in it."""

    def __init__(self) -> None:
        self.hello: Hello | None = None
        self.session: Session | None = None
        self.identity: Pairs = ()
        self.shapes: list[Shape] = []
        self.cells: dict[int, tuple[Shape, Bound | None]] = {}


class Sessions:
    """Applies what workers say to the totals, and keeps both on disk if it is told where."""

    def __init__(
        self,
        clock: Clock,
        kept: Kept | None = None,
        *,
        by_service: bool = False,
        expiry_s: float = EXPIRY_S,
    ) -> None:
        """With `by_service`, series have `job` and `instance`, and applications are told apart by them."""
        self.totals = Totals(clock)
        self._clock, self._kept, self._by_service = clock, kept, by_service
        self._sessions: dict[str, Session] = {}
        self._next = 1
        self._look_s = 0.0
        self._expiry_s = expiry_s
        self._idle: dict[Pairs, float] = {}
        self._touched: set[str] = set()
        self._forgotten: set[str] = set()
        self.pushes = 0
        """How many were applied."""

    @property
    def connected(self) -> int:
        """The number of processes that are connected."""
        return sum(session.speaker is not None for session in self._sessions.values())

    def hear(self, speaker: Speaker, message: dict[str, Any]) -> int | None:
        """Apply a message; return the number of the push up to which the session's are applied.

        None for a good-bye, which wants no answer. Nothing is to be acknowledged before `keep` has returned.

        Raises:
            BadFrame: it is malformed; nothing of it was applied.
        """
        if speaker.hello is None:
            return self._greet(speaker, read_hello(message))
        session = speaker.session
        if session is None or session.speaker is not speaker:
            raise BadFrame("replaced", "this session has another connection")
        if "bye" in message:
            self.leave(speaker)
            return None
        number = message.get("push")
        if type(number) is not int or not 0 < number < 2**63:
            raise BadFrame("malformed", f"got {str(message)[:100]}, wanted a push")
        self._define(speaker, session, message)
        changes = self._checked(speaker, message)
        if number <= session.applied:
            return session.applied
        for cell, bound, values, bins in changes:
            if values is None:
                if speaker.cells.pop(cell, None) is not None and bound is not None:
                    bound.gone(session.id)
            elif bound is not None:
                bound.apply(session.id, speaker.hello.pid, values, bins)
        session.applied = number
        self._touched.add(session.name)
        self.pushes += 1
        return number

    def leave(self, speaker: Speaker) -> None:
        """Note that a connection is closed."""
        session = speaker.session
        if session is None or session.speaker is not speaker:
            return
        session.speaker, session.left_s = None, self._clock.monotonic()
        for _, bound in speaker.cells.values():
            if bound is not None:
                bound.left()
        for cell in self.totals.gauges():
            cell.left(session.id)
        self.totals.drop_empty()

    def forget_old(self) -> None:
        """Forget processes and applications that have been gone for long; looks for such now and then."""
        now_s = self._clock.monotonic()
        if now_s < self._look_s and len(self._sessions) < MAX_SESSIONS:
            return
        self._look_s = now_s + FORGET_S / 10
        gone = [s for s in self._sessions.values() if s.speaker is None and s.left_s is not None]
        gone.sort(key=lambda session: session.left_s or 0.0)
        most = max(0, len(self._sessions) - MAX_SESSIONS)
        old = [s for at, s in enumerate(gone) if at < most or now_s - (s.left_s or 0.0) >= FORGET_S]
        for session in old:
            del self._sessions[session.name]
            self._touched.discard(session.name)
            self._forgotten.add(session.name)
            for cell in self.totals.gauges():
                cell.ended(session.id)
        if old:
            self.totals.drop_empty()
        self._expire(now_s)

    def _expire(self, now_s: float) -> None:
        """Forget applications of which no process is there: containers have other names each time."""
        speakers = [session.speaker for session in self._sessions.values() if session.speaker is not None]
        idle = self.totals.identities() - {speaker.identity for speaker in speakers}
        self._idle = {each: self._idle.get(each, now_s) for each in idle}
        for each, since_s in self._idle.items():
            if now_s - since_s >= self._expiry_s:
                self.totals.forget(each)

    def read(self) -> Iterator[Reading]:
        """Yield what all processes tell together."""
        return self.totals.read()

    def keep(self) -> None:
        """Have on disk what was applied, if it is kept at all. What raises leaves it to the next time."""
        if self._kept is not None:
            self._commit(self._kept)
        self.totals.note_kept()
        self._touched.clear()
        self._forgotten.clear()

    def _commit(self, kept: Kept) -> None:
        totals = self.totals
        put = {f"session/{name}": b"%d" % self._sessions[name].applied for name in self._touched}
        for number, (identity, total) in totals.changed.items():
            put[f"value/{number}"] = _json(total.values)
            if number in totals.created:
                put[f"cell/{number}"] = _json([identity, total.shape, total.labels])
        removed = [f"{kind}/{number}" for number in totals.removed for kind in ("cell", "value")]
        delete = [*removed, *(f"session/{name}" for name in self._forgotten)]
        if put or delete:
            kept.commit(put, delete)

    def _greet(self, speaker: Speaker, hello: Hello) -> int:
        session = self._sessions.get(hello.session)
        if session is None:
            self.forget_old()
            session = self._sessions[hello.session] = self._new(hello.session, 0)
        elif session.speaker is not None:
            self.leave(session.speaker)  # its end has not been heard of yet
        speaker.hello, speaker.session = hello, session
        if self._by_service:
            named = (("job", hello.service), ("instance", hello.instance))
            speaker.identity = tuple([pair for pair in named if pair[1]])
        session.speaker, session.left_s = speaker, None
        return session.applied

    def _new(self, name: str, applied: int) -> Session:
        session = Session(name, self._next, self._next, applied)
        session.left_s = self._clock.monotonic()
        self._next += 1
        return session

    def _define(self, speaker: Speaker, session: Session, message: dict[str, Any]) -> None:
        shapes, cells = _list(message.get("shapes", [])), _list(message.get("cells", []))
        if max(len(speaker.shapes) + len(shapes), len(speaker.cells) + len(cells)) > MAX_DEFINED:
            raise BadFrame("too_many", f"got more than {MAX_DEFINED} cells in one connection")
        speaker.shapes += [read_shape(raw) for raw in shapes]
        for raw in cells:
            if not (isinstance(raw, list) and len(raw) == 3 and type(raw[0]) is int and type(raw[1]) is int):
                raise BadFrame("malformed", "got a cell without number and shape")
            number, at, labels = raw
            if number in speaker.cells or not 0 <= at < len(speaker.shapes):
                raise BadFrame("malformed", f"got the cell {number} twice, or an unknown shape")
            shape = speaker.shapes[at]
            bound = self.totals.bind(speaker.identity, shape, read_labels(labels), session.order)
            speaker.cells[number] = (shape, bound)

    def _checked(
        self, speaker: Speaker, message: dict[str, Any]
    ) -> list[tuple[int, Bound | None, list[float] | None, Bins | None]]:
        """Return all changes of a push, read before the first is applied."""
        found = []
        for raw in _list(message.get("changes")):
            if not isinstance(raw, list) or len(raw) not in (2, 3) or type(raw[0]) is not int:
                raise BadFrame("malformed", "got no change")
            known = speaker.cells.get(raw[0])
            if known is None:
                raise BadFrame("malformed", f"got a change of the cell {raw[0]}, which was not defined")
            shape, bound = known
            values = None
            if raw[1] is not None:
                values = read_values(raw[1], len(shape.lines), finite=shape.mode == ADD)
            sketch = shape.sketch if len(raw) == 3 else None
            bins = None if sketch is None else read_bins(raw[2], sketch[1])
            found.append((raw[0], bound, values, bins))
        return found

    def restore(self) -> None:
        """Take up what is on disk. Before the first message, once nobody else changes it."""
        kept = self._kept
        if kept is None:
            return
        values = {key.partition("/")[2]: value for key, value in kept.items("value/")}
        for key, definition in kept.items("cell/"):
            number = key.partition("/")[2]
            identity, shape, labels = json.loads(definition)
            restored = read_shape(shape)
            numbers = [float(value) for value in json.loads(values[number])]
            self.totals.restore(int(number), read_labels(identity), restored, read_labels(labels), numbers)
        for key, applied in kept.items("session/"):
            name = key.partition("/")[2]
            self._sessions[name] = self._new(name, int(applied))


def _list(raw: Any) -> list[Any]:
    if not isinstance(raw, list):
        raise BadFrame("malformed", f"got {str(raw)[:50]}, wanted a list")
    return raw


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
