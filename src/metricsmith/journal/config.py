"""Settings of the journal."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from metricsmith.contracts import PartConfig


class Sync(StrEnum):
    """When written batches are forced to the disk."""

    COMMIT = "commit"
    INTERVAL = "interval"
    NEVER = "never"


class JournalConfig(PartConfig):
    """Settings of the journal."""

    segment_bytes: int = Field(
        64 << 20, ge=4096, le=1 << 30, description="Size at which a new segment file is begun, in bytes."
    )
    sync: Sync = Field(
        Sync.COMMIT,
        description="When to fdatasync: before each acknowledgement (commit), every sync_interval_ms "
        "(interval; a power cut loses that much), or when the system likes (never).",
    )
    sync_interval_ms: int = Field(1000, ge=1, description="Used with sync: interval. Milliseconds.")
