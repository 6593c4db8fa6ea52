"""Go's text/template as rule files use it: parsed once, expanded within bounds.

Source:
    Go `text/template` with `missingkey=zero`; Prometheus' template reference.
    Differences: bounds on work and output; a block nests at most 60 deep.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from metricsmith.errors import TemplateError
from metricsmith.rules.templates.nodes import Body, Query, State, Surroundings
from metricsmith.rules.templates.parser import parse_nodes
from metricsmith.rules.templates.values import AlertData, Sample

__all__ = ["AlertData", "Query", "Sample", "Surroundings", "Template", "expand", "parse_template"]

_NOTHING = Surroundings()


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    text: str
    body: Body

    def expand(self, data: AlertData, time_ms: int, around: Surroundings = _NOTHING) -> str:
        """Return the text for an alert, evaluated at a time.

        Raises:
            TemplateError: a function fails, or it takes too much work.

        >>> data = AlertData({"job": "shop"}, 0.25, {}, "")
        >>> parse_template("{{ $labels.job }}: {{ $value | humanizePercentage }}").expand(data, 0)
        'shop: 25%'
        """
        given = [data, data.labels, data.external_labels, data.external_url, data.value]
        slots = given + [None] * (self.body.slots - len(given))
        state = State(data, slots, around, time_ms)
        try:
            state.run(self.body.nodes)
        except ValueError as error:
            raise TemplateError(str(error), self.text) from None
        return "".join(state.out)


@lru_cache(maxsize=16_384)
def parse_template(text: str) -> Template:
    """Return the parsed template of a text; asking again costs nothing.

    Raises:
        TemplateError: it is none, with the position.
    """
    return Template(text, parse_nodes(text))


def expand(text: str, data: AlertData, time_ms: int, around: Surroundings = _NOTHING) -> tuple[str, bool]:
    """Return the text for an alert, and whether it could be made.

    Where it could not, the text says why, as in Prometheus: an alert with a
    broken text is better than none. Text without braces costs nothing.
    """
    if "{{" not in text:
        return text, True
    try:
        return parse_template(text).expand(data, time_ms, around), True
    except TemplateError as error:
        return f"<error expanding template: {error}>", False
