"""Settings of the journal."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, SizeBytes


class Sync(StrEnum):
    """When written batches are forced to the disk."""

    COMMIT = "commit"
    INTERVAL = "interval"
    NEVER = "never"


class JournalConfig(PartConfig):
    """The durable log that every sample passes."""

    segment_size: SizeBytes = Field(
        64 << 20, ge=4096, le=1 << 30, description="Size at which a new segment file is begun."
    )
    sync: Sync = Field(
        Sync.COMMIT,
        description="When to fdatasync: before each acknowledgement (commit), every sync_interval "
        "(interval; a power cut loses that much), or when the system likes (never).",
    )
    sync_interval: DurationMs = Field(1000, ge=1, description="Used with `sync: interval`.")
