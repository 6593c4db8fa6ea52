"""Names as a document shows them: counters end in `_total`, and where a reader asks, only old characters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from metricsmith.model.arrays import I64
from metricsmith.model.labels import NAME_LABEL, PAIR, encode_pairs, split_key
from metricsmith.model.metadata import Metadata, MetricType

_NOT_IN_NAME = re.compile(r"^[0-9]|[^A-Za-z0-9_:]")
_NOT_IN_LABEL = re.compile(r"^[0-9]|[^A-Za-z0-9_]")


class Exposed(NamedTuple):
    """Series under the names that are shown, each once; `rows` are their places in what was given.

    Shapes:
        rows: (P,)
        keys: P canonical keys.
    """

    rows: I64
    keys: Sequence[bytes]
    metadata: Mapping[str, Metadata]
    left_out: int


def expose(
    keys: Sequence[bytes], metadata: Mapping[str, Metadata], utf8_names: bool, as_named: bool = False
) -> Exposed:
    """Return series and metadata under the names that a document shows.

    Of series that would stand there twice one is kept, if possible one that
    keeps its name: a reader refuses a whole document for one repeated series.
    """
    shown, known = (keys, metadata) if as_named else _with_total(keys, metadata)
    if not utf8_names:
        shown = [_escaped(key) for key in shown]
        known = {_escape_name(name): m for name, m in known.items()} | {
            name: m for name, m in known.items() if _escape_name(name) == name
        }
    places: dict[bytes, int] = {}
    renamed = [row for row, key in enumerate(shown) if key != keys[row]]
    changed = set(renamed)
    for row in [*(r for r in range(len(shown)) if r not in changed), *renamed]:
        if key := shown[row]:
            places.setdefault(key, row)
    rows = np.array(sorted(places.values()), dtype=np.int64)
    return Exposed(rows, [shown[row] for row in rows.tolist()], known, len(keys) - len(rows))


def _with_total(
    keys: Sequence[bytes], metadata: Mapping[str, Metadata]
) -> tuple[Sequence[bytes], Mapping[str, Metadata]]:
    """Rename counters that lack `_total`."""
    renamed = {
        name.encode(): f"{name}_total"
        for name, known in metadata.items()
        if known.type is MetricType.COUNTER
        and not name.endswith("_total")
        and f"{name}_total" not in metadata
    }
    if not renamed:
        return keys, metadata
    changed = []
    for key in keys:
        name, mark, rest = key.partition(PAIR)
        changed.append(renamed[name].encode() + mark + rest if name in renamed else key)
    return changed, {renamed.get(name.encode(), name): known for name, known in metadata.items()}


def _escaped(key: bytes) -> bytes:
    """Return a key whose names hold only old characters; empty when two of its labels become one."""
    name, pairs = split_key(key)
    plain_name = _escape_name(name.decode()).encode()
    plain = [(_escape_label(label), value) for label, value in pairs]
    if plain == pairs:
        return key if plain_name == name else plain_name + key[len(name) :]
    labels = {label for label, _ in plain}
    if len(labels) < len(plain) or NAME_LABEL.encode() in labels:
        return b""
    return encode_pairs(plain_name, plain)


@lru_cache(4096)
def _escape_name(name: str) -> str:
    return _NOT_IN_NAME.sub("_", name)


@lru_cache(4096)
def _escape_label(label: bytes) -> bytes:
    return _NOT_IN_LABEL.sub("_", label.decode()).encode()
