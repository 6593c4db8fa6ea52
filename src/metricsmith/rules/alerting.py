"""An alerting rule at work: which alerts it has, and how each goes from pending to firing to its end.

Source:
    Prometheus `AlertingRule.Eval`; what happens without data is ours (`seen.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import F64
from metricsmith.model.labels import NAME_LABEL, PAIR, decode_labels, encode_labels
from metricsmith.rules.model import Alert, AlertingRule, AlertState, Answer, Group, NoData, Notification
from metricsmith.rules.recording import refuse_same
from metricsmith.rules.seen import MISSED_FOR_MS, SeenSeries

RESOLVED_KEPT_MS = 15 * 60_000
"""The end of an alert is told again for that long."""
VALID_FOR_DELAYS = 4
"""A notification holds for so many resend delays: that many may get lost before it is taken to be over."""

Expand: TypeAlias = Callable[[str, Mapping[str, str], float, int], str]
"""Return the text of a template for labels, a value and a time; a failure is told in the text."""


@dataclass(slots=True)
class _Held:
    """A series for which the rule holds: its labels as templates see them, and those of its alert."""

    source: bytes
    plain: Mapping[str, str]
    key: bytes
    labels: Mapping[str, str]
    value: float
    without_data: bool = False


class Alerting:
    """The alerts of one rule, by the key of their labels; its state in memory.

    `asked` tells apart what rules look at: a series that only another expression
    had looked at is not missed when the rule changes.
    """

    def __init__(
        self, group: Group, rule: AlertingRule, no_data: NoData, expand: Expand, asked: str = ""
    ) -> None:
        self.rule, self.asked = rule, asked
        self.no_data = rule.no_data or no_data
        self.alerts: dict[bytes, Alert] = {}
        self.seen = SeenSeries()
        self._limit = group.limit
        self._labels = {**group.labels, **rule.labels}
        self._expand = expand
        self._changed: set[bytes] = set()
        # Expanding is most of the work: what depends on nothing but label and value is expanded once.
        self._static = not any("{{" in text for text in self._labels.values())
        texts = [*self._labels.values(), *rule.annotations.values()]
        self._lively = any("query" in text or "now" in text for text in texts)
        self._held: dict[bytes, _Held] = {}
        self._keys: dict[bytes, tuple[bytes, bytes, bytes]] = {}

    def evaluate(self, found: Answer, with_data: frozenset[bytes] | None, now_ms: int) -> None:
        """Bring the alerts to the time of an evaluation.

        `found` are the series for which the expression holds; `with_data` all
        series that have data, without names, or None when nobody can tell.

        Raises:
            ExecutionError: two alerts would have the same labels, and nothing has changed; or there are
                more than the limit, and none is left.
        """
        sources = [nameless(key) for key in found.keys]
        refuse_same(sources)
        values = found.values.tolist()
        missing = self._missing(dict(zip(sources, values, strict=True)), with_data, now_ms)
        held = [
            self._found(key, source, value, now_ms)
            for key, source, value in zip(found.keys, sources, values, strict=True)
        ]
        held += [self._found(source, source, value, now_ms, True) for source, value in missing.items()]
        refuse_same([one.key for one in held])
        for one in held:
            self._hold(one, now_ms)
        self._held = {one.source: one for one in held}
        here = {one.key for one in held}
        for key in list(self.alerts):
            self._advance(key, key in here, now_ms)
        active = sum(alert.active for alert in self.alerts.values())
        if self._limit and active > self._limit:
            self._changed |= self.alerts.keys()
            self.alerts = {}
            raise ExecutionError(f"exceeded limit of {self._limit} with {active} alerts")

    def asks_for_data(self, found: Answer) -> bool:
        """Return whether an evaluation needs to know which series have data."""
        if self.no_data is NoData.FIRE or self.rule.threshold is not None:
            return True
        if self.no_data is NoData.RESOLVE:
            return False
        active = [alert.source for alert in self.alerts.values() if alert.active]
        return bool(active) and not self.sources(found).issuperset(active)

    def sources(self, answer: Answer) -> frozenset[bytes]:
        """Return the keys of an answer as alerts know them: without names."""
        return frozenset(map(nameless, answer.keys))

    def due(self, now_ms: int, resend_ms: int, interval_ms: int) -> Iterator[Notification]:
        """Yield what is to be told now, and note that it was: firing alerts again and again, ends at once."""
        until = now_ms + VALID_FOR_DELAYS * max(resend_ms, interval_ms)
        for key, alert in self.alerts.items():
            if alert.state is AlertState.PENDING:
                continue
            news = alert.resolved_at_ms > alert.last_sent_ms
            if not news and now_ms < alert.last_sent_ms + resend_ms:
                continue
            first = alert.last_sent_ms < (alert.fired_at_ms if alert.active else alert.resolved_at_ms)
            alert.last_sent_ms = now_ms
            self._changed.add(key)
            ends = until if alert.active else alert.resolved_at_ms
            yield Notification(
                self.rule, alert.labels, alert.annotations, alert.value, not alert.active,
                alert.fired_at_ms, ends, now_ms, alert.no_data, alert.threshold, first,
            )  # fmt: skip

    def series(self) -> tuple[list[bytes], F64]:
        """Return keys and values of `ALERTS` and `ALERTS_FOR_STATE`, for what is pending or firing.

        Shapes:
            returns: S keys, (S,) values: all 1 of `ALERTS`, then since when.
        Units:
            Since when in whole seconds since the Unix epoch, as in Prometheus.
        """
        active = {key: alert for key, alert in self.alerts.items() if alert.active}
        self._keys = {key: self._keys.get(key) or _series_keys(alert.labels) for key, alert in active.items()}
        states = [alert.state is AlertState.FIRING for alert in active.values()]
        keys = [own[firing] for own, firing in zip(self._keys.values(), states, strict=True)]
        keys += [own[2] for own in self._keys.values()]
        since = [alert.active_at_ms // 1000 for alert in active.values()]
        return keys, np.array([1.0] * len(active) + since, dtype=np.float64)

    def resume(self, missed_ms: int, tolerance_ms: int) -> None:
        """Take the time in which nobody evaluated out of all waiting; a long one ends what is pending.

        Source:
            Prometheus `Group.RestoreForState`, where an alert that was firing is pending again until the
            next evaluation; here it goes on firing.
        """
        for key, alert in list(self.alerts.items()):
            if alert.state is AlertState.PENDING and missed_ms > tolerance_ms:
                del self.alerts[key]
            elif alert.state is AlertState.PENDING:
                alert.active_at_ms += missed_ms
            elif alert.keep_firing_since_ms:
                alert.keep_firing_since_ms += missed_ms
            else:
                continue
            self._changed.add(key)

    def is_waiting(self) -> bool:
        """Return whether some alert waits: to fire, or for its end."""
        return any(a.state is AlertState.PENDING or a.keep_firing_since_ms for a in self.alerts.values())

    def take_changed(self) -> set[bytes]:
        """Return keys of alerts of which something durable has changed since this was asked last.

        Keys that are not in `alerts` any more are gone.
        """
        changed, self._changed = self._changed, set()
        return changed

    def take_over(self, former: Alerting) -> None:
        """Go on with the alerts of a rule that this one replaces; what it had not yet saved goes along."""
        self.alerts = former.alerts
        if former.asked == self.asked:
            self.seen = former.seen
        else:
            self.seen.replace(former.seen)
        self._changed |= former.take_changed()

    def _missing(
        self, holding: Mapping[bytes, float], with_data: frozenset[bytes] | None, now_ms: int
    ) -> dict[bytes, float]:
        """Return the series without data for which the rule holds all the same, with their last values."""
        if with_data is None or self.no_data is NoData.RESOLVE:
            return {}
        if self.no_data is NoData.FIRE:
            return self.seen.missing(holding, with_data, now_ms)
        return {
            alert.source: alert.value
            for alert in self.alerts.values()
            if alert.active
            and alert.asked == self.asked
            and not alert.keep_firing_since_ms  # it was seen to be over: it is not kept any longer
            and alert.source not in holding
            and alert.source not in with_data
            and now_ms - (alert.no_data_since_ms or now_ms) <= MISSED_FOR_MS
        }

    def _found(
        self, key: bytes, source: bytes, value: float, now_ms: int, without_data: bool = False
    ) -> _Held:
        known = self._held.get(source)
        if known is not None and (self._static or (known.value == value and not self._lively)):
            known.value, known.without_data = value, without_data
            return known
        plain = decode_labels(key)
        own = {name: self._expand(text, plain, value, now_ms) for name, text in self._labels.items()}
        labels = {**plain, **own, "alertname": self.rule.name}
        labels = {name: text for name, text in labels.items() if text and name != NAME_LABEL}
        return _Held(source, plain, encode_labels(labels), labels, value, without_data)

    def _hold(self, one: _Held, now_ms: int) -> None:
        alert = self.alerts.get(one.key)
        if alert is None or not alert.active:
            alert = self.alerts[one.key] = Alert(one.labels, {}, one.value, now_ms, one.source)
            self._changed.add(one.key)
            fresh = True
        else:
            first = one.source not in self._held  # after a change of the rule, for one
            fresh = first or alert.value != one.value or alert.source != one.source or self._lively
        if alert.asked != self.asked:
            alert.asked = self.asked
            self._changed.add(one.key)
        if alert.no_data != one.without_data:
            alert.no_data_since_ms = now_ms if one.without_data else 0
            self._changed.add(one.key)
        alert.value, alert.source = one.value, one.source
        if fresh:
            if alert.threshold != self.rule.threshold:
                alert.threshold = self.rule.threshold
                self._changed.add(one.key)
            alert.annotations = {
                name: self._expand(text, one.plain, one.value, now_ms)
                for name, text in self.rule.annotations.items()
            }

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
                alert.state, alert.resolved_at_ms = AlertState.INACTIVE, now_ms
                alert.no_data_since_ms = alert.keep_firing_since_ms = 0
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


def nameless(key: bytes) -> bytes:
    """Return a key without its metric name.

    >>> nameless(b"up\\xffjob\\xfeshop"), nameless(b"up")
    (b'\\xffjob\\xfeshop', b'')
    """
    at = key.find(PAIR)
    return key[at:] if at >= 0 else b""


def _series_keys(labels: Mapping[str, str]) -> tuple[bytes, bytes, bytes]:
    """Return the keys of `ALERTS` while pending and while firing, and of `ALERTS_FOR_STATE`."""
    pending, firing = (
        encode_labels({**labels, NAME_LABEL: "ALERTS", "alertstate": state.value})
        for state in (AlertState.PENDING, AlertState.FIRING)
    )
    return pending, firing, encode_labels({**labels, NAME_LABEL: "ALERTS_FOR_STATE"})
