"""Scores of a Kafka cluster at one time: the rules of the shipped pack over a reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricsmith.runtime.kafka_series import ReadingSeries
from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.runtime.packs import Recorded, evaluate_pack_over

PACK = "kafka"
CLUSTER = "cluster"
CLUSTER_BALANCE, TOPIC_BALANCE = "kafka_cluster_balance_score", "kafka_topic_balance_score"
SCORE, CONFIDENCE, WEIGHT = "kafka_health_score", "kafka_health_confidence", "kafka_health_weight"
COMPONENT = {what: f"kafka_health_component_{what}" for what in ("score", "weight", "input")}
PERFECT = 100.0
WORST = 5
"""So many topics and groups are named."""


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """How evenly something is spread, 0 to 100: over partitions of a topic, or without one over brokers."""

    topic: str | None
    kind: str
    score: float


@dataclass(frozen=True, slots=True)
class Component:
    """What a part of health was given (`input`), what that is worth, and its weight; None is not known.

    The weight is the one that counts; of a component that is missing, the one that is set.
    """

    name: str
    score: float | None
    weight: float | None
    input: float | None


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a cluster; `worst` are its topics and groups with the lowest scores."""

    score: float | None
    confidence: float | None
    components: tuple[Component, ...]
    worst: tuple[tuple[str, str, float], ...] = ()
    """Scope, name, score."""


def balance_rows(snapshots: Sequence[Snapshot]) -> list[BalanceRow]:
    """Return the balance of brokers, then of each topic; rates are from the first reading to the last."""
    recorded = _recorded(snapshots, {CLUSTER_BALANCE, TOPIC_BALANCE})
    brokers = [BalanceRow(None, labels["kind"], score) for labels, score in recorded.get(CLUSTER_BALANCE, [])]
    topics = [
        BalanceRow(labels["topic"], labels["kind"], score)
        for labels, score in recorded.get(TOPIC_BALANCE, [])
    ]
    return sorted(brokers, key=lambda row: row.kind) + sorted(
        topics, key=lambda row: (row.topic or "", row.kind)
    )


def health(snapshots: Sequence[Snapshot], rules: Sequence[Path] = ()) -> Health:
    """Return the health of the cluster, and its worst topics and groups.

    `rules` are files with settings that come before those of the pack.

    Raises:
        ConfigError: one of them has mistakes.
    """
    recorded = _recorded(snapshots, {SCORE, CONFIDENCE, WEIGHT, *COMPONENT.values()}, rules)
    # The weights that are set name all components, also those of which nothing is known.
    set_weights = _of_components(recorded, WEIGHT)
    found = {what: _of_components(recorded, name) for what, name in COMPONENT.items()}
    components = (
        Component(
            name,
            found["score"].get(name),
            found["weight"].get(name, weight),
            found["input"].get(name),
        )
        for name, weight in set_weights.items()
    )
    return Health(
        _of_cluster(recorded, SCORE),
        _of_cluster(recorded, CONFIDENCE),
        tuple(sorted(components, key=lambda one: (-(one.weight or 0), one.name))),
        (*_worst(recorded, "topic", "topic"), *_worst(recorded, "group", "consumergroup")),
    )


def _recorded(snapshots: Sequence[Snapshot], names: Set[str], rules: Sequence[Path] = ()) -> Recorded:
    now = snapshots[-1]
    series = ReadingSeries(snapshots[0], now)
    return evaluate_pack_over(PACK, series, now.time_ms, names, overrides=rules)


def _of_cluster(recorded: Recorded, name: str) -> float | None:
    return next((value for labels, value in recorded.get(name, []) if labels["scope"] == CLUSTER), None)


def _of_components(recorded: Recorded, name: str) -> dict[str, float]:
    return {
        labels["component"]: value for labels, value in recorded.get(name, []) if labels["scope"] == CLUSTER
    }


def _worst(recorded: Recorded, scope: str, label: str) -> list[tuple[str, str, float]]:
    found = [
        (scope, labels[label], value)
        for labels, value in recorded.get(SCORE, [])
        if labels["scope"] == scope and value < PERFECT
    ]
    return sorted(found, key=lambda one: (one[2], one[1]))[:WORST]


def balance_json(rows: Iterable[BalanceRow]) -> list[dict[str, Any]]:
    """Return balance scores as the command's JSON."""
    return [{"topic": row.topic, "kind": row.kind, "score": row.score} for row in rows]


def health_json(found: Health) -> dict[str, Any]:
    """Return the cluster's health as the command's JSON; null is not known."""
    return {
        "score": found.score,
        "confidence": found.confidence,
        "components": [
            {"name": one.name, "score": one.score, "weight": one.weight, "input": one.input}
            for one in found.components
        ],
    }
