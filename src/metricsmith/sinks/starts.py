"""Where the time at which counters began is to be found: in series called `_created`."""

from __future__ import annotations

from collections.abc import Sequence

from metricsmith.model.labels import split_key

_CREATED = b"_created"
_SUFFIXES = (b"_total", b"_bucket", b"_count", b"_sum")
_OF_PARTS = b"le"


def start_places(keys: Sequence[bytes]) -> list[int]:
    """Return for each series the place of the one with its start in seconds, -1 where there is none.

    >>> start_places([b"jobs_total", b"jobs_created", b"depth"])
    [1, -1, -1]
    """
    names = [key.partition(b"\xff")[0] for key in keys]
    born = {}
    for place, (name, key) in enumerate(zip(names, keys, strict=True)):
        if name.endswith(_CREATED):
            born[(name.removesuffix(_CREATED), tuple(split_key(key)[1]))] = place
    if not born:
        return [-1] * len(keys)
    return [_start_of(name, key, born) for name, key in zip(names, keys, strict=True)]


def _start_of(name: bytes, key: bytes, born: dict[tuple[bytes, tuple[tuple[bytes, bytes], ...]], int]) -> int:
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            labels = tuple(pair for pair in split_key(key)[1] if pair[0] != _OF_PARTS)
            return born.get((name.removesuffix(suffix), labels), -1)
    return -1
