"""Settings of a store that is files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from metricsmith.model.settings_types import SizeBytes
from metricsmith.store_contracts import StoreConfig
from metricsmith.wire.sample_files.settings import FileSettings


class FileStoreConfig(FileSettings, StoreConfig):
    """Samples as files in the data folder, which people and other programs read, too."""

    cache_bytes: SizeBytes = Field(
        256 << 20,
        description="Memory for decoded samples of JSON and CSV files; it fills as queries read them.",
    )

    def sink(self) -> dict[str, Any]:
        """Return the settings of the sink that writes the files."""
        shared = {name: getattr(self, name) for name in FileSettings.model_fields}
        return {**shared, "path": str(Path(self.path).absolute()), "retention": self.retention}
