"""Labelled series for bench_anomaly.py: noise of five kinds, anomalies of four, whose times are known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metricsmith.model.arrays import F64, I64

STEP_MS = 600_000
DAY = 86_400_000 // STEP_MS
HOUR = DAY // 24
DAYS = 42
JUDGED_DAYS = 12
"""Anomalies lie in the last days; what is before is history."""
LEVEL, SPREAD = 100.0, 5.0
NOISES = ("gaussian", "heavy tail", "autocorrelated", "daily", "weekly")
ANOMALIES = ("spike", "level shift", "trend", "missing season")
SEASONAL = ("daily", "weekly")


@dataclass(frozen=True)
class Labelled:
    """A series and the steps between which it is anomalous: starts and ends, both inclusive."""

    noise: str
    anomaly: str
    values: F64
    events: list[tuple[int, int]]


def labelled(seed: int, of_each: int) -> Iterator[Labelled]:
    """Yield series of all noises with all anomalies that make sense with them."""
    chance = np.random.default_rng(seed)
    for noise in NOISES:
        for anomaly in ANOMALIES:
            if anomaly != "missing season" or noise in SEASONAL:
                for _ in range(of_each):
                    yield _one(noise, anomaly, chance)


def _one(noise: str, anomaly: str, chance: np.random.Generator) -> Labelled:
    steps = np.arange(DAYS * DAY)
    values = LEVEL + _season(noise, steps) + SPREAD * _noise(noise, len(steps), chance)
    events = []
    # Three days apart, so that each meets a band that has come to rest.
    for day in range(DAYS - JUDGED_DAYS + 1, DAYS - 2, 3):
        start = day * DAY + int(chance.integers(0, DAY))
        events.append(_put(anomaly, noise, values, start, chance))
    return Labelled(noise, anomaly, values, events)


def _noise(noise: str, length: int, chance: np.random.Generator) -> F64:
    """Return noise with a standard deviation of one."""
    if noise == "heavy tail":
        return np.asarray(chance.standard_t(3, length) / np.sqrt(3))
    if noise == "autocorrelated":
        kept, done, last = 0.95, np.empty(length), 0.0
        for i, fresh in enumerate(chance.normal(0, np.sqrt(1 - kept**2), length)):
            done[i] = last = kept * last + fresh
        return done
    return np.asarray(chance.normal(0, 1, length))


def _season(noise: str, steps: I64) -> F64:
    """Return a wave with a peak each day; of weekly series, the weekend is a third as high."""
    if noise not in SEASONAL:
        return np.zeros(len(steps))
    phase = 2 * np.pi * (steps % DAY) / DAY
    wave = 30 * np.sin(phase) + 10 * np.sin(2 * phase)
    weekend = (steps // DAY) % 7 >= 5
    return np.asarray(np.where(weekend, wave / 3, wave) if noise == "weekly" else wave)


def _put(anomaly: str, noise: str, values: F64, start: int, chance: np.random.Generator) -> tuple[int, int]:
    """Put an anomaly into a series; return its first and last step."""
    sign = chance.choice([-1, 1])
    size = sign * SPREAD * chance.uniform(6, 12)
    if anomaly == "spike":
        end = start + int(chance.integers(1, 3))
        values[start:end] += size
    elif anomaly == "level shift":
        end = start + 4 * HOUR
        values[start:end] += size
    elif anomaly == "trend":
        end = start + 8 * HOUR
        values[start:end] += size * np.linspace(0, 1, end - start)
    else:
        start = start // DAY * DAY  # the whole wave of a day is missing
        while noise == "weekly" and (start // DAY) % 7 >= 5:
            start -= DAY
        end = start + DAY
        values[start:end] -= _season(noise, np.arange(start, end))
    return start, end - 1
