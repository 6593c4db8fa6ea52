"""Scores of a Kafka cluster at one time: the rules of the shipped pack over a reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricsmith.promql.series_input import Series
from metricsmith.runtime.kafka_session import Snapshot
from metricsmith.runtime.packs import Recorded, evaluate_pack
from metricsmith.sources.kafka.metrics import METRICS

PACK = "kafka"
CLUSTER = "cluster"
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
    """What a part of health was given (`input`), what that is worth, and its weight; None is not known."""

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
    recorded = _recorded(snapshots)
    brokers = [
        BalanceRow(None, labels["kind"], score)
        for labels, score in recorded.get("kafka_cluster_balance_score", [])
    ]
    topics = [
        BalanceRow(labels["topic"], labels["kind"], score)
        for labels, score in recorded.get("kafka_topic_balance_score", [])
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
    recorded = _recorded(snapshots, rules)
    figures: dict[str, dict[str, float]] = {}
    for what in ("score", "weight", "input"):
        for labels, value in recorded.get(f"kafka_health_component_{what}", []):
            if labels["scope"] == CLUSTER:
                figures.setdefault(labels["component"], {})[what] = value
    components = (
        Component(name, found.get("score"), found.get("weight"), found.get("input"))
        for name, found in figures.items()
    )
    return Health(
        _of_cluster(recorded, "kafka_health_score"),
        _of_cluster(recorded, "kafka_health_confidence"),
        tuple(sorted(components, key=lambda one: (-(one.weight or 0), one.name))),
        (*_worst(recorded, "topic", "topic"), *_worst(recorded, "group", "consumergroup")),
    )


def _recorded(snapshots: Sequence[Snapshot], rules: Sequence[Path] = ()) -> Recorded:
    now = snapshots[-1]
    return evaluate_pack(PACK, _series(snapshots[0], now), now.time_ms, overrides=rules)


def _series(before: Snapshot, now: Snapshot) -> Iterator[Series]:
    """Yield what there is now, with its earlier value; what has ended since is not to be found."""
    for key, value in now.values.items():
        labels = {"__name__": key[0], **dict(zip(METRICS[key[0]][1], key[1:], strict=True))}
        if before is not now and key in before.values:
            yield labels, [before.time_ms, now.time_ms], [before.values[key], value]
        else:
            yield labels, [now.time_ms], [value]


def _of_cluster(recorded: Recorded, name: str) -> float | None:
    return next((value for labels, value in recorded.get(name, []) if labels["scope"] == CLUSTER), None)


def _worst(recorded: Recorded, scope: str, label: str) -> list[tuple[str, str, float]]:
    found = [
        (scope, labels[label], value)
        for labels, value in recorded.get("kafka_health_score", [])
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
