"""Type, unit and help of metric families, in a file beside the samples: a JSON object by family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import orjson

from metricsmith.model.metadata import Metadata, MetricType

METADATA_FILE = "metrics.metadata"
"""Without `.json`: who reads `*.json` wants samples."""
MAX_BYTES = 64 << 20


def pack_metadata(metadata: Mapping[str, Metadata]) -> bytes:
    """Return the bytes of the file."""
    families = {
        name: {"type": str(known.type), "unit": known.unit, "help": known.help}
        for name, known in sorted(metadata.items())
    }
    return orjson.dumps(families, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_metadata(folder: Path) -> dict[str, Metadata]:
    """Return what the file of a folder tells; nothing where there is none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is none of ours.
    """
    try:
        with (folder / METADATA_FILE).open("rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError:
        return {}
    try:
        return {
            name: Metadata(MetricType(each["type"]), each["unit"], each["help"])
            for name, each in orjson.loads(data).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / METADATA_FILE}: {type(error).__name__}: {error}") from None
