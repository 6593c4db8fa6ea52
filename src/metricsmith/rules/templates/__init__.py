"""Go's text/template as rule files use it: parsed once, expanded within bounds.

Source:
    Go `text/template` with `missingkey=zero`; Prometheus' template reference.
    Differences: bounds on work and output; a block nests at most 60 deep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from metricsmith.errors import TemplateError
from metricsmith.rules.templates.nodes import Body, Query, State, Surroundings
from metricsmith.rules.templates.parser import parse_nodes
from metricsmith.rules.templates.values import AlertData, Sample

__all__ = ["Expander", "Query", "Sample", "Surroundings", "Template", "parse_template"]

_NOTHING = Surroundings()


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    text: str
    body: Body

    def expand(
        self, labels: Mapping[str, str], value: float, time_ms: int, around: Surroundings = _NOTHING
    ) -> str:
        """Return the text for an alert, evaluated at a time.

        Raises:
            TemplateError: a function fails, or it takes too much work.

        >>> parse_template("{{ $labels.job }}: {{ $value | humanize }}").expand({"job": "a"}, 1234.0, 0)
        'a: 1.234k'
        """
        data = AlertData(labels, value, around.external_labels, around.external_url)
        given = [data, labels, around.external_labels, around.external_url, value]
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


class Expander:
    """Expands the texts of alerts. `failed` hears of each template that fails, to count and log it.

    The text says then why, as in Prometheus: an alert with a broken text is
    better than none. Text without braces costs nothing.

    >>> Expander()("{{ humanize $value }}", {}, 1234.0, 0)
    '1.234k'
    """

    def __init__(
        self, around: Surroundings = _NOTHING, failed: Callable[[TemplateError], None] | None = None
    ) -> None:
        self._around = around
        self._failed = failed

    def __call__(self, text: str, labels: Mapping[str, str], value: float, time_ms: int) -> str:
        """Return the text for an alert's labels and value, at the time of the evaluation."""
        if "{{" not in text:
            return text
        try:
            return parse_template(text).expand(labels, value, time_ms, self._around)
        except TemplateError as error:
            if self._failed is not None:
                self._failed(error)
            return f"<error expanding template: {error}>"
