"""Label matchers: name, operator, value."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import re2

from metricsmith.model.labels import escape_value


class MatchOp(StrEnum):
    """The four operators of a selector."""

    EQ = "="
    NE = "!="
    RE = "=~"
    NRE = "!~"


# A pattern with repetitions takes up to a megabyte.
@lru_cache(maxsize=512)
def compile_anchored(pattern: str) -> Any:
    """Return a compiled RE2 pattern that must match the whole value; a dot matches newlines too.

    User-supplied patterns never go to `re`: it can take exponential time.

    Raises:
        ValueError: not an RE2 pattern.
    Source:
        Prometheus `labels.NewFastRegexMatcher`: parsed by itself with dots
        matching newlines, so that `a)|(b` is refused; use `fullmatch`.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    options.dot_nl = True
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = _reason(error)
        raise ValueError(f"got regular expression {pattern[:100]!r}, wanted RE2 syntax: {reason}") from None


def _reason(error: Exception) -> str:
    # The library hands over RE2's message as bytes.
    first = error.args[0] if error.args else ""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; an absent label has the empty value.

    >>> Matcher("job", MatchOp.RE, "sh.*").matches("shop")
    True
    """

    name: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        if self.op in (MatchOp.RE, MatchOp.NRE):
            compile_anchored(self.value)

    def matches(self, value: str) -> bool:
        """Return whether a label value satisfies the condition."""
        match self.op:
            case MatchOp.EQ:
                return value == self.value
            case MatchOp.NE:
                return value != self.value
            case MatchOp.RE:
                return compile_anchored(self.value).fullmatch(value) is not None
            case MatchOp.NRE:
                return compile_anchored(self.value).fullmatch(value) is None

    def __str__(self) -> str:
        return f'{self.name}{self.op.value}"{escape_value(self.value)}"'
