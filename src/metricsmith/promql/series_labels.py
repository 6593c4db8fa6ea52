"""Work on label keys: signatures for grouping and matching, names dropped, order, text for errors.

All of it happens once per series of a query, never per sample; keys are `model.labels` byte strings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import numpy as np

from metricsmith.errors import ExecutionError
from metricsmith.model.arrays import I64, Bool
from metricsmith.model.labels import NAME_LABEL, PAIR, VALUE, decode_labels, encode_pairs, split_key
from metricsmith.model.series_keys import SeriesKeys, derive
from metricsmith.promql.values import Vector

NAME = NAME_LABEL.encode()
SAME_LABELSET = "vector cannot contain metrics with the same labelset"
MAX_LABEL_CHARACTERS = 65_536
FEW_NAMES = 32
_ORDER = bytes.maketrans(PAIR + VALUE, b"\x00\x01")


def drop_name(key: bytes) -> bytes:
    """Return the key without metric name."""
    cut = key.find(PAIR)
    return b"" if cut < 0 else key[cut:]


def without_names(keys: Sequence[bytes]) -> SeriesKeys:
    """Return the keys without metric names."""
    return derive(keys, "without names", lambda: SeriesKeys([drop_name(key) for key in keys]))


def signatures(keys: Sequence[bytes], labels: Sequence[str], keep: bool) -> list[bytes]:
    """Return keys with only the named labels (`keep`), or with all but those and the metric name."""
    return derive(keys, ("signatures", tuple(labels), keep), lambda: _signatures(keys, labels, keep))


def _signatures(keys: Sequence[bytes], labels: Sequence[str], keep: bool) -> list[bytes]:
    names = frozenset(label.encode() for label in labels)
    if keep:
        return [_only(key, names) for key in keys] if names else [b""] * len(keys)
    return [_all_but(key, names) for key in keys] if names else without_names(keys)


def _only(key: bytes, names: frozenset[bytes]) -> bytes:
    name, *pairs = key.split(PAIR)
    kept = [pair for pair in pairs if pair[: pair.index(VALUE)] in names]
    return PAIR.join([name if NAME in names else b"", *kept])


def _all_but(key: bytes, names: frozenset[bytes]) -> bytes:
    _, *pairs = key.split(PAIR)
    return PAIR.join([b"", *(pair for pair in pairs if pair[: pair.index(VALUE)] not in names)])


def occurring(names: tuple[str, ...], *keys: Iterable[bytes]) -> tuple[str, ...]:
    """Return the names that any of the series has, when there are too many to look up in each of them."""
    if len(names) <= FEW_NAMES:
        return names
    known = {name for some in keys for key in some for name in decode_labels(key)}
    return tuple(name for name in names if name in known)


def replace_labels(key: bytes, changed: dict[str, str]) -> bytes:
    """Return the key with some labels set, or removed where the value is empty.

    Raises:
        ExecutionError: a value is too long: nested calls can double it again and again.
    """
    name, pairs = split_key(key)
    labels = dict(pairs)
    for label, value in changed.items():
        if len(value) > MAX_LABEL_CHARACTERS:
            raise ExecutionError(
                f"got {len(value)} characters for label {label!r}, wanted at most {MAX_LABEL_CHARACTERS}"
            )
        if label == NAME_LABEL:
            name = value.encode()
        else:
            labels[label.encode()] = value.encode()
    return encode_pairs(name, [(label, value) for label, value in labels.items() if value])


def number_groups(groups: Iterable[bytes]) -> tuple[I64, list[bytes]]:
    """Return the number of each element's group, and the groups in order of first appearance.

    Shapes:
        returns: (S,), G groups.
    """
    found: dict[bytes, int] = {}
    numbers = [found.setdefault(group, len(found)) for group in groups]
    return np.array(numbers, dtype=np.int64), list(found)


def merge_same_labels(vector: Vector) -> Vector:
    """Return the vector with series of equal labels joined, where they never meet at one step.

    Raises:
        ExecutionError: two of them have a value at the same step.
    """
    if are_distinct(vector.keys):
        return vector
    numbers, keys = number_groups(vector.keys)
    present = vector.mask()
    refuse_duplicates(numbers, len(keys), present)
    values = np.empty((len(keys), vector.values.shape[1]))
    merged = np.zeros(values.shape, dtype=np.bool_)
    for row, number in enumerate(numbers.tolist()):
        values[number] = np.where(present[row], vector.values[row], values[number])
        merged[number] |= present[row]
    return Vector(keys, values, merged)


def refuse_duplicates(numbers: I64, groups: int, present: Bool) -> None:
    """Raise if two series of one group have a value at the same step.

    Shapes:
        numbers: (S,), present: (S, T).
    Raises:
        ExecutionError: as said.
    """
    taken = np.zeros((groups, present.shape[1]), dtype=np.bool_)
    for row, number in enumerate(numbers.tolist()):
        if (taken[number] & present[row]).any():
            raise ExecutionError(SAME_LABELSET)
        taken[number] |= present[row]


def refuse_same_labels(keys: Sequence[bytes]) -> None:
    """Raise if two series have the same labels, whether or not they meet.

    Raises:
        ExecutionError: as said.
    """
    if not are_distinct(keys):
        raise ExecutionError(SAME_LABELSET)


def are_distinct(keys: Sequence[bytes]) -> bool:
    """Return whether no two keys are equal."""
    return derive(keys, "distinct", lambda: len(set(keys)) == len(keys))


def label_order(keys: Sequence[bytes]) -> list[int]:
    """Return the indices that sort keys as Prometheus sorts label sets: label by label, name then value."""
    return derive(keys, "order", lambda: _label_order(keys))


def _label_order(keys: Sequence[bytes]) -> list[int]:
    if any(_starts_before_name(key) for key in keys):
        pairs = [sorted(_pairs_with_name(key)) for key in keys]
        return sorted(range(len(keys)), key=pairs.__getitem__)
    # The separators become the smallest bytes, so that a prefix sorts first.
    texts = [_named(key).translate(_ORDER) for key in keys]
    return sorted(range(len(keys)), key=texts.__getitem__)


def _starts_before_name(key: bytes) -> bool:
    cut = key.find(PAIR)
    return cut >= 0 and key[cut + 1 : cut + 1 + len(NAME)] < NAME


def _pairs_with_name(key: bytes) -> list[tuple[bytes, bytes]]:
    name, pairs = split_key(key)
    return [(NAME, name), *pairs] if name else pairs


def _named(key: bytes) -> bytes:
    return key[1:] if key[:1] == PAIR else b"%s\xfe%s" % (NAME, key) if key else key


def describe(key: bytes) -> str:
    """Return the labels of a key as Prometheus writes them in errors.

    >>> describe(b'up\\xffjob\\xfeshop')
    '{__name__="up", job="shop"}'
    """
    labels = sorted(decode_labels(key).items())
    return "{" + ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in labels) + "}"
