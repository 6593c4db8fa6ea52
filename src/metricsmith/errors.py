"""The whole exception tree of metricsmith.

    MetricsmithError
    ├── ConfigError              the configuration is wrong; carries every problem found
    ├── MissingExtra             a part needs a library that is not installed; an ImportError, too
    ├── InputError               what somebody sent us is malformed; never retried
    │   ├── ExpositionError      exposition text, with line number and text
    │   ├── WireError            a binary or JSON body
    │   │   └── MessageError     a metric message; carries every problem found
    │   ├── OutOfOrder           a batch of another journal does not follow the one before it
    │   └── LimitExceeded        well-formed, but above a configured limit
    ├── SourceError              a source could not collect
    │   ├── ScrapeError
    │   └── DiscoveryError       who tells of targets is away, refuses, or makes no sense
    ├── JournalError
    │   ├── JournalCorrupt       a checksum or length is wrong where it must not be
    │   └── DiskFull             no space left; the sender is told 503 and asked to retry
    ├── StoreError
    │   ├── FormatTooNew         the data directory was written by a newer metricsmith
    │   ├── DataDirLocked        another process uses the data directory
    │   ├── BlockCorrupt         a block's checksum or structure is wrong
    │   └── StoreUnavailable     the server that keeps the samples is away, or does not let us in
    ├── QueryError
    │   ├── ParseError           not PromQL; carries the position
    │   ├── ExecutionError       the query cannot be answered (matching conflict, bad argument…)
    │   │   └── WrongQueryType   a range query whose expression is no scalar or instant vector
    │   ├── QueryLimitExceeded   too many samples, series, points or steps
    │   ├── QueryRefused         the server that keeps the samples does not take the query; its words
    │   ├── QueryTimeout
    │   └── QueryCancelled       nobody waits for the answer any more
    ├── TemplateError            a template of a rule does not parse, or fails; carries the position
    └── DeliveryError
        ├── RetryLater           the destination is away; the cursor stays
        ├── TooLarge             the destination wants less at once
        └── Rejected             the destination refuses these samples for good

Every message says what was got, what was wanted and, where one exists, a hint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


class MetricsmithError(Exception):
    """Base of all errors that metricsmith raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: where it stands, what is wrong, what would help.

    >>> str(Problem("sources[0].interval", 'got "15", wanted a duration such as 15s', "m.yaml", 7))
    'm.yaml:7: sources[0].interval: got "15", wanted a duration such as 15s'
    """

    path: str
    message: str
    file: str = ""
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}: " if self.line else (f"{self.file}: " if self.file else "")
        path = f"{self.path}: " if self.path else ""
        return f"{where}{path}{self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(MetricsmithError):
    """The configuration cannot be used; `problems` holds every mistake, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class MissingExtra(MetricsmithError, ImportError):
    """A part needs a library that is not installed, and says how to install it.

    Any other ImportError is a defect.
    """


class InputError(MetricsmithError):
    """What a peer sent is malformed or too large; sending it again will not help."""


class ExpositionError(InputError):
    """Exposition text is malformed at `line` (1-based), whose text is `text` (shortened)."""

    def __init__(self, message: str, line: int = 0, text: str = "") -> None:
        self.line = line
        self.text = text[:200]
        where = f"line {line}: " if line else ""
        shown = f": {self.text!r}" if text else ""
        super().__init__(f"{where}{message}{shown}")


class WireError(InputError):
    """A body in a binary or JSON format is malformed."""


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One mistake in what a client sent: the field, what it held, what is wanted, what would help."""

    field: str
    got: str
    wanted: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.field}: got {self.got}, wanted {self.wanted}" + (
            f" ({self.hint})" if self.hint else ""
        )


class MessageError(WireError):
    """A metric message cannot be taken; `problems` holds every mistake, not only the first."""

    def __init__(self, problems: Sequence[FieldProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(p) for p in self.problems))


class OutOfOrder(InputError):
    """A batch of another journal does not follow the one before it; nothing of it is accepted."""


class LimitExceeded(InputError):
    """Input is well-formed but larger than a configured limit."""


class SourceError(MetricsmithError):
    """A source could not collect this time."""


class ScrapeError(SourceError):
    """A scrape failed; `reason` is a short constant for counters, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class DiscoveryError(SourceError):
    """Targets cannot be found out; `reason` is a short constant for counters, the message is for people.

    `after_s` is how long the server asks to be left alone.
    """

    def __init__(self, reason: str, message: str, after_s: float | None = None) -> None:
        self.reason, self.after_s = reason, after_s
        super().__init__(message)


class JournalError(MetricsmithError):
    """The journal cannot do what was asked."""


class JournalCorrupt(JournalError):
    """The journal holds bytes that cannot have been written by it."""


class DiskFull(JournalError):
    """Nothing more can be written until space is freed; senders must retry."""


class StoreError(MetricsmithError):
    """The store cannot do what was asked."""


class FormatTooNew(StoreError):
    """The data directory was written by a newer version of metricsmith."""


class DataDirLocked(StoreError):
    """Another process has the data directory open."""


class BlockCorrupt(StoreError):
    """A block on disk is damaged; what is damaged is set aside and the rest serves.

    `row_group` is the part of its samples that cannot be read, None where that is the whole block.
    """

    def __init__(self, message: str, row_group: int | None = None) -> None:
        super().__init__(message)
        self.row_group = row_group


class StoreUnavailable(StoreError):
    """The server that keeps the samples is away, fails, or does not let us in; another time may be better.

    `reason` is a short constant for counters, the message is for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class QueryError(MetricsmithError):
    """A query cannot be answered."""


class ParseError(QueryError):
    """The text is not PromQL; `position` is the offset of the offending character.

    >>> str(ParseError("unexpected ')'", "sum)", 3))
    "1:4: parse error: unexpected ')'"
    """

    def __init__(self, message: str, text: str = "", position: int = 0) -> None:
        self.position = position
        line, column = line_and_column(text, position)
        super().__init__(f"{line}:{column}: parse error: {message}")


def line_and_column(text: str, position: int) -> tuple[int, int]:
    """Return where a character of a text stands, both counted from 1."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)


class ExecutionError(QueryError):
    """The query is valid but has no answer on this data."""


class WrongQueryType(ExecutionError):
    """A range query asks for an expression that has no value per step."""


class QueryLimitExceeded(QueryError):
    """The query would need more of something than allowed; `limit` names it, for counters."""

    def __init__(
        self, message: str, limit: Literal["samples", "series", "points", "steps", "labels"]
    ) -> None:
        self.limit = limit
        super().__init__(message)


class QueryRefused(QueryError):
    """The server that keeps the samples does not take the query, for reasons of its own."""


class QueryTimeout(QueryError):
    """The query ran longer than its time-out."""


class QueryCancelled(QueryError):
    """Who asked has gone away, so the query was given up."""


class TemplateError(MetricsmithError):
    """A template does not parse or cannot be expanded; `position` is the offset of the culprit.

    >>> str(TemplateError('function "human" is not defined', "{{ human $value }}", 3))
    '1:4: function "human" is not defined'
    """

    def __init__(self, message: str, text: str = "", position: int = 0) -> None:
        self.position = position
        line, column = line_and_column(text, position)
        super().__init__(f"{line}:{column}: {message}")


class DeliveryError(MetricsmithError):
    """A sink did not deliver."""


class RetryLater(DeliveryError):
    """The destination is away or busy; try again after `after_s` seconds, the cursor stays.

    `reason` is a short constant for counters, the message is for people.
    """

    def __init__(self, message: str, after_s: float | None = None, reason: str = "unavailable") -> None:
        self.after_s, self.reason = after_s, reason
        super().__init__(message)


class TooLarge(DeliveryError):
    """The destination refuses that much at once; smaller pieces may be taken."""


class Rejected(DeliveryError):
    """The destination refuses these series for good; they go to quarantine with `reason`.

    `late`: for their times, as it has newer samples, or these already: that
    says nothing of samples to come.
    """

    def __init__(self, reason: str, series: Sequence[int] = (), late: bool = False) -> None:
        self.reason = reason
        self.series = tuple(series)
        self.late = late
        super().__init__(reason)
