"""Groups as a plain rule file of Prometheus: short forms written out, group labels put into the rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from metricsmith.model.duration import format_duration
from metricsmith.rules.model import AlertingRule, Group, Rule


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines line by line."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def format_groups(groups: Iterable[Group]) -> str:
    """Return groups as YAML that Prometheus and its tools read; `no_data` is left out.

    Each group has its interval: Prometheus' own default may be another. Group
    labels, which Prometheus knows since version 3, stand in each rule.
    """
    plain = {"groups": [_group(group) for group in groups]}
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=200)


def _group(group: Group) -> dict[str, Any]:
    done: dict[str, Any] = {"name": group.name, "interval": format_duration(group.interval_ms)}
    if group.query_offset_ms:
        done["query_offset"] = format_duration(group.query_offset_ms)
    if group.limit:
        done["limit"] = group.limit
    done["rules"] = [_rule(rule, {**group.labels, **rule.labels}) for rule in group.rules]
    return done


def _rule(rule: Rule, labels: Mapping[str, str]) -> dict[str, Any]:
    alert = isinstance(rule, AlertingRule)
    done: dict[str, Any] = {"alert" if alert else "record": rule.name, "expr": rule.expr}
    if isinstance(rule, AlertingRule):
        if rule.for_ms:
            done["for"] = format_duration(rule.for_ms)
        if rule.keep_firing_for_ms:
            done["keep_firing_for"] = format_duration(rule.keep_firing_for_ms)
    if labels:
        done["labels"] = dict(labels)
    if isinstance(rule, AlertingRule) and rule.annotations:
        done["annotations"] = dict(rule.annotations)
    return done
