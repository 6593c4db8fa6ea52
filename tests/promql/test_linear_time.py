"""Reading a query takes time in proportion to its length, and no deeper stack the longer it is."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from metricsmith.errors import ParseError
from metricsmith.promql.parser import parse
from metricsmith.promql.pretty import pretty_expr
from metricsmith.promql.printer import format_expr
from metricsmith.syntax.lexer import MAX_TOKENS
from metricsmith.syntax.selector import MAX_MATCHERS
from metricsmith.syntax.tokens import MAX_DEPTH, MAX_TEXT

SHAPES: dict[str, Callable[[int], str]] = {
    "a long sum": lambda n: "+".join(["x"] * n),
    "a sum of calls": lambda n: " + ".join(["rate(x[5m])"] * (n // 6)),
    "many comparisons": lambda n: " > bool ".join(["1"] * (n // 3)),
    "many set operators": lambda n: " unless on (a) ".join(["x"] * (n // 6)),
    "a long string": lambda n: f'"{"a" * n}"',
    "a string of escapes": lambda n: '"' + "\\n" * n + '"',
    "a long raw string": lambda n: f"`{'a' * n}`",
    "a long name": lambda n: "x" * n,
    "a long number": lambda n: "1" * n,
    "a long hexadecimal number": lambda n: "0x" + "1" * n,
    "a number with many underscores": lambda n: "1" + "_1" * n,
    "a long duration": lambda n: "x[" + "1m" * n + "]",
    "a long comment": lambda n: "x #" + "-" * n,
    "many lines": lambda n: "x" + "\n" * n,
    "many matchers": lambda n: "x{" + ",".join(f'a{i}="{i}"' for i in range(n // 4)) + "}",
    "many labels to group by": lambda n: "sum by (" + ",".join(["a"] * (n // 2)) + ") (x)",
    "many labels to match on": lambda n: "x * on (" + ",".join(f"a{i}" for i in range(n // 2)) + ") x",
    "many labels on both sides": lambda n: (
        f"x * on ({','.join(f'a{i}' for i in range(n))}) group_left ({','.join(f'b{i}' for i in range(n))}) x"
    ),
    "many arguments": lambda n: "label_join(x, 'a', 'b'" + ", 'c'" * (n // 2) + ")",
    "a long regular expression": lambda n: 'x{a=~"' + "a|" * (n // 8) + 'b"}',
    "many short regular expressions": lambda n: "x{" + ",".join(f'a=~"b{i}.*"' for i in range(n // 64)) + "}",
    "open parentheses": lambda n: "(" * n,
    "open calls": lambda n: "abs(" * n,
    "open brackets": lambda n: "x[" * n,
    "open braces": lambda n: "x{" * n,
    "signs": lambda n: "-" * n + "x",
    "powers": lambda n: "2^" * n + "2",
    "subqueries": lambda n: "x" + "[5m:]" * (n // 4),
    "closing parentheses": lambda n: ")" * n,
    "quotes": lambda n: '"' * n,
    "backslashes": lambda n: '"' + "\\" * n,
    "unknown functions": lambda n: "+".join(["ratee(x)"] * (n // 4)),
    "an unknown function with a long name": lambda n: "f" * n + "(x)",
    "digits and letters": lambda n: "1a" * n,
    "no blanks": lambda n: "xby" * n,
}
"""Texts of many kinds whose length grows with a number."""

SMALL, LARGE = 3000, 24_000


def measured(text: str) -> Iterator[float]:
    """Yield three measurements of the processor time that reading and printing takes, in seconds.

    That of this thread alone, and without garbage collection, which walks what other tests have left.
    """
    for _ in range(3):
        gc.disable()
        began = time.thread_time()
        try:
            pretty_expr(parse(text))
        except ParseError as error:
            assert len(str(error)) < 1000
        finally:
            seconds = time.thread_time() - began
            gc.enable()
        yield seconds


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_times_the_text_takes_no_more_than_about_eight_times_as_long(shape: str) -> None:
    # Quadratic time would take 64 times as long; what takes under 20 ms says nothing.
    limit = max(20 * min(measured(SHAPES[shape](SMALL))), 0.02)
    assert any(seconds < limit for seconds in measured(SHAPES[shape](LARGE)))


@pytest.mark.parametrize("shape", SHAPES)
def test_no_text_needs_a_deep_stack(shape: str) -> None:
    text = SHAPES[shape](LARGE)
    limit = sys.getrecursionlimit()
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    sys.setrecursionlimit(depth + 10 * MAX_DEPTH)
    try:
        pretty_expr(parse(text))
    except ParseError:
        pass
    finally:
        sys.setrecursionlimit(limit)


def nested(opening: str, inside: str, closing: str) -> str:
    """Return the deepest nesting that is allowed."""
    return opening * (MAX_DEPTH - 1) + inside + closing * (MAX_DEPTH - 1)


@pytest.mark.parametrize(
    "text",
    [
        nested("(", "x", ")"),
        nested("-", "x", ""),
        nested("abs(", "x", ")"),
        "max_over_time(" * (MAX_DEPTH - 2) + "x[1s]" + ")[1s:1s]" * (MAX_DEPTH - 3) + ")",
        nested("2 ^ ", "2", ""),
        "x[" + "(" * (MAX_DEPTH - 3) + "5m" + ")" * (MAX_DEPTH - 3) + "]",
    ],
)
def test_what_is_as_deep_as_allowed_is_read_and_printed(text: str) -> None:
    try:
        printed = format_expr(parse(text))
    except ParseError as error:
        pytest.fail(str(error))
    assert format_expr(parse(printed)) == printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x" * (MAX_TEXT + 1), f"got a query of {MAX_TEXT + 1} characters, wanted at most {MAX_TEXT}"),
        ("1+" * MAX_TOKENS, f"query has more than {MAX_TOKENS} tokens"),
        ("x{" + "a!='b'," * MAX_MATCHERS + "c='d'}", f"selector has more than {MAX_MATCHERS} matchers"),
        ("(" * (MAX_DEPTH + 1), f"nested more than {MAX_DEPTH} levels deep"),
    ],
)
def test_what_is_too_large_is_refused_with_the_limit(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(text)
