"""The modifiers `fill_left` and `fill_right`, held against their definition one step at a time."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

STEPS = 3
values = st.one_of(st.none(), st.integers(1, 9).map(float))
sides = st.dictionaries(st.sampled_from("abcd"), st.lists(values, min_size=STEPS, max_size=STEPS), max_size=4)
fills = st.one_of(st.none(), st.sampled_from([0.0, -1.0, 5.0]))
Side = dict[str, list[float | None]]


def lines(name: str, label: str, side: Side) -> list[str]:
    # What is missing is stale, so that it is not found again from the step before.
    return [
        f'{name}{{{label}="{key}"}} ' + " ".join("stale" if v is None else str(v) for v in row)
        for key, row in side.items()
    ]


def modifiers(left: float | None, right: float | None) -> str:
    return (f" fill_left ({left})" if left is not None else "") + (
        f" fill_right ({right})" if right is not None else ""
    )


@given(left=sides, right=sides, fill_left=fills, fill_right=fills)
def test_one_to_one(
    given_series: Any, left: Side, right: Side, fill_left: float | None, fill_right: float | None
) -> None:
    ask = given_series("\n".join([*lines("l", "i", left), *lines("r", "i", right), "other 1"]))
    wanted: dict[str, list[float | None]] = {}
    for key in left.keys() | right.keys():
        row = []
        for step in range(STEPS):
            a, b = (side[key][step] if key in side else None for side in (left, right))
            if a is None and b is not None:
                a = fill_left
            elif b is None and a is not None:
                b = fill_right
            row.append(None if a is None or b is None else a - b)
        if any(v is not None for v in row):
            wanted[f"{{i='{key}'}}"] = row
    assert ask.over(f"l -{modifiers(fill_left, fill_right)} r", STEPS - 1) == wanted


@given(many=sides, one=sides, fill_left=fills, fill_right=fills)
def test_many_to_one(
    given_series: Any, many: Side, one: Side, fill_left: float | None, fill_right: float | None
) -> None:
    """Series a and b belong to group x, c and d to group y; the one side has the groups a (x) and b (y)."""
    group = {"a": "x", "b": "x", "c": "y", "d": "y"}
    ones = {group_: one[key] for key, group_ in (("a", "x"), ("b", "y")) if key in one}
    rows = [line.replace('{i="', f'{{g="{group[line[5]]}",i="') for line in lines("m", "i", many)]
    ask = given_series("\n".join([*rows, *lines("o", "g", ones), "other 1"]))
    wanted: dict[str, list[float | None]] = {}
    for step in range(STEPS):
        for name in ("x", "y"):
            b = ones[name][step] if name in ones else None
            here = {i: v for i, row in many.items() if group[i] == name and (v := row[step]) is not None}
            found = {f"{{g='{name}', i='{i}'}}": a for i, a in here.items()}
            if not here and b is not None and fill_left is not None:
                found = {f"{{g='{name}'}}": fill_left}
            partner = fill_right if b is None else b
            for labels, a in found.items():
                if partner is not None:
                    wanted.setdefault(labels, [None] * STEPS)[step] = a - partner
    query = f"m - on (g) group_left (){modifiers(fill_left, fill_right)} o"
    assert ask.over(query, STEPS - 1) == wanted
    mirrored = f"o - on (g) group_right (){modifiers(fill_right, fill_left)} m"
    negative = {k: [None if v is None else -v for v in row] for k, row in wanted.items()}
    assert ask.over(mirrored, STEPS - 1) == negative
