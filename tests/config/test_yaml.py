"""What editors and habits do to YAML files ends in a configuration or in one clear line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config import load_file

MERGED = """
sources:
- &base
  type: scrape
  interval: 1s
  targets: [a]
- <<: *base
  name: b
- <<: [{interval: 7s}, *base]
  name: c
  targets: [x, y]
"""
CHAIN = "a0: &a0 [x]\n" + "\n".join(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 400))
MULTIPLIED = "\n".join(
    ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]", *(f"a{i}: &a{i} [{f'*a{i - 1},' * 10}]" for i in range(1, 9))]
)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "service:\n\tname: x",
            "m.yaml:2: not YAML: while scanning for the next token found character that cannot start any "
            "token (a tab stands there; YAML is indented with spaces)",
        ),
        ("service: {}\n---\nservice: {}", "m.yaml:2: got a second document after ---, wanted one document"),
        ("service:\r\n  typ: x\r\n", 'm.yaml:2: service.typ: unknown key (did you mean "type"?)'),
        ("service: {<<: 5}", "m.yaml:1: service.<<: wanted an alias of a mapping, such as *base"),
        ("service: {}\nserver: \0", "m.yaml:2: not YAML: got the control character #x00"),
        ("service: !Foo {}", "m.yaml:1: service: got the tag !Foo, wanted plain values"),
        ("a: " + "[" * 60_000, "m.yaml: got more than 50 levels of nesting (line 1)"),
        (CHAIN, "m.yaml:48: a49[0][0]: got more than 50 levels of nesting"),
        (MULTIPLIED, "m.yaml: got more than 200000 values, aliases written out (line 6)"),
        ("service: *b", "m.yaml:1: not YAML: found undefined alias"),
    ],
)
def test_text_that_is_no_configuration_is_one_clear_line(
    problems: Callable[..., list[str]], text: str, wanted: str
) -> None:
    assert problems(text)[-1] == wanted


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfservice: {name: x}",
        b"service:\r\n  name: x\r\n",
        b"---\nservice: {name: x}\n...\n",
        b"service:\n  name: x  \t# a tab before a comment\n",
    ],
)
def test_marks_and_line_ends_of_editors_do_no_harm(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "m.yaml"
    file.write_bytes(text)
    assert load_file(file, {}).settings.service.name == "x"


def test_merge_keys_give_what_a_part_does_not_say_itself(load: Callable[..., Any]) -> None:
    found = [(p.name, p.config.interval, p.config.targets) for p in load(MERGED).of("sources")]
    assert found == [("scrape", 1000, ("a",)), ("b", 1000, ("a",)), ("c", 7000, ("x", "y"))]


def test_mistake_that_was_merged_in_has_the_line_where_it_stands(
    problems: Callable[..., list[str]],
) -> None:
    found = problems(MERGED.replace("1s", "0s"))
    assert [p.split(": ")[:2] for p in found] == [
        ["m.yaml:5", "sources[0].interval"],
        ["m.yaml:5", "sources[1].interval"],
    ]
