"""The typed settings of the `kafka` source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from metricsmith.contracts import PartConfig
from metricsmith.model.settings_types import DurationMs, SizeBytes
from metricsmith.net.kafka_settings import Connection
from metricsmith.sources.name_filter import Filter

HOUR_MS, DAY_MS = 3_600_000, 86_400_000


Isolation = Literal["read_uncommitted", "read_committed"]


def _off(value: Any) -> Any:
    return "off" if value is False else value  # YAML takes a bare `off` for false


class TombstoneSettings(PartConfig):
    """Checks of tombstones: record batches are read from the logs, by a connection of its own."""

    mode: Annotated[Literal["sampled", "exact", "off"], BeforeValidator(_off)] = Field(
        "sampled",
        description="Windows across each log, whole logs (only what is new at each check), or nothing.",
    )
    topics: Filter = Field(Filter(), description="Topics to check, of those that are looked at.")
    interval: DurationMs = Field(HOUR_MS, ge=100, le=7 * DAY_MS, description="Time between checks.")
    sample_size: int = Field(
        1000, ge=1, le=10_000_000, description="Records to read of each partition, about; for `sampled`."
    )
    max_records: int = Field(
        100_000_000, ge=1, le=1 << 62, description="Most records that a check reads, of all topics together."
    )
    max_bytes: SizeBytes = Field(1 << 30, ge=1, le=1 << 62, description="Most bytes that a check reads.")
    max_duration: DurationMs = Field(600_000, ge=100, le=DAY_MS, description="Longest time of a check.")
    isolation_level: Isolation = Field(
        "read_uncommitted", description="Whether records of aborted and open transactions count."
    )


class KafkaConfig(Connection):
    """Settings of a `kafka` source: topics, groups, offsets, lag."""

    instance: str = Field(
        "", max_length=300, description="`instance` label of the series; else the first bootstrap server."
    )
    labels: dict[str, str] = Field({}, max_length=30, description="Labels put on every series.")
    topics: Filter = Field(Filter(), description="Topics to look at.")
    groups: Filter = Field(Filter(), description="Consumer groups to look at.")
    internal_topics: bool = Field(False, description="Look at topics such as __consumer_offsets too.")
    interval: DurationMs = Field(
        30_000, ge=100, le=DAY_MS, description="Time between readings of topics, offsets, groups and lag."
    )
    log_dirs_interval: DurationMs = Field(
        60_000, ge=0, le=DAY_MS, description="Time between readings of sizes on disk; 0 is never."
    )
    configs_interval: DurationMs = Field(
        600_000, ge=0, le=DAY_MS, description="Time between readings of topic configurations; 0 is never."
    )
    tombstones: TombstoneSettings = Field(TombstoneSettings(), description="Checks of tombstones.")
    history_window: DurationMs = Field(
        HOUR_MS, ge=1000, le=7 * DAY_MS, description="How far back lag is looked at for trends and times."
    )
    stalled_after: DurationMs = Field(
        120_000, ge=0, le=DAY_MS, description="Unread data without a commit for so long is a stall."
    )
    keep_for: DurationMs = Field(
        600_000,
        ge=0,
        le=DAY_MS,
        description="How long the last good value of what cannot be read is shown, with its age.",
    )
    record_times: Annotated[Literal["older", "all", "off"], BeforeValidator(_off)] = Field(
        "older",
        description="Whose next record to read is looked at for its own time: lags older than the history,"
        " all lags, or none.",
    )
    max_record_times: int = Field(
        200, ge=1, le=100_000, description="Most records looked at for that in a reading."
    )
    isolation_level: Isolation = Field(
        "read_uncommitted",
        description="End offsets as these consumers see them: all, or up to the last stable offset.",
    )
    max_partitions: int = Field(
        100_000,
        ge=1,
        le=1_000_000,
        description="Most partitions; those above, by topic, are left out and counted.",
    )
    max_groups: int = Field(
        10_000, ge=1, le=1_000_000, description="Most groups; those above, by name, are left out and counted."
    )
