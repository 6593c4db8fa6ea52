"""Settings of a `file` sink."""

from __future__ import annotations

from pydantic import Field

from metricsmith.contracts import SinkConfig
from metricsmith.model.settings_types import DurationMs, FilePathText
from metricsmith.wire.sample_files.settings import FileSettings


class FileSinkConfig(FileSettings, SinkConfig):
    """Settings of a `file` sink: samples as files that people and other programs read."""

    path: FilePathText = Field(
        min_length=1, max_length=4000, description="Folder of the files; it is made where there is none."
    )
    retention: DurationMs | None = Field(
        None, ge=60_000, description="Files whose samples are all older are deleted; default: none."
    )
