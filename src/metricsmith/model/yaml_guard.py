"""Refuses YAML that would cost its reader far more than its length."""

from __future__ import annotations

import yaml

MAX_DEPTH = 50
MAX_NODES = 200_000
"""Counted with every alias written out, for merge keys copy what they refer to. A node takes about
half a kilobyte and 10 µs."""
MAX_PLAIN = 10_000
"""Longest text without quotes: `1:1:1…` is a number to base 60, read in quadratic time."""


def check_depth(text: str | bytes) -> None:
    """Refuse a text that nests too deeply or holds too many values, before anything is composed.

    PyYAML composes recursively in C: a few kilobytes of opening brackets end the
    process with a stack overflow. Events come one by one and need no stack.

    Raises:
        ValueError: says the limit and the line.
        yaml.YAMLError: not YAML.
    """
    sizes = [0]  # of each open collection, the document outermost
    anchors: list[str | None] = []
    known: dict[str, int] = {}
    total = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            anchors.append(event.anchor)
            sizes.append(1)
            grown = 1
            if len(anchors) > MAX_DEPTH:
                raise _refusal(event, f"got more than {MAX_DEPTH} levels of nesting")
        elif isinstance(event, yaml.CollectionEndEvent):
            size, anchor = sizes.pop(), anchors.pop()
            sizes[-1] += size
            grown = 0
            if anchor is not None:
                known[anchor] = size
        elif isinstance(event, yaml.AliasEvent):
            name = event.anchor or ""
            if name in anchors:
                raise _refusal(event, f"got an alias *{name[:50]} inside of what it refers to")
            grown = known.get(name, 1)
            sizes[-1] += grown
        elif isinstance(event, yaml.ScalarEvent):
            grown = 1
            sizes[-1] += 1
            if len(event.value) > MAX_PLAIN and event.implicit[0]:
                raise _refusal(event, f"got a value of {len(event.value)} characters without quotes")
            if event.anchor is not None:
                known[event.anchor] = 1
        else:
            continue
        total += grown
        if total > MAX_NODES:
            raise _refusal(event, f"got more than {MAX_NODES} values, aliases written out")


def _refusal(event: yaml.Event, what: str) -> ValueError:
    line = event.start_mark.line + 1 if event.start_mark else 0
    return ValueError(f"{what} (line {line})")
