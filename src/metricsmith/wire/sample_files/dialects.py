"""What a line of samples looks like, in JSON and in CSV: time, what depends on the series, value, end.

    {"time":"2026-11-21T18:00:00.000Z","name":"up","labels":{"job":"shop"},"value":1.0}
    2026-11-21T18:00:00.000Z,up,"{""job"":""shop""}",1.0

A line is a sample: a metric name with a line break stands among the labels in CSV, as `__name__`.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Any

import orjson

from metricsmith.model.labels import NAME_LABEL, decode_labels, encode_labels
from metricsmith.wire.exposition.numbers import NUMBER
from metricsmith.wire.sample_files.names import Form

TIME_BYTES = 24
"""2026-11-21T18:00:00.000Z"""


@dataclass(frozen=True, slots=True)
class Sample:
    """One line, read by itself. A value of None is a staleness marker."""

    time: str
    key: bytes
    value: float | None


@dataclass(frozen=True, slots=True)
class Json:
    """JSON lines. NaN and infinities are texts, a staleness marker is null.

    The words are those that other languages and DuckDB turn into numbers, unlike +Inf.
    """

    header = b""
    begin = b'{"time":"'
    end = b"}\n"
    before_value = b":"
    nan, plus, minus, stale = b'"NaN"', b'"Infinity"', b'"-Infinity"', b"null"

    def middle(self, key: bytes) -> bytes:
        """Return what stands between time and value."""
        labels = decode_labels(key)
        name = labels.pop(NAME_LABEL, "")
        return b'","name":%s,"labels":%s,"value":' % (orjson.dumps(name), orjson.dumps(labels))

    def key_of(self, middle: bytes) -> bytes:
        """Return the series of what stands between time and value.

        Raises:
            ValueError: it is none, or the value after it is that of another key.
        """
        if not middle.endswith(b',"value":'):
            raise ValueError('"value" is not the last key')
        return self.sample(b'{"time":"' + middle + b"null}").key

    def sample(self, line: bytes) -> Sample:
        """Return the sample of a line, written by whomever.

        Raises:
            ValueError: it is none.
        """
        found: Any = orjson.loads(line)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        labels, name, value = found.get("labels", {}), found.get("name", ""), found.get("value", ...)
        if value is ...:
            raise ValueError('no "value"')
        if not isinstance(labels, dict):
            raise ValueError('"labels" is no object')
        return Sample(str(found.get("time")), _key(name, labels), None if value is None else _number(value))


@dataclass(frozen=True, slots=True)
class Csv:
    """CSV with a header; labels are a JSON object in their column, a staleness marker is an empty value."""

    header = b"time,name,labels,value\n"
    begin = b""
    end = b"\n"
    before_value = b","
    nan, plus, minus, stale = b"NaN", b"Infinity", b"-Infinity", b""

    def middle(self, key: bytes) -> bytes:
        """Return what stands between time and value."""
        labels = decode_labels(key)
        name = labels.get(NAME_LABEL, "").encode()
        if b"\n" in name or b"\r" in name:
            name = b""
        else:
            labels.pop(NAME_LABEL, None)
        return b",%s,%s," % (_quoted(name), _quoted(orjson.dumps(labels)))

    def key_of(self, middle: bytes) -> bytes:
        """Return the series of what stands between time and value.

        Raises:
            ValueError: it is none.
        """
        return self.sample(middle).key

    def sample(self, line: bytes) -> Sample:
        """Return the sample of a line, written by whomever.

        Raises:
            ValueError: it is none.
        """
        try:
            row = next(csv.reader([line.decode()], strict=True), [])
        except csv.Error as error:
            raise ValueError(str(error)) from None
        if len(row) != 4:
            raise ValueError(f"got {len(row)} columns, wanted time, name, labels, value")
        time, name, labels, value = row
        found: Any = orjson.loads(labels) if labels else {}
        if not isinstance(found, dict):
            raise ValueError("labels are no JSON object")
        return Sample(time, _key(name, found), _number(value) if value else None)


Dialect = Json | Csv
DIALECTS: dict[Form, Dialect] = {Form.JSON: Json(), Form.CSV: Csv()}


def labels_text(key: bytes) -> tuple[str, str]:
    """Return name and labels of a series, these as a JSON object.

    >>> labels_text(b"up\\xffjob\\xfeshop")
    ('up', '{"job":"shop"}')
    """
    labels = decode_labels(key)
    return labels.pop(NAME_LABEL, ""), orjson.dumps(labels).decode()


def key_of_texts(name: str, labels: str) -> bytes:
    """Return the series of a name and of labels as a JSON object.

    Raises:
        ValueError: they are none.
    """
    found: Any = orjson.loads(labels) if labels else {}
    if not isinstance(found, dict):
        raise ValueError("labels are no JSON object")
    return _key(name, found)


def _key(name: Any, labels: dict[str, Any]) -> bytes:
    texts = {label: value for label, value in labels.items() if isinstance(value, str) and label}
    if len(texts) < len(labels) or not isinstance(name, str):
        raise ValueError("a label or the name is no text")
    return encode_labels({NAME_LABEL: name, **texts} if name else texts)


def _quoted(text: bytes) -> bytes:
    if any(each in text for each in (b",", b'"', b"\r", b"\n")) or text != text.strip():
        return b'"%s"' % text.replace(b'"', b'""')
    return text


_WORDS = {
    "NaN": math.nan,
    **dict.fromkeys(("Infinity", "Inf", "+Inf"), math.inf),
    **dict.fromkeys(("-Infinity", "-Inf"), -math.inf),
}


def _number(value: Any) -> float:
    if isinstance(value, str) and value in _WORDS:
        return _WORDS[value]
    is_text = isinstance(value, str) and NUMBER.fullmatch(value.encode())
    if isinstance(value, bool) or not (is_text or isinstance(value, int | float)):
        raise ValueError(f"got a value of {str(value)[:40]}, wanted a number")
    return float(value)
