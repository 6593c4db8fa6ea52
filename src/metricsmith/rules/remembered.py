"""The state of alerting rules that lasts over restarts: an entry per alert, and per series to be missed.

Keys are `alert/RULE/ALERT` and `seen/RULE/SERIES`, where RULE is the rule's identity and the last part a
digest of the label key; and `evaluated/RULE`, the last evaluation at which an alert of the rule waited.
Values are JSON; one without `asked` or `threshold`, of an older version, is taken to be about the rule
as it is. What an evaluation finds anew each time (value and annotations) is written along, but does not
make an entry change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from metricsmith.contracts import State
from metricsmith.model.labels import decode_labels, encode_labels
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.model import Alert, AlertState, Engine, Group


def rule_identities(group: Group) -> list[str]:
    """Return what identifies each rule of a group over restarts and reloads.

    File, group, name and labels, as in Prometheus: a rule keeps its alerts when
    its expression or duration changes. Rules alike are told apart by their order.
    """
    found: dict[str, int] = {}
    identities = []
    for rule in group.rules:
        parts = [
            group.file,
            group.name,
            type(rule).__name__,
            rule.name,
            *map(str, sorted(rule.labels.items())),
        ]
        text = "\0".join(parts)
        found[text] = found.get(text, 0) + 1
        identities.append(_digest(f"{text}\0{found[text]}".encode()))
    return identities


def question(engine: Engine, expr: str) -> str:
    """Return what tells expressions apart by the series that they look at: thresholds make no difference."""
    return _digest((engine.with_data(expr) or expr).encode())


def changes(identity: str, rule: Alerting, now_ms: int) -> tuple[dict[str, bytes], list[str]]:
    """Return entries to keep and keys to forget, for what has changed in a rule since this was asked last.

    While an alert waits, so has the time of the evaluation: a restart must
    know for how long nobody evaluated.
    """
    put: dict[str, bytes] = {}
    delete: list[str] = []
    for key in rule.take_changed():
        entry = f"alert/{identity}/{_digest(key)}"
        alert = rule.alerts.get(key)
        if alert is None:
            delete.append(entry)
        else:
            put[entry] = orjson.dumps(_plain(alert))
    for key, last_ms in rule.seen.take_changed().items():
        entry = f"seen/{identity}/{_digest(key)}"
        if last_ms is None:
            delete.append(entry)
        else:
            put[entry] = orjson.dumps({"labels": decode_labels(key), "last_ms": last_ms, "asked": rule.asked})
    if rule.is_waiting():
        put[f"evaluated/{identity}"] = orjson.dumps(now_ms)
    return put, delete


def restore(identity: str, rule: Alerting, state: State) -> list[str]:
    """Give a rule the alerts and series that it had; return the keys of entries that cannot be read."""
    damaged = []
    for entry, value in state.items(f"alert/{identity}/"):
        try:
            alert = _alert(orjson.loads(value), rule)
        except _UNREADABLE:
            damaged.append(entry)
            continue
        rule.alerts[encode_labels(alert.labels)] = alert
    for entry, value in state.items(f"seen/{identity}/"):
        try:
            found = orjson.loads(value)
            key, last_ms = encode_labels(found["labels"]), int(found["last_ms"])
            asked = str(found.get("asked", rule.asked))
        except _UNREADABLE:
            damaged.append(entry)
            continue
        if asked == rule.asked:
            rule.seen.restore(key, last_ms)
        else:
            rule.seen.drop(key)
    return damaged


def evaluated_ms(identity: str, state: State) -> int:
    """Return when a rule of which an alert waited was evaluated last; 0 when nobody knows."""
    for key, value in state.items(f"evaluated/{identity}"):
        if key == f"evaluated/{identity}" and value.isdigit():
            return int(value)
    return 0


def forgotten(state: State, identities: Sequence[str]) -> list[str]:
    """Return the keys of rules that are there no more."""
    known = set(identities)
    kinds = ("alert/", "seen/", "evaluated/")
    return [key for kind in kinds for key, _ in state.items(kind) if key.split("/")[1] not in known]


_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()


_TIMES = (
    "active_at_ms",
    "fired_at_ms",
    "resolved_at_ms",
    "last_sent_ms",
    "keep_firing_since_ms",
    "no_data_since_ms",
)


def _plain(alert: Alert) -> dict[str, Any]:
    return {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "source": decode_labels(alert.source),
        "asked": alert.asked,
        "threshold": alert.threshold,
        "value": repr(alert.value),
        "state": alert.state.value,
        **{name: getattr(alert, name) for name in _TIMES},
    }


def _alert(plain: Mapping[str, Any], rule: Alerting) -> Alert:
    threshold = plain.get("threshold", rule.rule.threshold)
    return Alert(
        labels=dict(plain["labels"]),
        annotations=dict(plain["annotations"]),
        value=float(plain["value"]),
        source=encode_labels(plain["source"]),
        asked=str(plain.get("asked", rule.asked)),
        threshold=None if threshold is None else float(threshold),
        state=AlertState(plain["state"]),
        **{name: int(plain[name]) for name in _TIMES},
    )
