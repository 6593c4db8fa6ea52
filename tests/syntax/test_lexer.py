"""Query text becomes tokens with positions; literals have Go's values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.syntax import lexer
from metricsmith.syntax.lexer import tokenize
from metricsmith.syntax.literals import LiteralError, duration_value, number_value, string_value


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("sum BY", "sum by"),
        ("x:y foo_1", "metric-identifier identifier"),
        ("1==2!=3<=4>=5<6>7", "number == number != number <= number >= number < number > number"),
        ("{sum=~`a`,by!~'b'}", "{ identifier =~ string , identifier !~ string }"),
        ("{sum!='c'}", "{ identifier != string }"),
        ("x[5m:10]", "identifier [ duration : number ]"),
        ("x[Min(5m,step())]", "identifier [ identifier ( duration , identifier ( ) ) ]"),
        ("1 .5 5. 1e3 0x1F", "number number number number number"),
        ("1_0 Inf NaN 5m", "number number number duration"),
        ("# only a comment", ""),
        ("a#b\r\nc", "identifier identifier"),
        ("'#' \"#\" `#\n`", "string string string"),
        ("@-1", "@ - number"),
        ("inf{nan='1'}", "number { identifier = string }"),
    ],
)
def test_the_same_characters_are_read_according_to_where_they_stand(text: str, kinds: str) -> None:
    *tokens, end = tokenize(text)
    assert [token.kind.replace(" ", "-") for token in tokens] == kinds.split()
    assert (end.kind, end.start) == (lexer.END, len(text))
    assert all(text[token.start : token.end] == token.text for token in tokens)


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("a + $", 4, "unexpected character: '$'"),
        ('x{a="b', 4, 'unterminated quoted string, no closing " follows in the same line'),
        ('"a\nb"', 0, 'unterminated quoted string, no closing " follows in the same line'),
        ("`a", 0, "unterminated raw string, no closing ` follows"),
        ("x{a=b.}", 5, "unexpected character inside braces: '.'"),
        ("x{", 2, "unexpected end of input inside braces, opened at 1:2"),
        ("(x", 2, "unclosed left parenthesis, opened at 1:1"),
        ("x[5m", 4, "unclosed left bracket, opened at 1:2"),
        ("x)", 1, "unexpected right parenthesis ')'"),
        ("x]", 1, "unexpected right bracket ']'"),
        ("x}", 1, "unexpected character: '}'"),
        ("x[[", 2, "unexpected character in duration expression: '['"),
        ("a ! b", 2, "unexpected character after '!': ' '"),
        ("a =~ b", 2, "unexpected character after '=': '~', regular expressions are matched inside braces"),
        ("1.2.3", 0, 'bad number or duration syntax: "1.2.3"'),
        ("1__0", 0, 'bad number or duration syntax: "1__0"'),
        ("0x1.8", 0, 'bad number or duration syntax: "0x1.8"'),
        ("x[5mm]", 2, 'bad number or duration syntax: "5mm"'),
    ],
)
def test_what_cannot_be_read_is_named_with_its_position(text: str, position: int, message: str) -> None:
    last = tokenize(text)[-1]
    assert (last.kind, last.start, last.text) == (lexer.ERROR, position, message)


@given(st.text(st.sampled_from("ab_:.15mxe \n#\"'`\\(){}[]=!~<>+-*/^%@,é\x00"), max_size=60))
def test_tokens_cover_everything_up_to_an_error_but_blanks_and_comments(text: str) -> None:
    *tokens, last = tokenize(text)
    position = 0
    for token in [*tokens, last]:
        skipped = text[position : token.start]
        assert all(line.strip(" \t\r") == "" or "#" in line for line in skipped.splitlines())
        position = token.end
    assert last.kind in (lexer.END, lexer.ERROR)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("007", 7.0),
        ("010", 8.0),
        ("089", 89.0),
        ("01.5", 1.5),
        ("0x1F", 31.0),
        ("0X_f_f", 255.0),
        ("1_000.5", 1000.5),
        ("5.", 5.0),
        (".5e-3", 0.0005),
        ("iNf", math.inf),
        ("9223372036854775808", 9223372036854775808.0),
        ("0777777777777777777777", 9223372036854775807.0),
        ("07777777777777777777777777", 7777777777777777777777777.0),
    ],
)
def test_numbers_have_the_value_that_go_gives_them(text: str, value: float) -> None:
    assert number_value(text) == value


def test_not_a_number_is_a_number() -> None:
    assert math.isnan(number_value("NaN"))


@pytest.mark.parametrize("text", ["1e999", "0x8000000000000000"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(LiteralError, match="out of range"):
        number_value(text)


def test_durations_are_seconds() -> None:
    assert duration_value("1h30m") == 5400
    assert duration_value("1s500ms") == 1.5
    with pytest.raises(LiteralError, match="not a valid duration"):
        duration_value("5m1h")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"a\n\t\\\"b"', 'a\n\t\\"b'),
        (r"'\''", "'"),
        (r"`\n'" + '"`', "\\n'\""),
        (r'"\101\x41\u0041\U00000041"', "AAAA"),
        (r'"\xe4\xb8\x96世"', "世世"),
        (r'"\000"', "\0"),
        ('""', ""),
    ],
)
def test_strings_are_unquoted_as_in_go(text: str, value: str) -> None:
    assert string_value(text) == value


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        (r'"\q"', 1),
        (r"'a\"'", 2),
        (r'"\x4"', 1),
        (r'"\777"', 1),
        (r'"\ud800"', 1),
        (r'"\U00110000"', 1),
        (r'"\xff"', 0),
    ],
)
def test_bad_escapes_are_refused_where_they_stand(text: str, offset: int) -> None:
    with pytest.raises(LiteralError) as caught:
        string_value(text)
    assert caught.value.offset == offset
