"""Tokens to nodes: blocks, then pipelines. Names of functions and variables are resolved here."""

from __future__ import annotations

from typing import NoReturn

from metricsmith.errors import TemplateError
from metricsmith.model.wording import nearest
from metricsmith.rules.templates import literals
from metricsmith.rules.templates.functions import FUNCTIONS
from metricsmith.rules.templates.lexer import Action, Piece, Token, split
from metricsmith.rules.templates.nodes import (
    MAX_DEPTH,
    At,
    Body,
    Call,
    Choice,
    Dot,
    Expression,
    Fields,
    If,
    Include,
    Jump,
    Literal,
    Node,
    Pipeline,
    Range,
    Text,
    Variable,
    Write,
)

GIVEN = ("$", "$labels", "$externalLabels", "$externalURL", "$value")
"""Variables that the text of a rule may use; `$` alone exists in defined templates."""
_BLOCKS = ("if", "with", "range", "define", "block")
_CONSTANTS = {"true": True, "false": False, "nil": None}
_CLOSERS = frozenset({"close", ")", "|"})


def parse_nodes(text: str) -> Body:
    """Return the parsed template.

    Raises:
        TemplateError: it is none.
    """
    return _Parser(text, split(text)).template()


class _Parser:
    def __init__(self, text: str, pieces: list[Piece]) -> None:
        self._text = text
        self._pieces = pieces
        self._next = 0
        self._tokens: tuple[Token, ...] = ()
        self._at = 0
        self._variables: list[str] = []
        self._most_slots = 0
        self._depth = 0
        self._ranges = 0
        self._templates: dict[str, Body] = {}
        self._defined: set[str] = set()
        self._included: dict[str, int] = {}

    def template(self) -> Body:
        body = Body()
        self._fill(body, GIVEN, last="")
        for name, position in self._included.items():
            if name not in self._defined:
                raise TemplateError(f'template "{name[:60]}" not defined', self._text, position)
        return body

    # Blocks

    def _fill(self, body: Body, variables: tuple[str, ...], last: str) -> None:
        """Read a body with variables of its own, up to its `end`, or to the end of the text."""
        outside = (self._variables, self._most_slots, self._ranges)
        self._variables, self._most_slots, self._ranges = list(variables), len(variables), 0
        nodes, _ = self._block(last)
        body.nodes, body.slots = nodes, self._most_slots
        self._variables, self._most_slots, self._ranges = outside

    def _block(self, opened: str, position: int = 0) -> tuple[tuple[Node, ...], str]:
        """Return nodes up to what ends the block `opened`, and the word that ended it: end or else."""
        self._deepen(position)
        nodes: list[Node] = []
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._next += 1
            if isinstance(piece, str):
                nodes.append(Text(piece))
                continue
            self._tokens, self._at = piece.tokens, 0
            word = self._tokens[0].text if self._tokens[0].kind == "name" else ""
            if word in ("end", "else"):
                if not opened or (word == "else" and opened in ("define", "block")):
                    self._fail(f"unexpected {{{{{word}}}}}", piece.position)
                self._at = 1
                self._depth -= 1
                return tuple(nodes), word
            node = self._node(piece, word)
            if node is not None:
                nodes.append(At(node, self._text, piece.position))
        if opened:
            self._fail(f"unexpected end of the text: {{{{{opened}}}}} has no {{{{end}}}}", position)
        self._depth -= 1
        return tuple(nodes), ""

    def _node(self, piece: Action, word: str) -> Node | None:
        if word in _BLOCKS or word in ("template", "break", "continue"):
            self._at = 1
        match word:
            case "if" | "with":
                return self._if(word, piece.position)
            case "range":
                return self._range(piece.position)
            case "define":
                self._define(self._name(), word, piece.position)
                return None
            case "block":
                name = self._name()
                pipeline = self._pipeline("block")
                self._end()
                self._define(name, word, piece.position)
                return Include(self._include(name, piece.position), pipeline)
            case "template":
                name = self._name()
                passed = None if self._peek().kind == "close" else self._pipeline("template")
                self._end()
                return Include(self._include(name, piece.position), passed)
            case "break" | "continue":
                self._end()
                if not self._ranges:
                    self._fail(f"{{{{{word}}}}} outside {{{{range}}}}", piece.position)
                return Jump(again=word == "continue")
        pipeline = self._pipeline("command")
        self._end()
        return Write(pipeline)

    def _if(self, word: str, position: int) -> If:
        seen = len(self._variables)
        pipeline = self._pipeline(word)
        self._end()
        body, ended = self._block(word, position)
        otherwise = self._else(word, ended, position)
        del self._variables[seen:]
        return If(pipeline, body, otherwise, moves_dot=word == "with")

    def _else(self, word: str, ended: str, position: int) -> tuple[Node, ...]:
        """Return the nodes behind `else`, where `else if` (`else with`) is a block within it."""
        if ended == "end":
            self._end()
            return ()
        token = self._peek()
        if word in ("if", "with") and token.kind == "name" and token.text == word:
            self._at += 1
            self._deepen(position)
            inner = At(self._if(word, position), self._text, token.position)
            self._depth -= 1
            return (inner,)
        self._end()
        nodes, ended = self._block(word, position)
        if ended == "else":
            self._fail("expected {{end}}; found {{else}}", self._tokens[0].position)
        self._end()
        return nodes

    def _range(self, position: int) -> Range:
        seen = len(self._variables)
        names = self._range_variables()
        value = self._pipeline("range", declares=not names)
        slots: list[int | None] = [self._declare(name) for name in names]
        if value.slot is not None and not names:
            slots = [value.slot]
            value = Pipeline(value.commands)
        key, item = (slots[0], slots[1]) if len(slots) == 2 else (None, slots[0] if slots else None)
        self._end()
        self._ranges += 1
        body, ended = self._block("range", position)
        self._ranges -= 1
        otherwise = self._else("range", ended, position)
        del self._variables[seen:]
        return Range(value, key, item, body, otherwise)

    def _range_variables(self) -> list[str]:
        """Return the two names of `range $key, $item := …`."""
        ahead = self._tokens[self._at : self._at + 4]
        if len(ahead) < 4 or [ahead[0].kind, ahead[1].text, ahead[2].kind] != ["variable", ",", "variable"]:
            return []
        if ahead[3].text != ":=":
            self._fail("wanted := after the variables of range", ahead[3].position)
        self._at += 4
        return [ahead[0].text, ahead[2].text]

    def _define(self, name: str, word: str, position: int) -> None:
        if word == "define":
            self._end()
        if name in self._defined:
            self._fail(f'a second template is called "{name[:60]}"', position)
        self._defined.add(name)
        self._fill(self._templates.setdefault(name, Body()), ("$",), last=word)
        self._end()

    def _include(self, name: str, position: int) -> Body:
        self._included.setdefault(name, position)
        return self._templates.setdefault(name, Body())

    def _name(self) -> str:
        token = self._advance()
        if token.kind not in ("string", "raw"):
            self._fail("wanted the name of a template in quotes", token.position)
        return str(self._constant(token))

    # Pipelines

    def _pipeline(self, context: str, declares: bool = True) -> Pipeline:
        name, assigned = "", False
        if declares and self._peek().kind == "variable" and self._peek(1).text in (":=", "="):
            name, assigned = self._advance().text, self._advance().text == "="
        commands = [self._command(context)]
        while self._peek().text == "|":
            self._advance()
            stage = self._peek()
            commands.append(self._command(context))
            if isinstance(commands[-1], Literal | Dot):
                self._fail(f"non executable command in pipeline stage {len(commands)}", stage.position)
        slot = None
        if name:
            slot = self._slot(name, self._peek().position) if assigned else self._declare(name)
        return Pipeline(tuple(commands), slot)

    def _command(self, context: str) -> Expression:
        """Return a function or a value with its arguments."""
        first = self._peek()
        if first.kind == "close" or first.text in ("|", ")"):
            self._fail(f"missing value for {context}", first.position)
        self._advance()
        is_function = first.kind == "name" and first.text not in _CONSTANTS
        chained = self._peek().kind == "field" and self._peek().glued
        if is_function and not chained:
            return self._call(first, self._arguments())
        if first.text == "nil":
            self._fail("nil is not a command", first.position)
        expression = self._operand(first)
        arguments = self._arguments()
        if not arguments:
            return expression
        if not isinstance(expression, Fields):
            self._fail(f"can't give argument to non-function {first.text}", first.position)
        return Fields(expression.base, expression.names, arguments)

    def _arguments(self) -> tuple[Expression, ...]:
        found: list[Expression] = []
        while self._peek().kind != "close" and self._peek().text not in ("|", ")"):
            if self._peek().text in (",", ":=", "="):
                self._fail(f'unexpected "{self._peek().text}"', self._peek().position)
            found.append(self._operand(self._advance()))
        return tuple(found)

    def _call(self, token: Token, arguments: tuple[Expression, ...]) -> Expression:
        name = token.text
        if name in ("and", "or"):
            return Choice(name == "or", arguments)
        if name not in FUNCTIONS:
            hint = nearest(name, [*FUNCTIONS, "and", "or"])
            self._fail(f'function "{name[:60]}" not defined' + (f", {hint}" if hint else ""), token.position)
        return Call(name, FUNCTIONS[name], arguments)

    def _operand(self, token: Token) -> Expression:
        base: Expression
        names: list[str] = []
        if token.kind == "field":
            base, names = Dot(), [token.text[1:]]
        elif token.kind == "variable":
            base = Variable(self._slot(token.text, token.position))
        elif token.kind == "dot":
            base = Dot()
        elif token.text == "(":
            self._deepen(token.position)
            base = self._pipeline("parenthesized pipeline", declares=False)
            if self._advance().text != ")":
                self._fail("unclosed left parenthesis", token.position)
            self._depth -= 1
        elif token.kind == "name" and token.text not in _CONSTANTS:
            base = self._call(token, ())
        elif token.kind in ("sign", "close"):
            self._fail(f'unexpected "{token.text}"', token.position)
        else:
            base = Literal(self._constant(token))
        while self._peek().kind == "field" and self._peek().glued:
            if isinstance(base, Literal):
                self._fail("unexpected . after a constant", self._peek().position)
            names.append(self._advance().text[1:])
        return Fields(base, tuple(names)) if names else base

    def _constant(self, token: Token) -> bool | int | float | str | None:
        if token.kind == "name":
            return _CONSTANTS[token.text]
        if token.kind == "raw":
            return token.text[1:-1]
        try:
            if token.kind == "string":
                return literals.unquote(token.text)
            return literals.character(token.text) if token.kind == "char" else literals.number(token.text)
        except ValueError as error:
            self._fail(str(error), token.position)

    # Variables and tokens

    def _declare(self, name: str) -> int:
        self._variables.append(name)
        self._most_slots = max(self._most_slots, len(self._variables))
        return len(self._variables) - 1

    def _slot(self, name: str, position: int) -> int:
        if name not in self._variables:
            hint = nearest(name, self._variables)
            self._fail(f'undefined variable "{name[:60]}"' + (f", {hint}" if hint else ""), position)
        return max(slot for slot, known in enumerate(self._variables) if known == name)

    def _deepen(self, position: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._fail(f"nested more than {MAX_DEPTH} levels deep", position)

    def _peek(self, ahead: int = 0) -> Token:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _advance(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _end(self) -> None:
        token = self._advance()
        if token.kind != "close":
            self._fail(f'unexpected "{token.text[:60]}"', token.position)

    def _fail(self, message: str, position: int) -> NoReturn:
        raise TemplateError(message, self._text, position)
