"""Names of the cursors that sinks have in the journal."""

from __future__ import annotations

import re

import xxhash

_PREFIX = "sink."
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")


def reader_name(sink: str) -> str:
    """Return the name of a sink's cursor: readable, and another for each sink.

    >>> reader_name("oci"), reader_name("a b")
    ('sink.oci', 'sink.a_b.19d57fc4')
    """
    readable = _NOT_IN_NAMES.sub("_", sink)[:80]
    return f"{_PREFIX}{readable}" + ("" if readable == sink else f".{xxhash.xxh32_hexdigest(sink)}")


def shown_name(reader: str) -> str:
    """Return what people see of a sink that is gone: all that is left of its name.

    >>> shown_name("sink.oci"), shown_name("sink.a_b.19d57fc4")
    ('oci', 'a_b.19d57fc4')
    """
    return reader.removeprefix(_PREFIX)
