"""The `#` lines: help, type and unit of metric families."""

from __future__ import annotations

import re
from dataclasses import dataclass

from metricsmith.model.metadata import MetricType
from metricsmith.wire.exposition.lines import malformed
from metricsmith.wire.exposition.series_text import NAME, QUOTED, unescape

_TEXT = re.compile(rb"[ \t]*#[ \t]+(HELP|TYPE)[ \t]+(.*)", re.DOTALL)
_TEXT_BODY = re.compile(rb"(" + NAME + rb"|" + QUOTED + rb")(?:[ \t](.*))?", re.DOTALL)
_STRICT = re.compile(rb"# (HELP|TYPE|UNIT) (" + NAME + rb"|" + QUOTED + rb") (.*)", re.DOTALL)
_HELP_ESCAPE = re.compile(rb"\\([\\n])")

_TEXT_TYPES = {
    "counter": MetricType.COUNTER,
    "gauge": MetricType.GAUGE,
    "histogram": MetricType.HISTOGRAM,
    "summary": MetricType.SUMMARY,
    "untyped": MetricType.UNKNOWN,
}
_STRICT_TYPES = {t.value: t for t in MetricType}


@dataclass(frozen=True, slots=True)
class Comment:
    """One line of metadata: `kind` is HELP, TYPE or UNIT; `type` is set for TYPE."""

    line: int
    kind: str
    family: bytes
    text: str
    type: MetricType = MetricType.UNKNOWN


def parse_comment(line: bytes, number: int, strict: bool) -> Comment | None:
    """Return the metadata of a line that begins with `#`, or None for a comment that is only one.

    Raises:
        ExpositionError: metadata without a name, of an unknown type, or in
            OpenMetrics any other comment.
    """
    if strict:
        found = _STRICT.fullmatch(line)
        if found is None:
            raise malformed("wanted # HELP, # TYPE or # UNIT with a name and a text", number, line)
        kind, name, text = found.groups()
    else:
        head = _TEXT.fullmatch(line)
        if head is None:
            return None
        found = _TEXT_BODY.fullmatch(head[2])
        if found is None:
            raise malformed(f"wanted a metric name after {head[1].decode()}", number, line)
        kind, (name, text) = head[1], found.groups(b"")
    family = unescape(name[1:-1]) if name.startswith(b'"') else name
    if not family:
        raise malformed("got an empty metric name", number, line)
    if kind == b"TYPE":
        types = _STRICT_TYPES if strict else _TEXT_TYPES
        type_ = types.get(text.decode())
        if type_ is None:
            raise malformed(f"got an unknown type, wanted one of {', '.join(types)}", number, line)
        return Comment(number, "TYPE", family, "", type_)
    if kind == b"HELP":
        return Comment(number, "HELP", family, _unescape_help(text, strict).decode())
    return Comment(number, "UNIT", family, text.decode())


def _unescape_help(text: bytes, strict: bool) -> bytes:
    if strict:
        return unescape(text)
    return _HELP_ESCAPE.sub(lambda m: b"\n" if m[1] == b"n" else b"\\", text)
