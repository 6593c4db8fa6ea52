"""Series selectors that come as parameters."""

from __future__ import annotations

from metricsmith.api.errors import ApiError, bad_parameter
from metricsmith.api.params import Params
from metricsmith.errors import ParseError
from metricsmith.model.matchers import Matcher
from metricsmith.syntax.selector import parse_selector

MAX_SELECTORS = 100


def read_selectors(params: Params, *, may_match_all: bool = False) -> list[tuple[Matcher, ...]]:
    """Return the matchers of each `match[]` parameter."""
    texts = params.all("match[]")
    if len(texts) > MAX_SELECTORS:
        raise ApiError("bad_data", f"got {len(texts)} match[] parameters, wanted at most {MAX_SELECTORS}")
    return [read_selector("match[]", text, may_match_all=may_match_all) for text in texts]


def read_selector(name: str, text: str, *, may_match_all: bool) -> tuple[Matcher, ...]:
    """Return the matchers in a parameter called `name`."""
    try:
        return parse_selector(text, may_match_all=may_match_all).matchers
    except ParseError as error:
        if "at least one non-empty matcher" in str(error):
            raise bad_parameter(name, f"{name} must contain at least one non-empty matcher") from None
        raise bad_parameter(name, str(error)) from None
