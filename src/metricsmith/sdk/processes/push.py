"""Pushes: changes with the number that makes each count once, as frames of one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from metricsmith.sdk.processes.cells import Cell, Change, Shape
from metricsmith.sdk.processes.messages import MAX_LABELS, MAX_LINES

MAX_CELLS, MAX_TEXT = 1_000, 1 << 20
"""Of one frame. A character may take six bytes there."""
MAX_CELL_TEXT = 64 << 10
_BIN_TEXT = 16
"""Characters to tell of a bin, about."""


class Push(NamedTuple):
    """Changes that are applied together, or not at all."""

    number: int
    changes: list[Change]


def in_pushes(changes: Iterable[Change], first: int) -> Iterator[Push]:
    """Yield changes in pushes that are small enough for a frame, numbered on from `first`."""
    part: list[Change] = []
    text = 0
    for change in changes:
        size = change.cell.size
        if change.bins is not None:
            size += _BIN_TEXT * (len(change.bins[0]) + len(change.bins[1]))
        if part and (len(part) == MAX_CELLS or text + size > MAX_TEXT):
            yield Push(first, part)
            first, part, text = first + 1, [], 0
        part.append(change)
        text += size
    if part:
        yield Push(first, part)


def too_large(change: Change) -> bool:
    """Return whether labels and lines are longer, or more, than a reader takes, who refuses all of a push."""
    cell = change.cell
    return (
        cell.size > MAX_CELL_TEXT or len(cell.label_names) > MAX_LABELS or len(cell.shape.lines) > MAX_LINES
    )


class Encoder:
    """Numbers cells and shapes in one connection; each is defined when it is first used."""

    def __init__(self) -> None:
        self._cells: dict[Cell, int] = {}
        self._shapes: dict[Shape, int] = {}
        self._next = 0

    def message(self, push: Push) -> dict[str, Any]:
        """Return a push as it is sent, with the definitions that it needs."""
        known, shapes = len(self._shapes), self._shapes
        cells: list[Any] = []
        changes: list[Any] = []
        for cell, values, bins in push.changes:
            number = self._cells.get(cell)
            if number is None:
                if values is None:  # was told in an earlier connection
                    continue
                number = self._cells[cell] = self._next
                self._next += 1
                cells.append((number, shapes.setdefault(cell.shape, len(shapes)), cell.labels))
            elif values is None:
                del self._cells[cell]
            changes.append((number, values) if bins is None else (number, values, _lists(*bins)))
        message = {"push": push.number, "cells": cells, "changes": changes}
        if len(shapes) > known:
            message["shapes"] = list(islice(shapes, known, None))
        return message


def _lists(positive: dict[int, int], negative: dict[int, int], zero: int) -> tuple[Any, Any, int]:
    return list(positive.items()), list(negative.items()), zero
