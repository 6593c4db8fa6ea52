"""The series of a block as columns that any SQL engine reads, and back; whole arrays at a time.

A canonical key is a metric name and label pairs with separator bytes that never occur in UTF-8. So all
keys joined by one more such byte are a text whose separators numpy finds, and the text without
them is the data buffer of one Arrow string array.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metricsmith.model.arrays import I64, U8
from metricsmith.model.labels import PAIR, VALUE
from metricsmith.model.metadata import SAMPLE_SUFFIXES, Metadata, MetricType

Strings: TypeAlias = Any
"""An Arrow string array."""
Maps: TypeAlias = Any
"""An Arrow array of maps from string to string."""
Coded: TypeAlias = Any
"""An Arrow dictionary array of strings."""

PART_KEYS = 16_384
"""So many are taken at a time: joining keys lets no other thread run."""
_KEY_END = b"\xfd"
_END, _VALUE, _PAIR = _KEY_END[0], VALUE[0], PAIR[0]
_METADATA_COLUMNS = ("family", "type", "unit", "help")


def keys_to_columns(keys: Sequence[bytes]) -> tuple[Strings, Maps]:
    """Return metric names (strings) and labels (maps of strings) of canonical keys.

    Shapes:
        keys: S keys.
        returns: (S,), (S,)
    """
    parts = [_part_to_columns(keys[at : at + PART_KEYS]) for at in range(0, max(len(keys), 1), PART_KEYS)]
    if len(parts) == 1:
        return parts[0]
    names, labels = zip(*parts, strict=True)
    return pa.concat_arrays(names), pa.concat_arrays(labels)


def _part_to_columns(keys: Sequence[bytes]) -> tuple[Strings, Maps]:
    data: U8 = np.frombuffer(_KEY_END.join([*keys, b""]), np.uint8)
    marks = np.flatnonzero(data >= _END)
    before = np.append(_END, data[marks[:-1]]) if len(marks) else data[:0]  # what each token follows
    tokens = _strings(data[data < _END], np.append(0, marks - np.arange(len(marks))))
    is_name = before == _END
    labels_of = np.bincount(np.cumsum(is_name)[before == _PAIR] - 1, minlength=len(keys))
    pairs: Any = np.append(0, np.cumsum(labels_of)).astype(np.int32)
    label_names, label_values = (tokens.take(np.flatnonzero(before == mark)) for mark in (_PAIR, _VALUE))
    maps = pa.MapArray.from_arrays(pairs, label_names, label_values)
    return tokens.take(np.flatnonzero(is_name)), maps


def columns_to_keys(names: Strings, labels: Maps) -> list[bytes]:
    """Return the canonical keys of names and labels, in order; labels stand in byte order of their names."""
    keys: list[bytes] = []
    for at in range(0, len(names), PART_KEYS):
        keys += _part_to_keys(names.slice(at, PART_KEYS), labels.slice(at, PART_KEYS))
    return keys


def _part_to_keys(names: Strings, labels: Maps) -> list[bytes]:
    count = len(names)
    offsets = np.asarray(labels.offsets).astype(np.int64)
    first, pairs = int(offsets[0]), int(offsets[-1] - offsets[0])
    owner = np.repeat(np.arange(count), np.diff(offsets))
    at_name = np.arange(count) + 2 * (offsets[:-1] - first)
    at_label = owner + 1 + 2 * np.arange(pairs)
    order = np.empty(count + 2 * pairs, np.int64)
    order[at_name] = np.arange(count)
    order[at_label] = count + np.arange(pairs)
    order[at_label + 1] = count + pairs + np.arange(pairs)
    flat = [names, labels.keys.slice(first, pairs), labels.items.slice(first, pairs)]
    tokens = pa.concat_arrays([a.cast(pa.large_string()) for a in flat]).take(order)
    ends = np.cumsum(np.asarray(pc.binary_length(tokens)))
    text: U8 = np.frombuffer(tokens.buffers()[2], np.uint8)[: ends[-1]]
    data = np.empty(len(text) + len(order), np.uint8)
    at_mark = ends + np.arange(len(order))
    is_text = np.ones(len(data), np.bool_)
    is_text[at_mark] = False
    data[is_text] = text
    data[at_mark] = _END  # that of a key's last token stays, the others follow from the next token
    data[at_mark[at_label - 1]] = _PAIR
    data[at_mark[at_label]] = _VALUE
    return data.tobytes().split(_KEY_END)[:-1]


def metadata_columns(names: Strings, metadata: Mapping[str, Metadata]) -> dict[str, Coded]:
    """Return family, type, unit and help of each series as dictionary arrays, null where nothing is known."""
    coded = names.dictionary_encode()
    rows = [_describe(name, metadata) for name in coded.dictionary.to_pylist()]
    columns = {}
    for position, column in enumerate(_METADATA_COLUMNS):
        known = pa.array([row[position] for row in rows], pa.string())
        columns[column] = known.take(coded.indices).dictionary_encode()
    return columns


def metadata_of(table: pa.Table) -> dict[str, Metadata]:
    """Return the metric families that a series table describes."""
    rows = table.select(_METADATA_COLUMNS).group_by(list(_METADATA_COLUMNS)).aggregate([])
    return {
        row["family"]: Metadata(MetricType(row["type"]), row["unit"] or "", row["help"] or "")
        for row in rows.to_pylist()
        if row["family"] is not None
    }


def fingerprint(keys: Sequence[bytes], metadata: Mapping[str, Coded]) -> str:
    """Return a hash that is equal for blocks with the same series in the same order and the same metadata."""
    digest = hashlib.blake2b(digest_size=16)
    for at in range(0, len(keys), PART_KEYS):
        digest.update((_KEY_END if at else b"") + _KEY_END.join(keys[at : at + PART_KEYS]))
    for column in _METADATA_COLUMNS:
        known = metadata[column]
        digest.update(repr(known.dictionary.to_pylist()).encode())
        digest.update(np.asarray(known.indices.fill_null(-1)).tobytes())
    return digest.hexdigest()


def _strings(text: U8, offsets: I64) -> Strings:
    buffers: list[Any] = [offsets.astype(np.int64), text]
    return pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(buffers[0]), pa.py_buffer(buffers[1])
    )


def _describe(name: str, metadata: Mapping[str, Metadata]) -> tuple[str | None, ...]:
    for family in (name, *(name.removesuffix(s) for s in SAMPLE_SUFFIXES if name.endswith(s))):
        found = metadata.get(family)
        if found is not None:
            return _valid(family), str(found.type), _valid(found.unit), _valid(found.help)
    return (None,) * len(_METADATA_COLUMNS)


def _valid(text: str) -> str:
    """Return text that UTF-8 can hold: help comes from others, who may send half a surrogate pair."""
    return text.encode(errors="replace").decode()
