"""Selectors of series as PromQL writes them, read out of queries, requests and settings alike."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.errors import ParseError
from metricsmith.model.labels import NAME_LABEL
from metricsmith.model.matchers import Matcher, MatchOp
from metricsmith.syntax import lexer
from metricsmith.syntax.tokens import Tokens

METRIC_KINDS = (lexer.KEYWORDS - {"atan2", "on", "ignoring", "group_left", "group_right", "bool"}) | {
    lexer.IDENTIFIER,
    lexer.METRIC_IDENTIFIER,
}
"""Kinds of tokens that can be a metric name where an operand is expected."""

MAX_MATCHERS = 128
"""How many matchers a selector may have: a store holds each against every series, whatever the time."""

_MATCH_OPS = {op.value: op for op in MatchOp}


@dataclass(frozen=True, slots=True)
class Selector:
    """The conditions of a selector, that of the metric's name first, and where it stands in the text.

    `name` is the metric's where the selector gives it once and plainly, else empty.
    """

    name: str
    matchers: tuple[Matcher, ...]
    start: int
    end: int

    def refuse_accidents(self, text: str, *, may_match_all: bool = False) -> None:
        """Refuse a selector that would match every series by accident, or that names the metric twice.

        Raises:
            ParseError: with the place in `text`.
        """
        for matcher in self.matchers[1:] if self.name else ():
            if matcher.name == NAME_LABEL:
                names = f'"{self.name}" or "{matcher.value}"'
                raise ParseError(f"metric name must not be set twice: {names}", text, self.start)
        if not may_match_all and all(matcher.matches("") for matcher in self.matchers):
            what = "vector selector must contain at least one non-empty matcher"
            hint = 'add a metric name, or a matcher such as job!=""'
            raise ParseError(f"{what}; {hint}", text, self.start)


def parse_selector(text: str, *, may_match_all: bool = False) -> Selector:
    """Return a lone instant selector without modifiers, as `match[]` parameters and settings hold it.

    Raises:
        ParseError: anything else; also a selector that matches series without
            any of its labels, unless it `may_match_all`.

    >>> [str(m) for m in parse_selector('up{job!="a"}').matchers]
    ['__name__="up"', 'job!="a"']
    """
    tokens = Tokens(text)
    found = read_selector(tokens)
    if tokens.current.kind != lexer.END:
        tokens.unexpected(expected="end of input")
    found.refuse_accidents(text, may_match_all=may_match_all)
    return found


def read_selector(tokens: Tokens) -> Selector:
    """Return the selector that must stand here, without modifiers and not yet checked.

    `{"name"}` is the same selector as `name`; the matcher of the name comes first.
    """
    start = tokens.current.start
    names: list[str] = []
    matchers: list[Matcher] = []
    if tokens.current.kind in METRIC_KINDS:
        names.append(tokens.advance().text)
    if not names or tokens.current.kind == "{":
        quoted, matchers = _braces(tokens)
        names += quoted
    by_label = any(matcher.name == NAME_LABEL for matcher in matchers)
    bare = tokens.text[start] != "{"
    name = names[0] if bare or (len(names) == 1 and not by_label) else ""
    by_name = [Matcher(NAME_LABEL, MatchOp.EQ, each) for each in names]
    return Selector(name, (*by_name, *matchers), start, tokens.last_end)


def _braces(tokens: Tokens) -> tuple[list[str], list[Matcher]]:
    tokens.expect("{", "", "")
    names: list[str] = []
    matchers: list[Matcher] = []
    while not tokens.accept("}"):
        if len(names) + len(matchers) == MAX_MATCHERS:
            what = f"selector has more than {MAX_MATCHERS} matchers"
            tokens.fail(f"{what}; one regular expression may name many values", tokens.current.start)
        _matcher(tokens, names, matchers)
        if tokens.current.kind != "}" and not tokens.accept(","):
            tokens.unexpected("label matching", '"," or "}"')
    return names, matchers


def _matcher(tokens: Tokens, names: list[str], matchers: list[Matcher]) -> None:
    start = tokens.current.start
    if tokens.current.kind == lexer.STRING:
        label = tokens.string("label matching")
        if tokens.current.kind in ("}", ","):
            names.append(label)
            return
    else:
        label = tokens.expect(lexer.IDENTIFIER, "label matching", 'identifier or "}"').text
    if tokens.current.kind not in _MATCH_OPS:
        tokens.unexpected("label matching", "label matching operator")
    op = _MATCH_OPS[tokens.advance().kind]
    value = tokens.string("label matching")
    try:
        matchers.append(Matcher(label, op, value))
    except ValueError as error:
        tokens.fail(f"error parsing regexp: {error}", start)
