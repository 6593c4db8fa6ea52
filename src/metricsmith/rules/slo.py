"""Objectives: a share of events that must be good, written as one rule.

It becomes error ratios over several windows, the error budget that is left, and two alerts on how fast
the budget burns.

Source:
    The Site Reliability Workbook (Google, 2018), chapter 5, table 5-8: a page for 2% of the budget in an
    hour or 5% in six, a ticket for 10% in a day or three, each confirmed by a twelfth of the window.
    Names of series as Sloth has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.duration import format_duration
from metricsmith.model.settings_types import DurationMs
from metricsmith.rules.model import AlertingRule, NoData, Origin, RecordingRule, Rule
from metricsmith.rules.schema import Expr, LabelName, Labels, Name, enclosed

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
ALERT = "ErrorBudgetBurn"
PLACEHOLDER = "[window]"
BASE_MS = 5 * MINUTE_MS
_OWN_LABELS = ("slo", "severity")
_TEXT = r'"(?:[^"\\]|\\.)*"' + "|" + r"'(?:[^'\\]|\\.)*'"
_SELECTOR = re.compile(
    rf"[a-zA-Z_:][a-zA-Z0-9_:]*\s*(?:\{{(?:[^\"'`{{}}]|{_TEXT})*\}})?", re.ASCII | re.DOTALL
)


class Burn(NamedTuple):
    """An alert fires when `share` of the budget burns in `long_ms`, and it goes on in `short_ms`."""

    severity: str
    share: Decimal
    long_ms: int
    short_ms: int


BURNS = (
    Burn("page", Decimal("0.02"), HOUR_MS, 5 * MINUTE_MS),
    Burn("page", Decimal("0.05"), 6 * HOUR_MS, 30 * MINUTE_MS),
    Burn("ticket", Decimal("0.10"), DAY_MS, 2 * HOUR_MS),
    Burn("ticket", Decimal("0.10"), 3 * DAY_MS, 6 * HOUR_MS),
)


def _events(expr: str) -> str:
    if PLACEHOLDER not in expr and not _SELECTOR.fullmatch(expr.strip()):
        raise ValueError(
            f'got "{expr.strip()[:60]}", wanted a counter such as requests_total{{code=~"5.."}},'
            f" or an expression with {PLACEHOLDER}, such as sum(rate(requests_total{PLACEHOLDER}))"
        )
    return expr.strip()


def _percent(value: Decimal) -> Decimal:
    if value == 100:
        raise ValueError(
            "got 100, wanted less: it leaves no error budget, so that nothing can burn slowly or fast;"
            " alert on every error with a plain rule"
        )
    if not 1 < value < 100:  # not a number is neither
        raise ValueError(f"got {value}, wanted a percentage above 1 and below 100, such as 99.9")
    return value


Events = Annotated[Expr, AfterValidator(_events)]


class SloConfig(PartConfig):
    """An objective: a share of events that must be good, and alerts on how fast the rest is used up."""

    slo: Name = Field(description="Name of the objective, the label `slo` of all its series and alerts.")
    objective: Annotated[Decimal, AfterValidator(_percent)] = Field(
        description="Percentage of events that must be good."
    )
    total: Events = Field(
        description="All events: a counter, or an expression with `[window]` where its range stands."
    )
    errors: Events | None = Field(None, description="The bad ones; either this or `good`.")
    good: Events | None = Field(None, description="The good ones.")
    by: tuple[LabelName, ...] = Field(
        (),
        max_length=20,
        description="Labels to keep, where counters are given: an objective for each value.",
    )
    window: DurationMs = Field(
        30 * DAY_MS,
        ge=7 * DAY_MS,
        le=366 * DAY_MS,
        description="What the objective, and so its budget, is about.",
    )
    labels: Labels = Field(default_factory=dict, description="Added to each alert; values are templates.")
    annotations: Labels = Field(default_factory=dict, description="Texts for people; values are templates.")
    no_data: NoData | None = Field(
        None, description="What happens when the series have no samples any more. Not in Prometheus."
    )


@dataclass(frozen=True, slots=True)
class _Objective:
    """An objective, and how its series are named and selected."""

    config: SloConfig
    origin: Origin

    @property
    def budget(self) -> Decimal:
        """Share of the events that may fail, without the noise of binary fractions."""
        return (100 - self.config.objective) / 100

    def ratio(self, window_ms: int) -> str:
        """Return the selector of the error ratio over a window."""
        return self.select(f"slo:sli_error:ratio_rate{format_duration(window_ms)}")

    def select(self, name: str) -> str:
        """Return the selector of one of the objective's series."""
        quoted = self.config.slo.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}{{slo="{quoted}"}}'

    def record(self, name: str, expr: str) -> RecordingRule:
        """Return a rule that records an expression with the objective's label."""
        return RecordingRule(name, expr, {"slo": self.config.slo}, self.origin)

    def factor(self, burn: Burn) -> Decimal:
        """Return how many times faster than allowed the budget burns when an alert fires.

        No less than once: over a short window, 10% in three days is slower than allowed.
        """
        return max(Decimal(1), round(burn.share * self.config.window / burn.long_ms, 6))

    def reachable(self, burn: Burn) -> bool:
        """Return whether a burn is possible at all: more than all events cannot fail."""
        return self.factor(burn) * self.budget < 1


def expand_slo(config: SloConfig, origin: Origin, interval_ms: int) -> tuple[Rule, ...]:
    """Return the recordings and the alerts of an objective.

    Raises:
        ValueError: neither or both of `errors` and `good` are given, or a label is one that is set here.
    """
    if (config.errors is None) == (config.good is None):
        got = "neither errors nor good" if config.errors is None else "both errors and good"
        raise ValueError(f"got {got}, wanted one of them")
    own = [name for name in _OWN_LABELS if name in config.labels or name in config.by]
    if own:
        raise ValueError(f"got the label {own[0]}, wanted others: its value is set here")
    given = [config.total, config.errors or "", config.good or ""]
    if config.by and any(PLACEHOLDER in expr for expr in given):
        raise ValueError(
            f"got `by` and an expression with {PLACEHOLDER}, wanted the labels in the expression"
        )
    objective = _Objective(config, origin)
    return (*_recordings(objective), *_alerts(objective))


def slo_parts(config: SloConfig) -> Iterator[tuple[str, str]]:
    """Yield the expressions that are given, by their keys, as they are evaluated over five minutes."""
    for key in ("total", "errors", "good"):
        events = getattr(config, key)
        if events is not None:
            base = f"[{format_duration(BASE_MS)}]"
            yield key, events.replace(PLACEHOLDER, base)


def slo_remarks(config: SloConfig) -> Iterator[str]:
    """Yield what the author of an objective should know."""
    objective = _Objective(config, Origin())
    for burn in BURNS:
        if not objective.reachable(burn):
            long, factor = format_duration(burn.long_ms), _plain(objective.factor(burn))
            percent = _plain(objective.budget * 100)
            yield (
                f"{config.slo}: {factor} times a budget of {percent}% is more than all events:"
                f" {long} has no part in the {burn.severity} alert"
            )


def _recordings(objective: _Objective) -> Iterator[Rule]:
    config = objective.config
    for window_ms in sorted({ms for burn in BURNS for ms in (burn.long_ms, burn.short_ms)}):
        name = f"slo:sli_error:ratio_rate{format_duration(window_ms)}"
        errors, total = _errors(config, window_ms), _rate(config, config.total, window_ms)
        # Without traffic there is no ratio: 0 / 0 would be a value that compares with nothing.
        yield objective.record(name, f"clamp(\n  ({errors})\n  / ({total} > 0),\n  0, 1\n)")
    # Over the whole window, what is recorded is summed up: raw samples would be too many, and an average of
    # ratios would weigh a night as much as a day.
    base = format_duration(BASE_MS)
    yield objective.record(f"slo:sli_errors:rate{base}", _errors(config, BASE_MS))
    yield objective.record(f"slo:sli_total:rate{base}", _rate(config, config.total, BASE_MS))
    whole = format_duration(config.window)
    errors, total = (
        f"sum_over_time({objective.select(f'slo:sli_{what}:rate{base}')}[{whole}])"
        for what in ("errors", "total")
    )
    yield objective.record(f"slo:sli_error:ratio_rate{whole}", f"clamp({errors} / ({total} > 0), 0, 1)")
    yield objective.record("slo:objective:ratio", f"vector({_plain(1 - objective.budget)})")
    yield objective.record("slo:error_budget:ratio", f"vector({_plain(objective.budget)})")
    left = f"1 - {objective.ratio(config.window)} / {_plain(objective.budget)}"
    yield objective.record("slo:error_budget_remaining:ratio", left)


def _alerts(objective: _Objective) -> Iterator[Rule]:
    config = objective.config
    for severity in ("page", "ticket"):
        conditions = []
        for burn in BURNS:
            if burn.severity == severity and objective.reachable(burn):
                limit = f"{_plain(objective.factor(burn))} * {_plain(objective.budget)}"
                conditions.append(
                    f"(\n  {objective.ratio(burn.long_ms)} > ({limit})\n"
                    f"  and {objective.ratio(burn.short_ms)} > ({limit})\n)"
                )
        if conditions:
            yield AlertingRule(
                name=ALERT,
                expr="\nor\n".join(conditions),
                labels={**config.labels, "slo": config.slo, "severity": severity},
                annotations={"summary": _SUMMARY, **config.annotations},
                no_data=config.no_data,
                origin=objective.origin,
            )


_SUMMARY = "{{ $labels.slo }} uses up its error budget: {{ $value | humanizePercentage }} of the events fail"


def _errors(config: SloConfig, window_ms: int) -> str:
    """Return the rate of bad events: 0 where no series of that kind has come to be yet."""
    total = _rate(config, config.total, window_ms)
    if config.errors is not None:
        return f"{_rate(config, config.errors, window_ms)} or {total} * 0"
    assert config.good is not None
    return f"{total} - ({_rate(config, config.good, window_ms)} or {total} * 0)"


def _rate(config: SloConfig, events: str, window_ms: int) -> str:
    window = format_duration(window_ms)
    if PLACEHOLDER in events:
        return enclosed(events.replace(PLACEHOLDER, f"[{window}]"))
    by = f" by ({', '.join(config.by)})" if config.by else ""
    return f"sum{by} (rate({events}[{window}]))"


def _plain(number: Decimal) -> str:
    """Return a number without exponent and without zeros at its end."""
    return f"{number.normalize():f}"
