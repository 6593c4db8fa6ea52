"""The kinds of rules: the key that names each, its fields, and the plain rules that it stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from metricsmith.contracts import PartConfig
from metricsmith.rules.anomaly import AnomalyConfig, anomaly_parts, anomaly_remarks, expand_anomaly
from metricsmith.rules.model import AlertingRule, Origin, RecordingRule, Rule
from metricsmith.rules.schema import AlertConfig, RecordConfig
from metricsmith.rules.slo import SloConfig, expand_slo, slo_parts, slo_remarks

Expand: TypeAlias = Callable[[Any, Origin, int], tuple[Rule, ...]]
"""Return the rules that a typed config stands for; every one has the given origin.

The number is the interval of the group, in milliseconds. A ValueError says
what is wrong with the fields together.
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """How rules with a certain key are read.

    `remarks` are what the author of one should know; `parts` are keys whose
    values are expressions, and what PromQL must be able to make of each.
    """

    config: type[PartConfig]
    expand: Expand
    remarks: Callable[[Any], Iterable[str]] = lambda config: ()
    parts: Callable[[Any], Iterable[tuple[str, str]]] = lambda config: ()


def _record(config: RecordConfig, origin: Origin, interval_ms: int) -> tuple[Rule, ...]:
    return (RecordingRule(config.record, config.expr, config.labels, origin),)


def _alert(config: AlertConfig, origin: Origin, interval_ms: int) -> tuple[Rule, ...]:
    rule = AlertingRule(
        name=config.alert,
        expr=config.expr,
        for_ms=config.for_,
        keep_firing_for_ms=config.keep_firing_for,
        labels=config.labels,
        annotations=config.annotations,
        no_data=config.no_data,
        origin=origin,
    )
    return (rule,)


KINDS: dict[str, Kind] = {
    "record": Kind(RecordConfig, _record),
    "alert": Kind(AlertConfig, _alert),
    "anomaly": Kind(AnomalyConfig, expand_anomaly, anomaly_remarks, anomaly_parts),
    "slo": Kind(SloConfig, expand_slo, slo_remarks, slo_parts),
}
"""By the key that a rule of the kind has."""

SINGLE = frozenset({"anomaly", "slo"})
"""Kinds of which no two in a file may have the same name."""
