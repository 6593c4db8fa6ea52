"""The address of a group: `/metrics/job/NAME{/LABEL/VALUE}`, where `@base64` marks encoded values."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from metricsmith.errors import WireError

BASE64 = "@base64"
MAX_LABELS = 64
MAX_VALUE_BYTES = 2000
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,199}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def read_grouping(path: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of the raw path behind `/metrics/`, sorted by name; empty values are left out.

    A slash within a value comes as `%2F`, or in base64 with the alphabet for
    addresses; `=` alone is the empty value.

    Raises:
        WireError: they name no group.
    Source:
        Prometheus Pushgateway, README, "URL".

    >>> read_grouping("job/shop/zone@base64/YS9i")
    (('job', 'shop'), ('zone', 'a/b'))
    """
    parts = path.split("/")
    if len(parts) % 2 or len(parts) > 2 * MAX_LABELS:
        raise WireError(
            f"got {len(parts)} parts behind /metrics/, wanted pairs of label and value, {MAX_LABELS} at most"
        )
    labels: dict[str, str] = {}
    for written, value in zip(parts[::2], parts[1::2], strict=True):
        name = _text(unquote_to_bytes(written))
        encoded = name.endswith(BASE64)
        name = name.removesuffix(BASE64)
        if not _LABEL.fullmatch(name) or name.startswith("__"):
            raise WireError(
                f'got the label name "{name[:100]}", wanted letters, digits and single underscores'
            )
        if name in labels:
            raise WireError(f'got the label "{name}" twice, wanted each once')
        labels[name] = _text(_decode(value)) if encoded else _text(unquote_to_bytes(value))
        if len(labels[name].encode()) > MAX_VALUE_BYTES or _CONTROL.search(labels[name]):
            raise WireError(
                f"{name}: wanted a value of at most {MAX_VALUE_BYTES:,} bytes without control characters"
            )
    if not labels.get("job"):
        raise WireError("job name is required")
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def _decode(value: str) -> bytes:
    text = unquote_to_bytes(value).rstrip(b"=")
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise WireError(f'got "{value[:100]}", wanted base64 with the alphabet for addresses') from None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise WireError(f"got {value[:100]!r}, wanted UTF-8") from None
