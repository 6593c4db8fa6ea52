"""The cache keeps what was used last, within its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.model.telemetry import Telemetry
from metricsmith.store.cache import ByteCache


@dataclass
class Thing:
    nbytes: int


def test_the_least_recently_used_goes_first():
    telemetry = Telemetry()
    cache = ByteCache(100, telemetry)
    loads = []

    def get(key, size=40):
        def load():
            loads.append(key)
            return Thing(size)

        return cache.get(key, load)

    for key in "abacab":
        get(key)
    assert loads == ["a", "b", "c", "b"]  # "b" made room for "c", as "a" was used after it
    assert telemetry.value("metricsmith_store_cache_lookups_total", result="hit") == 2
    assert telemetry.value("metricsmith_store_cache_lookups_total", result="miss") == 4
    assert telemetry.registry.get_sample_value("metricsmith_store_cache_bytes") == 80


def test_what_is_larger_than_the_budget_is_given_but_not_kept():
    cache = ByteCache(100, telemetry := Telemetry())
    cache.get("small", lambda: Thing(60))
    assert cache.get("large", lambda: Thing(101)).nbytes == 101
    cache.get("small", lambda: Thing(61))
    assert telemetry.value("metricsmith_store_cache_lookups_total", result="hit") == 1


def test_what_has_gone_is_forgotten():
    cache = ByteCache(100, telemetry := Telemetry())
    for key in ((1, 0), (1, 1), (2, 0)):
        cache.get(key, lambda: Thing(10))
    cache.drop(lambda key: key[0] == 1)
    assert telemetry.registry.get_sample_value("metricsmith_store_cache_bytes") == 10
