"""Which series of a collector are taken: each once, of one collector only, not too many."""

from __future__ import annotations

from metricsmith.sources.exec.memory import Memory
from metricsmith.sources.python.values import Name, Rows, Timed, key_of


class Owners:
    """Which collector of a source gives a series: the first that did, until it no longer does."""

    def __init__(self) -> None:
        self._owners: dict[Name, str] = {}

    def claim(self, name: Name, collector: str) -> str:
        """Return whose a series is now."""
        return self._owners.setdefault(name, collector)

    def release(self, names: set[Name], collector: str) -> None:
        """Let others have series that a collector no longer gives."""
        for name in names:
            if self._owners.get(name) == collector:
                del self._owners[name]


class Admission:
    """Decides once per change of the series, not per collection."""

    def __init__(self, collector: str, owners: Owners, max_series: int) -> None:
        self._collector, self._owners = collector, owners
        self._limit, self._recent = max_series, Memory(max_series)
        self._asked: list[Name] = []
        self._taken: list[Name] = []
        self._places: list[int] | None = None
        self._refused: dict[str, tuple[int, str]] = {}

    def admit(self, rows: Rows, now_ms: int) -> tuple[list[Name], list[float]]:
        """Return the series that are taken, and their values; what is left out is told in `rows`."""
        self._recent.turn(now_ms)
        if rows.names != self._asked:
            self._decide(rows.names)
        for reason, (count, message) in self._refused.items():
            rows.problems[reason] += count
            rows.told.setdefault(reason, message)
        if self._places is None:
            return self._taken, rows.values
        return self._taken, [rows.values[place] for place in self._places]

    def admit_timed(self, rows: Rows) -> list[Timed]:
        """Return the samples with times of their own that are taken; what is left out is told in `rows`."""
        taken: dict[tuple[Name, int], Timed] = {}
        for sample in rows.timed:
            name, _, time_ms = sample
            if (name, time_ms) in taken:
                rows.problem("duplicate", _twice(name))
            elif self._recent.get(key_of(name)) is None:
                rows.problem("too_many_series", self._too_many(name))
            else:
                taken[name, time_ms] = sample
        return list(taken.values())

    def end(self) -> None:
        """Let others have all series."""
        self._owners.release(set(self._taken), self._collector)
        self._asked, self._taken, self._places, self._refused = [], [], None, {}

    def _decide(self, names: list[Name]) -> None:
        places: dict[Name, int] = {}
        self._refused = {}
        for place, name in enumerate(names):
            if name in places:
                self._refuse("duplicate", _twice(name))
            elif (owner := self._owners.claim(name, self._collector)) != self._collector:
                self._refuse(
                    "other_collector", f"{name[0]} is what {owner} gives already; a label must differ"
                )
            elif self._recent.get(key_of(name)) is None:
                self._refuse("too_many_series", self._too_many(name))
                self._owners.release({name}, self._collector)
            else:
                places[name] = place
        self._owners.release(set(self._taken) - places.keys(), self._collector)
        self._asked, self._taken = names, list(places)
        self._places = None if len(places) == len(names) else list(places.values())

    def _refuse(self, reason: str, message: str) -> None:
        count, told = self._refused.get(reason, (0, message))
        self._refused[reason] = (count + 1, told)

    def _too_many(self, name: Name) -> str:
        return f"{name[0]}: got more than {self._limit} different series within an hour (max_series)"


def _twice(name: Name) -> str:
    return f"{name[0]} comes twice with the same labels; the first is taken"
