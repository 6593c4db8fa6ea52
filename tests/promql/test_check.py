"""What makes no sense is refused before anything is computed, with its position and often a hint."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metricsmith.errors import ParseError
from metricsmith.promql.ast import ValueType
from metricsmith.promql.functions import AGGREGATIONS, FUNCTIONS, Function
from metricsmith.promql.parser import parse

EXAMPLE = {
    ValueType.SCALAR: "1",
    ValueType.STRING: "'a'",
    ValueType.INSTANT: "{a='b'}",
    ValueType.RANGE: "x[5m]",
}


EMPTY = (
    "vector selector must contain at least one non-empty matcher"
    '; add a metric name, or a matcher such as job!=""'
)
PRECEDED = "modifier must be preceded by an instant vector selector or range vector selector or a subquery"


REFUSED = [
    (
        "rate(x)",
        5,
        'expected type range vector in call to function "rate", got instant vector; add a range such as [5m]',
    ),
    (
        "rate(sum(x))",
        5,
        'expected type range vector in call to function "rate", got instant vector'
        "; a subquery such as [5m:] makes one",
    ),
    (
        "abs(1)",
        4,
        'expected type instant vector in call to function "abs", got scalar; vector() makes one',
    ),
    ("abs(x[5m])", 4, 'expected type instant vector in call to function "abs", got range vector'),
    ("vector(x)", 7, 'expected type scalar in call to function "vector", got instant vector'),
    (
        "label_join(x, 'a', 'b', 1)",
        24,
        'expected type string in call to function "label_join", got scalar',
    ),
    (
        "sort_by_label(x, 'a', 'b', x)",
        27,
        'expected type string in call to function "sort_by_label", got instant vector',
    ),
    (
        "histogram_quantiles(x, 'q', 0.5, x)",
        33,
        'expected type scalar in call to function "histogram_quantiles", got instant vector',
    ),
    ("abs()", 0, 'expected 1 argument(s) in call to "abs", got 0'),
    ("abs(x, x)", 0, 'expected 1 argument(s) in call to "abs", got 2'),
    ("time(x)", 0, 'expected 0 argument(s) in call to "time", got 1'),
    ("round(x, 1, 2)", 0, 'expected at most 2 argument(s) in call to "round", got 3'),
    ("label_join(x, 'a')", 0, 'expected at least 3 argument(s) in call to "label_join", got 2'),
    ("1 + rat(x[5m])", 4, 'unknown function with name "rat", did you mean `rate`?'),
    ("Rate(x[5m])", 0, 'unknown function with name "Rate", did you mean `rate`?'),
    ("averge(x)", 0, 'unknown function with name "averge", did you mean `avg`?'),
    ("zzzzzz(x)", 0, 'unknown function with name "zzzzzz"'),
    ("sum()", 0, "no arguments for aggregate expression provided, sum needs a vector"),
    ("topk(x)", 0, "wrong number of arguments for aggregate expression provided, expected 2, got 1"),
    ("sum(1, x)", 0, "wrong number of arguments for aggregate expression provided, expected 1, got 2"),
    (
        "sum(1)",
        4,
        "expected type instant vector in aggregation expression, got scalar; vector() makes one",
    ),
    ("sum(x[5m])", 4, "expected type instant vector in aggregation expression, got range vector"),
    ("topk('a', x)", 5, "expected type scalar in aggregation parameter, got string"),
    ("count_values(1, x)", 13, "expected type string in aggregation parameter, got scalar"),
    ("1 == 2", 2, "comparisons between scalars must use BOOL modifier; write == bool"),
    ("time() > (1)", 7, "comparisons between scalars must use BOOL modifier; write > bool"),
    ("a + bool b", 2, 'bool modifier can only be used on comparison operators, got "+"'),
    (
        "a and 1",
        0,
        'set operator "and" not allowed in binary scalar expression; vector() makes a scalar a vector',
    ),
    (
        "1 or a",
        0,
        'set operator "or" not allowed in binary scalar expression; vector() makes a scalar a vector',
    ),
    (
        "a + x[5m]",
        4,
        "binary expression must contain only scalar and instant vector types, got range vector",
    ),
    ("'a' + b", 0, "binary expression must contain only scalar and instant vector types, got string"),
    (
        "1 + on (a) b",
        0,
        "vector matching only allowed between instant vectors, got scalar and instant vector",
    ),
    ("a and on (x) group_left () b", 0, 'no grouping allowed for "and" operation, got group_left'),
    ("a * on (x, y) group_left (z, y) b", 2, 'label "y" must not occur in ON and GROUP clause at once'),
    (
        "-'a'",
        0,
        'unary expression only allowed on expressions of type scalar or instant vector, got "string"',
    ),
    (
        "1 - -x[5m]",
        4,
        'unary expression only allowed on expressions of type scalar or instant vector, got "range vector"',
    ),
    (
        "{}",
        0,
        EMPTY,
    ),
    (
        "1 + {a=''}",
        4,
        EMPTY,
    ),
    (
        "{a=~'.*', b!='x'}",
        0,
        EMPTY,
    ),
    (
        '{""}',
        0,
        EMPTY,
    ),
    ("x{__name__='y'}", 0, 'metric name must not be set twice: "x" or "y"'),
    ("x{'y'}", 0, 'metric name must not be set twice: "x" or "y"'),
    ("(x)[5m]", 3, "ranges only allowed for vector selectors; elsewhere a subquery such as [5m:] makes one"),
    (
        "x[5m][5m]",
        5,
        "ranges only allowed for vector selectors; elsewhere a subquery such as [5m:] makes one",
    ),
    ("x offset 1m [5m]", 12, "no offset modifiers allowed before range; write x[5m] offset 1m"),
    ("x @ 1 [5m]", 6, "no @ modifiers allowed before range; write x[5m] @ end()"),
    ("1[5m:]", 0, "subquery is only allowed on instant vector, got scalar instead"),
    ("x[5m][5m:]", 0, "subquery is only allowed on instant vector, got range vector instead"),
    ("x offset 1m offset 2m", 0, "offset may not be set multiple times"),
    ("x[5m] @ 1 @ end()", 0, "@ <timestamp> may not be set multiple times"),
    (
        "1 + (x) offset 5m",
        4,
        f"offset {PRECEDED}, got parentheses",
    ),
    (
        "abs(x) @ 1",
        0,
        f"@ {PRECEDED}, got abs()",
    ),
]


@pytest.mark.parametrize(("text", "position", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_with_its_position(text: str, position: int, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert caught.value.position == position
    assert str(caught.value) == f"1:{position + 1}: parse error: {message}"


UNLIKE_2_42 = {
    "sort_by_label(x, 'a', 'b', x)": "no such function in 2.42",
    "histogram_quantiles(x, 'q', 0.5, x)": "no such function in 2.42",
    '{""}': "no quoted names in 2.42",
    "x{'y'}": "no quoted names in 2.42",
    "x[5m][5m:]": "2.42 says matrix here, range vector elsewhere",
}


@pytest.mark.parametrize(("text", "position", "message"), REFUSED)
def test_prometheus_says_the_same_without_our_hints(
    text: str, position: int, message: str, refusal: Callable[[str], str | None]
) -> None:
    theirs = refusal(text)
    assert theirs is not None
    if text not in UNLIKE_2_42:
        assert f"1:{position + 1}: parse error: {message}".startswith(theirs)


def call(function: Function, count: int) -> str:
    """Return a call with well-typed arguments."""
    args = [EXAMPLE[function.arg_type(index)] for index in range(count)]
    return f"{function.name}({', '.join(args)})"


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_every_function_takes_its_arguments_and_no_others(function: Function) -> None:
    most = min(function.most, 12)
    for count in range(function.least, most + 1):
        parse(call(function, count))
    wrong_counts = [function.least - 1] if function.least else []
    if function.most == most and function.arg_types:
        wrong_counts.append(most + 1)
    for count in wrong_counts:
        with pytest.raises(ParseError, match="argument"):
            parse(call(function, count))
    for wanted in function.arg_types[:1]:
        wrong = EXAMPLE[ValueType.STRING if wanted is not ValueType.STRING else ValueType.RANGE]
        with pytest.raises(ParseError, match=f"expected type {wanted}"):
            parse(call(function, most).replace(EXAMPLE[wanted], wrong, 1))


@pytest.mark.parametrize("op", AGGREGATIONS)
def test_every_aggregation_takes_its_parameter(op: str) -> None:
    param_type = AGGREGATIONS[op].parameter
    args = [EXAMPLE[param_type], "x"] if param_type is not None else ["x"]
    parse(f"{op}({', '.join(args)})")
    for wrong in (args[1:], [*args, "x"]):
        with pytest.raises(ParseError, match="arguments for aggregate expression"):
            parse(f"{op}({', '.join(wrong)})")


@pytest.mark.parametrize(
    "text",
    [
        *("mad_over_time(x[5m])", "limitk(1, x)", "info(x)", "step()"),
        *("rate(x[5m] anchored)", "x smoothed", "x + fill(0) y"),
    ],
)
def test_experiments_can_be_switched_off(text: str) -> None:
    parse(text)
    with pytest.raises(ParseError, match="the setting query\\.experimental allows it"):
        parse(text, experimental=False)


@pytest.mark.parametrize(
    "text",
    [
        "'a string'",
        "x[5m]",
        "1 == bool 2",
        "a == 1",
        "a > bool 1",
        "a / on (x) group_left (y) b",
        "a / ignoring (x) group_left (x) b",
        "{a=~'.+'}",
        "{a!=''}",
        "{a='', b='c'}",
        "(x)[5m:]",
        "-sum_over_time(x[5m:1m]) > 0",
        "info(x, {a=~'.*'})",
        "scalar(x) == bool time()",
        "vector(5m)",
        "topk(scalar(x), x)",
        "x @ end() offset 1m",
    ],
)
def test_what_makes_sense_is_accepted(text: str) -> None:
    parse(text)
