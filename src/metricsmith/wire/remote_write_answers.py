"""Headers of the answers to remote-write requests: how much of a request was written."""

from __future__ import annotations

SAMPLES_WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"
HISTOGRAMS_WRITTEN = "X-Prometheus-Remote-Write-Histograms-Written"
EXEMPLARS_WRITTEN = "X-Prometheus-Remote-Write-Exemplars-Written"


def read_written(header: str) -> int:
    """Return the number that such a header says, 0 where it is none."""
    return int(header) if header.isascii() and header.isdigit() and len(header) < 20 else 0
