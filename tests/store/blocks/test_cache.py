"""The cache keeps what was used last, within its bytes."""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.model.telemetry import Telemetry
from metricsmith.store.cache import KEPT_ROUNDS, ByteCache


@dataclass
class Thing:
    nbytes: int


class Asked:
    """A cache of 100 bytes, and the keys that it had to load."""

    def __init__(self) -> None:
        self.telemetry = Telemetry()
        self.cache = ByteCache(100, self.telemetry)
        self.loads: list[str] = []

    def get(self, key: str, size: int = 40) -> None:
        self.cache.get(key, lambda: self.loads.append(key) or Thing(size))

    def count(self, result: str) -> float:
        return self.telemetry.value("metricsmith_store_cache_lookups_total", result=result)


def test_what_is_cached_is_loaded_once():
    asked = Asked()
    for key in "abab":
        asked.get(key)
    assert asked.loads == ["a", "b"]
    assert (asked.count("hit"), asked.count("miss")) == (2, 2)
    assert asked.telemetry.registry.get_sample_value("metricsmith_store_cache_bytes") == 80


def test_a_scan_of_more_than_fits_finds_what_fits():
    asked = Asked()
    for key in "abc" * 10:
        asked.get(key)
    assert "".join(asked.loads) == "ab" + "c" * 10


def test_what_is_no_longer_asked_for_makes_room():
    asked = Asked()
    for key in "ab" + "cd" * 20:
        asked.get(key)
    assert asked.loads.count("c") + asked.loads.count("d") <= 2 * KEPT_ROUNDS + 2
    asked.loads.clear()
    for key in "cd":
        asked.get(key)
    assert asked.loads == []


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
