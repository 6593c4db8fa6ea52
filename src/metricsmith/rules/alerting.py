"""An alerting rule at work: which alerts it has, and how each goes from pending to firing to its end.

Source:
    Prometheus `AlertingRule.Eval`; what happens without data is ours (`missing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from metricsmith.errors import ExecutionError
from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.rules.model import Alert, AlertingRule, AlertState, Answer, Group, NoData, Notification
from metricsmith.rules.recording import refuse_same
from metricsmith.rules.seen import SeenSeries

RESOLVED_KEPT_MS = 15 * 60_000
"""The end of an alert is told again for that long."""
VALID_FOR_DELAYS = 4
"""A notification holds for so many resend delays: that many may get lost before it is taken to be over."""

Expand: TypeAlias = Callable[[str, Mapping[str, str], float, int], str]
"""Return the text of a template for labels, a value and a time; a failure is told in the text."""


class Alerting:
    """The alerts of one rule, by the key of their labels; its state in memory.

    `changed` are the keys of alerts of which something durable has changed
    since `take_changed`; keys that are not in `alerts` any more are gone.
    """

    def __init__(self, group: Group, rule: AlertingRule, no_data: NoData, expand: Expand) -> None:
        self.rule = rule
        self.no_data = rule.no_data or no_data
        self.alerts: dict[bytes, Alert] = {}
        self.seen = SeenSeries()
        self._limit = group.limit
        self._labels = {**group.labels, **rule.labels}
        self._expand = expand
        self._changed: set[bytes] = set()

    def evaluate(self, found: Answer, with_data: frozenset[bytes] | None, now_ms: int) -> None:
        """Bring the alerts to the time of an evaluation.

        `found` are the series for which the expression holds; `with_data` all
        series that have data, without names, or None when nobody can tell.

        Raises:
            ExecutionError: two alerts would have the same labels, and nothing has changed; or there are
                more than the limit, and none is left.
        """
        sources = [_nameless(key) for key in found.keys]
        refuse_same(sources)
        holding = dict(zip(sources, found.values.tolist(), strict=True))
        missing = self._missing(holding, with_data, now_ms)
        holds = [self._labelled(source, value, now_ms) for source, value in (holding | missing).items()]
        refuse_same([key for key, *_ in holds])
        for key, labels, source, value in holds:
            self._hold(key, labels, source, value, now_ms, without_data=source in missing)
        here = {key for key, *_ in holds}
        for key in list(self.alerts):
            self._advance(key, key in here, now_ms)
        active = sum(alert.state is not AlertState.INACTIVE for alert in self.alerts.values())
        if self._limit and active > self._limit:
            self._changed |= self.alerts.keys()
            self.alerts.clear()
            raise ExecutionError(f"exceeded limit of {self._limit} with {active} alerts")

    def asks_for_data(self, found: Answer) -> bool:
        """Return whether an evaluation needs to know which series have data."""
        if self.no_data is NoData.FIRE or self.rule.threshold is not None:
            return True
        if self.no_data is NoData.RESOLVE:
            return False
        here = self.sources(found)
        return any(a.state is not AlertState.INACTIVE and a.source not in here for a in self.alerts.values())

    def sources(self, answer: Answer) -> frozenset[bytes]:
        """Return the keys of an answer as alerts know them: without names."""
        return frozenset(_nameless(key) for key in answer.keys)

    def due(self, now_ms: int, resend_ms: int, interval_ms: int) -> Iterator[Notification]:
        """Yield what is to be told now, and note that it was: firing alerts again and again, ends at once."""
        until = now_ms + VALID_FOR_DELAYS * max(resend_ms, interval_ms)
        for key, alert in self.alerts.items():
            if alert.state is AlertState.PENDING:
                continue
            ended = alert.state is AlertState.INACTIVE
            news = alert.resolved_at_ms > alert.last_sent_ms
            if not news and now_ms < alert.last_sent_ms + resend_ms:
                continue
            alert.last_sent_ms = now_ms
            self._changed.add(key)
            ends = alert.resolved_at_ms if ended else until
            yield Notification(
                self.rule, alert.labels, alert.annotations, alert.value, ended,
                alert.fired_at_ms, ends, now_ms, alert.no_data,
            )  # fmt: skip

    def take_changed(self) -> set[bytes]:
        """Return keys of which something durable has changed since this was asked last."""
        changed, self._changed = self._changed, set()
        return changed

    def _missing(
        self, holding: Mapping[bytes, float], with_data: frozenset[bytes] | None, now_ms: int
    ) -> dict[bytes, float]:
        """Return the series without data for which the rule holds all the same, with their last values."""
        if with_data is None or self.no_data is NoData.RESOLVE:
            return {}
        if self.no_data is NoData.FIRE:
            return self.seen.missing(holding, with_data, now_ms)
        active = (a for a in self.alerts.values() if a.state is not AlertState.INACTIVE)
        return {a.source: a.value for a in active if a.source not in holding and a.source not in with_data}

    def _labelled(
        self, source: bytes, value: float, now_ms: int
    ) -> tuple[bytes, dict[str, str], bytes, float]:
        labels = decode_labels(source)
        own = {name: self._expand(text, labels, value, now_ms) for name, text in self._labels.items()}
        labels = {k: v for k, v in {**labels, **own, "alertname": self.rule.name}.items() if v}
        return encode_labels(labels), labels, source, value

    def _hold(
        self, key: bytes, labels: dict[str, str], source: bytes, value: float, now_ms: int, without_data: bool
    ) -> None:
        alert = self.alerts.get(key)
        if alert is None or alert.state is AlertState.INACTIVE:
            alert = self.alerts[key] = Alert(labels, {}, value, now_ms, source)
            self._changed.add(key)
        alert.value, alert.source = value, source
        alert.no_data = without_data
        plain = decode_labels(source)
        texts = self.rule.annotations
        alert.annotations = {name: self._expand(text, plain, value, now_ms) for name, text in texts.items()}

    def _advance(self, key: bytes, holds: bool, now_ms: int) -> None:
        alert = self.alerts[key]
        before = alert.state, alert.keep_firing_since_ms
        if holds:
            alert.keep_firing_since_ms = 0
        elif not self._kept_firing(alert, now_ms):
            gone = alert.resolved_at_ms and now_ms - alert.resolved_at_ms > RESOLVED_KEPT_MS
            if alert.state is AlertState.PENDING or gone:
                del self.alerts[key]
                self._changed.add(key)
                return
            if alert.state is AlertState.FIRING:
                alert.state, alert.resolved_at_ms, alert.no_data = AlertState.INACTIVE, now_ms, False
        # A pending alert does not begin to fire on what nobody has measured, unless that is asked for.
        measured = not alert.no_data or self.no_data is NoData.FIRE
        waited = now_ms - alert.active_at_ms >= self.rule.for_ms
        if alert.state is AlertState.PENDING and waited and measured:
            alert.state, alert.fired_at_ms = AlertState.FIRING, now_ms
        if before != (alert.state, alert.keep_firing_since_ms):
            self._changed.add(key)

    def _kept_firing(self, alert: Alert, now_ms: int) -> bool:
        if alert.state is not AlertState.FIRING or not self.rule.keep_firing_for_ms:
            return False
        alert.keep_firing_since_ms = alert.keep_firing_since_ms or now_ms
        return now_ms - alert.keep_firing_since_ms < self.rule.keep_firing_for_ms


def _nameless(key: bytes) -> bytes:
    labels = decode_labels(key)
    labels.pop(NAME_LABEL, None)
    return encode_labels(labels)
