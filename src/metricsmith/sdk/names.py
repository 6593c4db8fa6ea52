"""Names of metrics and labels: built, checked, and written as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_REST = _START | frozenset("0123456789")


def full_name(type: str, name: str, namespace: str = "", subsystem: str = "", unit: str = "") -> str:
    """Return the name of a family: parts joined by `_`, the unit last, `_total` of a counter left out.

    Raises:
        ValueError: not a name that Prometheus knows, or a unit where none can be.

    >>> full_name("counter", "sent_total", "shop", "mail", "bytes")
    'shop_mail_sent_bytes'
    """
    if not name:
        raise ValueError("got an empty name, wanted that of a metric")
    full = "_".join(part for part in (namespace, subsystem, name) if part)
    if type == "counter":
        full = full.removesuffix("_total")
    if unit and not full.endswith(f"_{unit}"):
        full += f"_{unit}"
    if unit and type in ("info", "stateset"):
        raise ValueError(f"got the unit {unit!r} for {full}, wanted none: an {type} has no unit")
    if not is_name(full, ":"):
        raise ValueError(f"got the metric name {full!r}, wanted letters, digits and _: {legacy_name(full)!r}")
    return full


def is_name(text: str, also: str = "") -> bool:
    """Return whether every reader of the text format understands this name."""
    return (
        bool(text) and (text[0] in _START or text[0] in also) and all(c in _REST or c in also for c in text)
    )


@lru_cache(4096)
def legacy_name(name: str) -> str:
    """Return a name that every reader understands, `_` in place of what is not allowed.

    >>> legacy_name("http.server.duration")
    'http_server_duration'
    """
    if is_name(name, ":"):
        return name
    text = "".join([c if c in _REST or c == ":" else "_" for c in name])
    return text if text[:1] in _START else f"_{text}"


def check_labels(metric: str, labelnames: Iterable[str], reserved: Sequence[str]) -> tuple[str, ...]:
    """Return the label names.

    Raises:
        ValueError: one is no label name, is reserved for this type, or is there twice.
    """
    if isinstance(labelnames, str):
        raise ValueError(
            f"{metric}: got the label names {labelnames!r}, wanted a list such as [{labelnames!r}]"
        )
    names = tuple(labelnames)
    for name in names:
        if not is_name(name) or name.startswith("__"):
            raise ValueError(
                f"{metric}: got the label name {name!r}, wanted letters, digits and _, not __ first"
            )
        if name in reserved:
            raise ValueError(f"{metric}: got the label name {name!r}, which this type of metric sets itself")
    if len(set(names)) < len(names):
        raise ValueError(f"{metric}: got the label names {names}, wanted each once")
    return names


def escape(value: str) -> str:
    """Return a label value as it stands between quotes.

    >>> print(escape('say "hi"'))
    say \\"hi\\"
    """
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def pairs(labels: Iterable[tuple[str, str]]) -> str:
    """Return labels as they stand between braces."""
    return ",".join([f'{label}="{escape(value)}"' for label, value in labels])


def series(name: str, labels: Iterable[tuple[str, str]]) -> str:
    """Return a series as exposition has it.

    >>> series("up", [("job", "shop")])
    'up{job="shop"}'
    """
    between = pairs(labels)
    return f"{name}{{{between}}}" if between else name


def number(value: float) -> str:
    """Return a value as both text formats have it.

    >>> number(float("inf")), number(0.1), number(3)
    ('+Inf', '0.1', '3')
    """
    if value - value == 0:
        return repr(value)
    return "NaN" if value != value else ("+Inf" if value > 0 else "-Inf")


def bound(value: float) -> str:
    """Return a bucket bound or quantile as clients in Go and Python write it: series keep their identity.

    >>> bound(2500000.0), bound(0.5), bound(10.0)
    ('2.5e+06', '0.5', '10.0')
    """
    text = number(float(value))
    point = text.find(".")
    if value > 0 and point > 6:
        mantissa = f"{text[0]}.{text[1:point]}{text[point + 1 :]}".rstrip("0").rstrip(".")
        return f"{mantissa}e+{point - 1:02d}"
    return text
