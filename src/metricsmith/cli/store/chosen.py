"""What of the history a command is about: the series that selectors match, in a range of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from metricsmith.model.matchers import Matcher

From = Annotated[
    str | None,
    typer.Option(
        "--start",
        metavar="TIME",
        help="From: RFC 3339, Unix seconds, or -7d before now.",
        show_default="all",
    ),
]
Until = Annotated[str | None, typer.Option("--end", metavar="TIME", help="Until.", show_default="all")]


def read_selectors(texts: Sequence[str], *, may_match_all: bool = False) -> list[Sequence[Matcher]]:
    """Return the matchers of each `--match`.

    Raises:
        typer.BadParameter: one is no selector, or matches everything and must not.
    """
    from metricsmith.errors import ParseError
    from metricsmith.syntax.selector import parse_selector

    try:
        return [parse_selector(text, may_match_all=may_match_all).matchers for text in texts]
    except ParseError as error:
        raise typer.BadParameter(f"--match: {error}") from None
