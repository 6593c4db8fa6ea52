"""The series of the `kafka` source: declared once, written as sheets, made into batches.

Names and labels are those of kafka_exporter where it has the metric, so that dashboards made for it work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress

from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.batch import Batch
from metricsmith.model.labels import encode_labels
from metricsmith.model.metadata import Metadata, MetricType
from metricsmith.model.series import SeriesTable
from metricsmith.sources.stream import SeriesStream

_PARTITION = ("topic", "partition")
_PAIR = ("consumergroup", "topic", "partition")
_TOPIC_PAIR = ("consumergroup", "topic")

METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    # the collection itself
    "kafka_up": ("1 when the cluster answered in the last round, else 0.", ()),
    "kafka_snapshot_age_seconds": ("Age of the oldest value shown, by part.", ("part",)),
    "kafka_snapshot_old_items": (
        "Partitions, groups or brokers whose last good values are shown.",
        ("part",),
    ),
    # brokers
    "kafka_brokers": ("Brokers of the cluster.", ()),
    "kafka_broker_info": ("1; where a broker is.", ("id", "address", "rack")),
    "kafka_controller_id": ("Id of the controller, -1 without one.", ()),
    "kafka_broker_leaders": ("Partitions that a broker leads.", ("id",)),
    "kafka_broker_preferred_leaders": ("Partitions that a broker should lead.", ("id",)),
    "kafka_broker_replicas": ("Replicas that a broker has.", ("id",)),
    # topics
    "kafka_topic_partitions": ("Partitions of a topic.", ("topic",)),
    "kafka_topic_partition_leader": ("Id of the leader, -1 without one.", _PARTITION),
    "kafka_topic_partition_leader_is_preferred": ("1 when the first replica leads.", _PARTITION),
    "kafka_topic_partition_replicas": ("Replicas.", _PARTITION),
    "kafka_topic_partition_in_sync_replica": ("Replicas in sync.", _PARTITION),
    "kafka_topic_partition_offline_replicas": ("Replicas on brokers or disks that are away.", _PARTITION),
    "kafka_topic_partition_under_replicated_partition": ("1 with fewer in sync than there are.", _PARTITION),
    "kafka_topic_partition_current_offset": ("Offset after the last record.", _PARTITION),
    "kafka_topic_partition_oldest_offset": ("Offset of the first record.", _PARTITION),
    "kafka_topic_partition_snapshot_age_seconds": ("Age of offsets that were not read now.", _PARTITION),
    # groups
    "kafka_consumergroup_info": (
        "1; state, kind and coordinator.",
        ("consumergroup", "state", "kind", "coordinator"),
    ),
    "kafka_consumergroup_members": ("Members of a group.", ("consumergroup",)),
    "kafka_consumergroup_committed_partitions": ("Partitions with a commit.", ("consumergroup",)),
    "kafka_consumergroup_snapshot_age_seconds": ("Age of values that were not read now.", ("consumergroup",)),
    "kafka_consumergroup_current_offset": ("Committed offset.", _PAIR),
    "kafka_consumergroup_current_offset_sum": ("Committed offsets of a topic, added up.", _TOPIC_PAIR),
    "kafka_consumergroup_lag": ("Records between commit and end that are still there.", _PAIR),
    "kafka_consumergroup_lag_sum": ("Lag of a topic's partitions, added up.", _TOPIC_PAIR),
    "kafka_consumergroup_lag_seconds": ("Age of the next record to read, or a lower bound.", _PAIR),
    "kafka_consumergroup_lag_seconds_at_least": ("1 when lag_seconds is a lower bound, else 0.", _PAIR),
    "kafka_consumergroup_lag_state": ("1; why the lag is as it is.", (*_PAIR, "reason")),
    "kafka_consumergroup_lag_trend": ("Change of the lag, records a second.", _PAIR),
    "kafka_consumergroup_catch_up_seconds": ("Time until the lag is gone, +Inf for never.", _PAIR),
    "kafka_consumergroup_catch_up_seconds_low": ("Lower end of its 95 % interval.", _PAIR),
    "kafka_consumergroup_catch_up_seconds_high": ("Upper end of its 95 % interval.", _PAIR),
    "kafka_consumergroup_topic_catch_up_seconds": ("The longest of a topic's partitions.", _TOPIC_PAIR),
    "kafka_consumergroup_until_deleted_seconds": (
        "Until retention by time may delete unread records.",
        _PAIR,
    ),
    "kafka_consumergroup_until_deleted_by_size_seconds": (
        "Until retention by size may delete unread records, at the present rate of writing.",
        _PAIR,
    ),
    # sizes on disk
    "kafka_log_dir_size_bytes": ("Bytes of a replica on disk.", ("broker", "log_dir", *_PARTITION)),
    "kafka_log_dir_total_bytes": ("Size of the volume.", ("broker", "log_dir")),
    "kafka_log_dir_usable_bytes": ("Room left on the volume.", ("broker", "log_dir")),
    "kafka_log_dir_snapshot_age_seconds": ("Age of sizes that were not read now.", ("broker",)),
    # tombstones, as the last check found them
    **{
        f"{place}_{name}": (text, labels)
        for place, labels in (("kafka_topic", ("topic",)), ("kafka_topic_partition", _PARTITION))
        for name, text in (
            ("tombstones", "Records without a value among those that were read."),
            ("empty_values", "Records with a value of no bytes among those that were read; no tombstones."),
            ("tombstone_check_records", "Records that were read."),
            ("tombstone_ratio_percent", "Tombstones in percent of the records, of the whole log."),
            ("tombstone_interval_low_percent", "Lower end of its interval: sure, or 95 % when sampled."),
            ("tombstone_interval_high_percent", "Upper end of its interval."),
            ("tombstone_coverage", "Part of the log that was read, 0 to 1."),
            ("tombstone_check_timestamp_seconds", "Unix time of the check."),
        )
    },
    # topic settings
    "kafka_topic_retention_seconds": ("retention.ms, +Inf for ever.", ("topic",)),
    "kafka_topic_retention_bytes": ("retention.bytes of a partition, +Inf without limit.", ("topic",)),
    "kafka_topic_min_insync_replicas": ("min.insync.replicas.", ("topic",)),
    "kafka_topic_cleanup_policy": ("1; cleanup.policy.", ("topic", "policy")),
}
"""Help and labels of each metric; all are gauges."""


def _unit(name: str) -> str:
    return next((unit for unit in ("seconds", "bytes") if name.endswith("_" + unit)), "")


METADATA = {name: Metadata(MetricType.GAUGE, _unit(name), text) for name, (text, _) in METRICS.items()}


class Sheet:
    """Samples of one round, in the order written."""

    def __init__(self) -> None:
        self.keys: list[tuple[str, ...]] = []
        self.values: list[float] = []

    def put(self, name: str, value: float, *labels: str) -> None:
        """Add a sample; label values are in the declared order."""
        self.keys.append((name, *labels))
        self.values.append(value)

    def put_all(self, keys: Sequence[tuple[str, ...]], values: F64 | I64, which: Bool) -> None:
        """Add the chosen samples of many; keys are names with labels.

        Shapes:
            values, which: (len(keys),)
        """
        self.keys.extend(keys if which.all() else compress(keys, which.tolist()))
        self.values.extend(values[which].tolist())


class SheetStream(SeriesStream[tuple[str, ...]]):
    """Makes batches of one stream's sheets."""

    def __init__(self, stream: str, series: SeriesTable, fixed: Mapping[str, str]) -> None:
        self._fixed = dict(fixed)
        super().__init__(stream, series, METADATA, self._key_of)

    def sheet(self, sheet: Sheet, now_ms: int) -> Batch:
        """Return the batch of a sheet."""
        return self.batch(sheet.keys, sheet.values, now_ms)

    def _key_of(self, key: tuple[str, ...]) -> bytes:
        name, *values = key
        labels = dict(zip(METRICS[name][1], values, strict=True))
        return encode_labels({**self._fixed, **labels, "__name__": name})
