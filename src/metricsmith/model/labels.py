"""Label sets as one canonical byte string each, parsed only when somebody asks.

A tuple of strings per series costs over a kilobyte, a byte string about 130 bytes. The key is

    metric name, then for each other label in byte order of its name: FF name FE value

FE and FF never occur in UTF-8, so names and values need no escaping, and all series of one metric
share the prefix `name FF` (or are the bare name). Labels with empty values are absent labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

PAIR = b"\xff"
VALUE = b"\xfe"
NAME_LABEL = "__name__"

_PLAIN_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_PLAIN_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def encode_labels(labels: Mapping[str, str]) -> bytes:
    """Return the canonical key of a label set; empty values are left out.

    Raises:
        UnicodeEncodeError: a name or value holds a lone surrogate.

    >>> encode_labels({"__name__": "up", "job": "shop", "zone": ""})
    b'up\\xffjob\\xfeshop'
    """
    pairs = [(n.encode(), v.encode()) for n, v in labels.items() if v and n != NAME_LABEL]
    return encode_pairs(labels.get(NAME_LABEL, "").encode(), pairs)


def encode_pairs(name: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the key of a metric name and UTF-8 label pairs in any order; values must not be empty."""
    return PAIR.join([name, *(VALUE.join(pair) for pair in sorted(pairs))])


def split_key(key: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return metric name and sorted label pairs of a key, as bytes.

    >>> split_key(b'up\\xffjob\\xfeshop')
    (b'up', [(b'job', b'shop')])
    """
    name, *rest = key.split(PAIR)
    pairs = []
    for part in rest:
        label, _, value = part.partition(VALUE)
        pairs.append((label, value))
    return name, pairs


def decode_labels(key: bytes) -> dict[str, str]:
    """Return the label set of a key, `__name__` first when there is one, the others sorted.

    >>> decode_labels(b'up\\xffjob\\xfeshop')
    {'__name__': 'up', 'job': 'shop'}
    """
    name, pairs = split_key(key)
    labels = {NAME_LABEL: name.decode()} if name else {}
    for label, value in pairs:
        labels[label.decode()] = value.decode()
    return labels


def metric_name(key: bytes) -> str:
    """Return the metric name of a key, empty when it has none."""
    return key.partition(PAIR)[0].decode()


def format_labels(labels: Mapping[str, str]) -> str:
    """Return a label set as PromQL writes it, for people; names that are no identifiers go in quotes.

    >>> format_labels({"__name__": "up", "job": 'a"b'})
    'up{job="a\\\\"b"}'
    >>> format_labels({"__name__": "my metric.x", "service": "a"})
    '{"my metric.x", service="a"}'
    """
    name = labels.get(NAME_LABEL, "")
    pairs = [
        f'{n if _PLAIN_LABEL.fullmatch(n) else _quoted(n)}="{escape_value(v)}"'
        for n, v in labels.items()
        if n != NAME_LABEL
    ]
    if name and not _PLAIN_NAME.fullmatch(name):
        name, pairs = "", [_quoted(name), *pairs]
    return f"{name}{{{', '.join(pairs)}}}" if pairs or not name else name


def _quoted(name: str) -> str:
    return f'"{escape_value(name)}"'


def escape_value(value: str) -> str:
    """Return a label value with backslash, quote and newline escaped as exposition text does."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
