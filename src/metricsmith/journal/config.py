"""Settings of the journal."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, SizeBytes, format_size


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
    max_size: SizeBytes = Field(
        10 << 30,
        ge=8192,
        description="Largest size of all segments; above it, the oldest is given up for the sinks that still"
        " need it, and counted as `expired` for each. At least twice `segment_size`.",
    )
    sync: Sync = Field(
        Sync.COMMIT,
        description="When to fdatasync: before each acknowledgement (commit), every sync_interval "
        "(interval; a power cut loses that much), or when the system likes (never).",
    )
    sync_interval: DurationMs = Field(1000, ge=1, description="Used with `sync: interval`.")

    @model_validator(mode="after")
    def _room_for_two(self) -> JournalConfig:
        if self.max_size < 2 * self.segment_size:
            raise ValueError(
                f"got max_size {format_size(self.max_size)}, wanted at least"
                f" {format_size(2 * self.segment_size)}, twice the segment_size"
            )
        return self
