"""Prometheus' API of rules and alerts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from hashlib import sha1
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.body import Bodies
from metricsmith.api.context import ApiContext
from metricsmith.api.errors import bad_data, bad_parameter, json_response
from metricsmith.api.params import Params, quoted, read_params
from metricsmith.api.prometheus import GROUP
from metricsmith.api.routes import NUMBER, Operation, Parameter
from metricsmith.api.schemas import ALERTS, RULES
from metricsmith.api.selectors import read_selectors
from metricsmith.api.times import NEVER, rfc3339
from metricsmith.api.workers import Workers
from metricsmith.model.matchers import Matcher
from metricsmith.model.rules import AlertView, GroupView, RuleView

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"", "0", "f", "F", "FALSE", "false", "False"})
_PARAMETERS = (
    Parameter("type", "Only rules that `alert`, or that `record`."),
    Parameter("rule_name[]", "Only rules of these names.", repeated=True),
    Parameter("rule_group[]", "Only groups of these names.", repeated=True),
    Parameter("file[]", "Only groups of these files.", repeated=True),
    Parameter("match[]", "Only rules whose labels, as written, match.", repeated=True),
    Parameter("exclude_alerts", "Leave out the active alerts of each rule: true or false."),
    Parameter("group_limit", "Most groups in the answer.", NUMBER),
    Parameter("group_next_token", "Go on where an answer ended: its `groupNextToken`."),
)


class RulesApi:
    """Says which rules there are, and what they found."""

    def __init__(self, context: ApiContext, workers: Workers, bodies: Bodies) -> None:
        self._context = context
        self._workers = workers
        self._bodies = bodies

    def operations(self) -> list[Operation]:
        """Return the operations of this group."""
        return [
            Operation(
                "/api/v1/rules",
                ("GET",),
                self._rules,
                "List rules, how their last evaluation went, and their active alerts.",
                GROUP,
                _PARAMETERS,
                answers={200: "`data.groups`.", 400: "Malformed request."},
                answer=RULES,
                always=True,
            ),
            Operation(
                "/api/v1/alerts",
                ("GET",),
                self._alerts,
                "List active alerts.",
                GROUP,
                answers={200: "`data.alerts`."},
                answer=ALERTS,
                always=True,
            ),
        ]

    async def _rules(self, request: Request) -> Response:
        params = await read_params(request, self._bodies)
        return await self._workers.run(lambda: _success(self._listed(params)))

    def _listed(self, params: Params) -> dict[str, Any]:
        kind, exclude = params.text("type").lower(), params.text("exclude_alerts")
        if kind not in ("", "alert", "record"):
            raise bad_parameter("type", f"not supported value {quoted(params.text('type'))}")
        if exclude not in _TRUE | _FALSE:
            raise bad_parameter("exclude_alerts", f"got {quoted(exclude)}, wanted true or false")
        selectors, names = read_selectors(params), params.all("rule_name[]")
        groups, token = _page(_chosen(self._context.rule_groups(), params), params)
        listed = []
        for group in groups:
            rules = [
                _rule(rule, with_alerts=exclude in _FALSE)
                for rule in group.rules
                if kind in ("", "record" if rule.alerting is None else "alert")
                and (not names or rule.name in names)
                and _matches(rule, selectors)
            ]
            if rules:
                listed.append(_group(group, rules))
        return {"groups": listed, **({"groupNextToken": token} if token else {})}

    async def _alerts(self, request: Request) -> Response:
        return await self._workers.run(lambda: _success({"alerts": list(self._active())}))

    def _active(self) -> Iterator[dict[str, Any]]:
        for group in self._context.rule_groups():
            for rule in group.rules:
                if rule.alerting is not None:
                    yield from map(_alert, rule.alerting.alerts)


def _chosen(groups: Sequence[GroupView], params: Params) -> list[GroupView]:
    names, files = params.all("rule_group[]"), params.all("file[]")
    return [
        group for group in groups if (not names or group.name in names) and (not files or group.file in files)
    ]


def _page(groups: list[GroupView], params: Params) -> tuple[list[GroupView], str]:
    """Return the groups of one page, and the token of the next one; empty when there is none."""
    token = params.text("group_next_token")
    if not params.text("group_limit"):
        if token:
            raise bad_data("group_limit needs to be set in order to paginate over the groups")
        return groups, ""
    limit = params.count("group_limit", 0, 1_000_000, least=1)
    if token:
        starts = [index for index, group in enumerate(groups) if _token(group) == token]
        if not starts:
            raise bad_data(f"invalid group_next_token {quoted(token)}. were rule groups changed?")
        groups = groups[starts[0] :]
    return groups[:limit], _token(groups[limit]) if len(groups) > limit else ""


def _token(group: GroupView) -> str:
    return sha1(f"{group.file};{group.name}".encode(), usedforsecurity=False).hexdigest()


def _matches(rule: RuleView, selectors: Sequence[Sequence[Matcher]]) -> bool:
    return not selectors or any(
        all(matcher.matches(rule.labels.get(matcher.name, "")) for matcher in matchers)
        for matchers in selectors
    )


def _group(group: GroupView, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": group.name,
        "file": group.file,
        "rules": rules,
        "interval": group.interval_ms / 1000,
        "limit": group.limit,
        "evaluationTime": group.duration_s,
        "lastEvaluation": _time(group.last_evaluation_ms),
    }


def _rule(rule: RuleView, *, with_alerts: bool) -> dict[str, Any]:
    """Return a rule in Prometheus' fields; `lastSamples`, `lastSeries`, `warnings` and `noData` are ours."""
    body: dict[str, Any] = {
        "name": rule.name,
        "query": rule.query,
        "labels": rule.labels,
        "health": rule.health,
        "evaluationTime": rule.duration_s,
        "lastEvaluation": _time(rule.last_evaluation_ms),
        "lastSamples": rule.samples,
        "lastSeries": rule.series,
    }
    if rule.last_error:
        body["lastError"] = rule.last_error
    if rule.warnings:
        body["warnings"] = rule.warnings
    alerting = rule.alerting
    if alerting is None:
        return {**body, "type": "recording"}
    return {
        "state": alerting.state,
        **body,
        "duration": alerting.for_ms / 1000,
        "keepFiringFor": alerting.keep_firing_for_ms / 1000,
        "annotations": alerting.annotations,
        "alerts": [_alert(alert) for alert in alerting.alerts] if with_alerts else [],
        "noData": alerting.no_data,
        "type": "alerting",
    }


def _alert(alert: AlertView) -> dict[str, Any]:
    body: dict[str, Any] = {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": alert.state,
        "activeAt": rfc3339(alert.active_at_ms),
        "value": exponential(alert.value),
    }
    if alert.keep_firing_since_ms:
        body["keepFiringSince"] = rfc3339(alert.keep_firing_since_ms)
    if alert.no_data:
        body["noData"] = True
    return body


def exponential(value: float) -> str:
    """Return a number as Prometheus writes that of an alert.

    >>> exponential(1234.5), exponential(0.0), exponential(float("inf"))
    ('1.2345e+03', '0e+00', '+Inf')
    """
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    mantissa, exponent = f"{Decimal(repr(value)).normalize():e}".split("e")
    return f"{mantissa}e{int(exponent):+03d}"


def _time(time_ms: int) -> str:
    return rfc3339(time_ms) if time_ms else NEVER


def _success(data: object) -> Response:
    return json_response({"status": "success", "data": data})
