"""The label keys of selected series, with what has been made of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar, cast

T = TypeVar("T")

MOST_DERIVED = 16
"""A list remembers this many results; dashboards and rules ask a metric only a few questions."""


class SeriesKeys(list[bytes]):
    """A list of keys that nobody changes, so that work on labels is done once and not at each query."""

    __slots__ = ("_derived",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        super().__init__(keys)
        self._derived: dict[Hashable, object] = {}

    def derive(self, what: Hashable, make: Callable[[], T]) -> T:
        """Return the result of `make`, which depends on `what` and these keys only."""
        found = self._derived.get(what)
        if found is None:
            found = make()
            if len(self._derived) >= MOST_DERIVED:
                self._derived = {}
            self._derived[what] = found
        return cast(T, found)


def derive(keys: Sequence[bytes], what: Hashable, make: Callable[[], T]) -> T:
    """Return the result of `make`, remembered where the keys can remember."""
    return keys.derive(what, make) if isinstance(keys, SeriesKeys) else make()
