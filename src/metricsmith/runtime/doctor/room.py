"""Whether what is free on the disk is enough for what will be collected and kept."""

from __future__ import annotations

import os
from pathlib import Path

from metricsmith.config.load import Configuration
from metricsmith.errors import StoreError
from metricsmith.model.duration import format_duration
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import format_size
from metricsmith.store.block_meta import META_FILE, decode_meta
from metricsmith.store.settings import EmbeddedConfig

BYTES_PER_SAMPLE = 2.0
"""Where nothing is measured yet: docs/benchmarks.md has 1.2 to 3.6 by kind of value."""
MANY_SAMPLES = 100_000
"""So many must be in blocks for their size to tell something."""
LEAST_FREE_BYTES = 1 << 30


def examine_room(
    configuration: Configuration, folder: Path, there: Path, samples_per_s: float, findings: Findings
) -> None:
    """Tell whether what is free, and what the folder has already, is enough for what will come."""
    space = os.statvfs(there)
    free = space.f_bavail * space.f_frsize
    journal = configuration.settings.journal.max_size
    store = configuration.store.config
    if not isinstance(store, EmbeddedConfig) or not samples_per_s:
        _tell_free(free, journal, findings)
        return
    samples, used = _measured(folder / "blocks")
    per_sample, how = (used / samples, "measured") if samples > MANY_SAMPLES else (BYTES_PER_SAMPLE, "usual")
    need = samples_per_s * store.retention / 1000 * per_sample
    told = (
        f"{format_size(need)} for {samples_per_s:,.0f} samples/s over {format_duration(store.retention)}"
        f" at {per_sample:.1f} bytes a sample ({how})"
    )
    room = free + used
    if need > room:
        hint = "shorten storage.retention, collect less, or use a larger disk"
        findings.problem("room", f"{format_size(room)} free or used by it", told, hint)
    elif need + journal > room:
        got = (
            f"{format_size(room)} free or used by it, {told}, and journal.max_size is {format_size(journal)}"
        )
        hint = "lower journal.max_size: a sink that is away for long fills it"
        findings.warning("room", got, "room for both", hint)
    else:
        findings.ok("room", f"{format_size(free)} free; needed: {told}")
    if store.max_disk is not None and need > store.max_disk:
        hint = "raise storage.max_disk or shorten storage.retention: at the limit samples are refused"
        findings.problem("storage.max_disk", format_size(store.max_disk), told, hint)
    elif store.max_disk is not None and store.max_disk > room:
        got = f"{format_size(store.max_disk)}, with {format_size(room)} free or used by it"
        findings.warning("storage.max_disk", got, "less than the disk has", "it protects nothing so")


def _tell_free(free: int, journal: int, findings: Findings) -> None:
    if free < LEAST_FREE_BYTES:
        wanted, hint = (
            f"{format_size(LEAST_FREE_BYTES)} at least",
            "the agent refuses samples when it is full",
        )
        findings.warning("room", f"{format_size(free)} free", wanted, hint)
    elif free < journal:
        got = f"{format_size(free)} free, and journal.max_size is {format_size(journal)}"
        hint = "lower journal.max_size: a sink that is away for long fills it"
        findings.warning("room", got, "room for the journal", hint)
    else:
        findings.ok("room", f"{format_size(free)} free")


def _measured(blocks: Path) -> tuple[int, int]:
    """Return the samples in blocks, and the bytes that these take."""
    samples = size = 0
    for file in sorted(blocks.glob(f"*/{META_FILE}")) if os.access(blocks, os.R_OK | os.X_OK) else ():
        try:
            meta = decode_meta(file.read_bytes(), str(file))
        except (StoreError, OSError):
            continue  # `store verify` tells of it
        samples += meta.samples
        size += meta.disk_bytes
    return samples, size
