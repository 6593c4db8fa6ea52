"""Settings of the embedded store; light, so that reading a configuration loads no array library."""

from __future__ import annotations

from pydantic import Field, model_validator

from metricsmith.model.settings_types import DurationMs, SizeBytes, format_size
from metricsmith.store_contracts import StoreConfig


class EmbeddedConfig(StoreConfig):
    """Settings of the embedded store."""

    max_disk: SizeBytes | None = Field(None, description="Refuse new samples rather than use more disk.")
    retention_size: SizeBytes | None = Field(
        None,
        description="Delete the oldest blocks rather than use more disk for blocks.",
    )
    head_bytes: SizeBytes = Field(
        64 << 20, ge=64 << 10, description="Memory of recent samples before they are flushed; 64KB at least."
    )
    head_age: DurationMs = Field(
        2 * 3_600_000,
        ge=60_000,
        description="Recent samples are flushed when the clock passes a multiple of this, if not before."
        " 2h, the window of blocks, gives a quiet agent one block per window.",
    )
    cache_bytes: SizeBytes = Field(
        256 << 20, description="Memory for decoded parts of blocks; it fills as queries read them."
    )

    @model_validator(mode="after")
    def _deletes_before_it_refuses(self) -> EmbeddedConfig:
        most, kept = self.max_disk, self.retention_size
        if most is not None and kept is not None and kept >= most:
            raise ValueError(
                f"got retention_size {format_size(kept)} and max_disk {format_size(most)}, wanted a smaller"
                " retention_size: at max_disk samples are refused, and nothing would be deleted to make room"
            )
        return self
