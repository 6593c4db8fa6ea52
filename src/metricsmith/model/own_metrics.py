"""Every metric that the agent publishes of itself: name, type, unit, help, labels.

The reference page `docs/reference/own-metrics.md` is generated from this table.
"""

from __future__ import annotations

from dataclasses import dataclass

from metricsmith.model.metadata import MetricType

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """One declared metric. `reason` labels take values from a fixed set, never free text."""

    name: str
    type: MetricType
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = SECONDS


def _counter(name: str, help: str, *labels: str, unit: str = "") -> OwnMetric:
    return OwnMetric(name, MetricType.COUNTER, help, unit, labels)


def _gauge(name: str, help: str, *labels: str, unit: str = "") -> OwnMetric:
    return OwnMetric(name, MetricType.GAUGE, help, unit, labels)


def _seconds(name: str, help: str, *labels: str) -> OwnMetric:
    return OwnMetric(name, MetricType.HISTOGRAM, help, "seconds", labels)


OWN_METRICS: tuple[OwnMetric, ...] = (
    # agent
    _gauge("metricsmith_build_info", "Always 1; labels say what runs.", "version", "python"),
    _gauge("metricsmith_start_time_seconds", "Start of the agent, Unix time.", unit="seconds"),
    _gauge("metricsmith_resident_memory_bytes", "Resident memory of the agent.", unit="bytes"),
    _counter("metricsmith_cpu_seconds_total", "CPU time used by the agent, user and system.", unit="seconds"),
    _gauge("metricsmith_config_last_reload_success", "1 when the last reload succeeded, else 0."),
    _counter("metricsmith_config_reloads_total", "Reloads of the configuration.", "result"),
    # pipeline
    _counter("metricsmith_samples_accepted_total", "Samples accepted into the journal.", "source"),
    _counter("metricsmith_batches_accepted_total", "Batches accepted into the journal.", "source"),
    _counter(
        "metricsmith_samples_dropped_total",
        "Samples not accepted, by component and reason.",
        "component",
        "reason",
    ),
    _counter(
        "metricsmith_series_folded_total",
        "New series that a cardinality guard folded, by the limit that did it.",
        "component",
        "reason",
    ),
    _counter("metricsmith_samples_folded_total", "Samples of folded series.", "component"),
    _counter("metricsmith_events_accepted_total", "Events accepted into the journal.", "source"),
    _counter("metricsmith_events_dropped_total", "Events not accepted, by reason.", "source", "reason"),
    _counter("metricsmith_source_failures_total", "Failures of a source, by reason.", "source", "reason"),
    _gauge("metricsmith_limited_series", "Series that have a place within `limits`, of all sources."),
    _gauge("metricsmith_series_interned", "Series known to this process."),
    # scrape
    _counter("metricsmith_scrapes_total", "Scrapes done.", "source"),
    _counter("metricsmith_scrape_failures_total", "Failed scrapes, by reason.", "source", "reason"),
    _counter(
        "metricsmith_scrapes_skipped_total",
        "Scrapes not started because the previous one still ran.",
        "source",
    ),
    _counter(
        "metricsmith_scrape_layout_changes_total",
        "Scrapes whose series differ from the previous one's.",
        "source",
    ),
    _counter(
        "metricsmith_scrape_warnings_total",
        "Oddities of expositions that were read all the same, each counted when it is first seen.",
        "source",
    ),
    _counter(
        "metricsmith_discovery_failures_total",
        "Problems with target lists, by kind; a list that cannot be read leaves the last good one.",
        "source",
        "kind",
    ),
    _gauge("metricsmith_scrape_targets", "Targets that are scraped.", "source"),
    _counter(
        "metricsmith_kubernetes_failures_total",
        "Lists and watches of a Kubernetes API that ended before their time, by reason.",
        "source",
        "reason",
    ),
    _gauge(
        "metricsmith_kubernetes_age_seconds",
        "Age of what is known of a cluster: 0 while its API tells of changes.",
        "source",
    ),
    # kafka
    _counter(
        "metricsmith_kafka_failures_total",
        "What a kafka source could not read or keep, by part and reason.",
        "source",
        "part",
        "reason",
    ),
    _counter(
        "metricsmith_kafka_batches_refused_total",
        "Record batches that could not be read, by reason.",
        "source",
        "reason",
    ),
    # host
    _counter(
        "metricsmith_host_failures_total",
        "Parts of the machine that could not be read, by reason.",
        "source",
        "part",
        "reason",
    ),
    # exec
    _counter("metricsmith_exec_documents_total", "Documents of integrations.", "source", "integration"),
    _counter(
        "metricsmith_exec_failures_total",
        "Runs of integrations that did not end well, and other failures, by reason.",
        "source",
        "integration",
        "reason",
    ),
    _counter(
        "metricsmith_exec_problems_total",
        "What was left out of the output of integrations, by reason.",
        "source",
        "integration",
        "reason",
    ),
    _counter(
        "metricsmith_exec_stderr_lines_total",
        "Lines that integrations wrote to standard error.",
        "source",
        "integration",
    ),
    # python
    _counter(
        "metricsmith_collector_failures_total",
        "Collections that failed, and what cannot be loaded, by reason.",
        "source",
        "collector",
        "reason",
    ),
    _counter(
        "metricsmith_collector_problems_total",
        "Samples of collectors that were left out, by reason.",
        "source",
        "collector",
        "reason",
    ),
    _counter(
        "metricsmith_collector_skipped_total",
        "Collections left out because the previous one still ran.",
        "source",
        "collector",
    ),
    _gauge("metricsmith_collectors_hung", "Collectors that are over their time and do not return.", "source"),
    # journal
    _counter("metricsmith_journal_commits_total", "Commits (one write and one fdatasync each)."),
    _counter("metricsmith_journal_written_bytes_total", "Bytes written to the journal.", unit="bytes"),
    _counter("metricsmith_journal_errors_total", "Commits that failed, by reason.", "reason"),
    _counter(
        "metricsmith_journal_repaired_bytes_total", "Bytes of a torn tail cut off at start.", unit="bytes"
    ),
    _counter(
        "metricsmith_journal_damaged_total",
        "Places in the journal that could not be read, by reason.",
        "reason",
    ),
    _seconds("metricsmith_journal_commit_seconds", "Time of one commit."),
    _gauge("metricsmith_journal_size_bytes", "Bytes of all journal segments.", unit="bytes"),
    # bus
    _counter(
        "metricsmith_bus_messages_refused_total", "Messages that could not be taken.", "source", "reason"
    ),
    _counter(
        "metricsmith_bus_handshakes_refused_total",
        "Connections of the bus that failed, by what did not fit; health checks are `unfinished`.",
        "component",
        "reason",
    ),
    _counter("metricsmith_bus_messages_unheard_total", "Messages that nobody subscribed to.", "sink"),
    _counter("metricsmith_transfer_sessions_total", "Sessions that producers have begun.", "source"),
    _counter(
        "metricsmith_transfer_gaps_total",
        "Batches of producers that are missing, and producers with a new identity, by reason.",
        "source",
        "reason",
    ),
    _counter(
        "metricsmith_transfer_renewals_total",
        "New identities of a producer because its numbers did not fit what the other side has.",
        "sink",
        "reason",
    ),
    # sinks
    _counter("metricsmith_sink_samples_total", "Samples delivered.", "sink"),
    _counter("metricsmith_sink_events_total", "Events delivered.", "sink"),
    _counter("metricsmith_sink_retries_total", "Sends that failed and are tried again.", "sink", "reason"),
    _counter(
        "metricsmith_sink_dropped_samples_total",
        "Samples that a sink did not get: refused, too old, expired.",
        "sink",
        "reason",
    ),
    _counter(
        "metricsmith_sink_dropped_events_total",
        "Events that a sink did not get, by reason.",
        "sink",
        "reason",
    ),
    _counter(
        "metricsmith_sink_unsent_samples_total",
        "Samples that say nothing to a destination: ends of series, no numbers, first ones of counters.",
        "sink",
        "reason",
    ),
    _gauge("metricsmith_sink_behind_batches", "Batches of the journal that wait for a sink.", "sink"),
    _gauge(
        "metricsmith_sink_lag_seconds",
        "For how long the oldest of them has waited.",
        "sink",
        unit="seconds",
    ),
    _gauge(
        "metricsmith_sink_circuit",
        "Whether sends go through: 0 closed, 1 half-open (one is tried again), 2 open (what failed waits).",
        "sink",
    ),
    _gauge(
        "metricsmith_sink_buffered_samples",
        "Samples and events of the journal that a sink has in memory.",
        "sink",
    ),
    _gauge(
        "metricsmith_sink_held_until_seconds",
        "When the journal stops waiting for a sink that left the configuration, in Unix time.",
        "sink",
        unit="seconds",
    ),
    _seconds("metricsmith_sink_send_seconds", "Time of one send.", "sink"),
    _counter("metricsmith_sink_files_finished_total", "Files that got their final form.", "sink"),
    _counter("metricsmith_sink_files_deleted_total", "Files deleted because of their age.", "sink"),
    _counter(
        "metricsmith_sink_files_repaired_total",
        "Files put in order that were not as they were left, by what was found.",
        "sink",
        "reason",
    ),
    _counter(
        "metricsmith_sink_file_errors_total",
        "Files that could not be finished or deleted, and are tried again.",
        "sink",
        "reason",
    ),
    _counter(
        "metricsmith_newrelic_attributes_left_out_total",
        "Attributes of events beyond the number that New Relic takes.",
        "sink",
    ),
    _counter(
        "metricsmith_remote_write_fallbacks_total",
        "Servers found not to take remote write 2.0, and sent 1.0 since, by how that was seen.",
        "sink",
        "reason",
    ),
    _counter(
        "metricsmith_remote_write_unwritten_samples_total",
        "Samples of accepted requests beyond those that the server says it wrote.",
        "sink",
    ),
    _counter(
        "metricsmith_influxdb_statements_refused_total",
        "Databases and retention policies that a server did not let a sink create or change.",
        "sink",
    ),
    _counter(
        "metricsmith_otlp_rejected_points_total",
        "Points of accepted OTLP requests that the server says it did not take.",
        "sink",
    ),
    # store
    _counter("metricsmith_store_samples_total", "Samples applied to the store."),
    _counter("metricsmith_store_flushes_total", "Flushes of the head to blocks.", "result"),
    _counter("metricsmith_store_merges_total", "Merges of blocks.", "result"),
    _counter("metricsmith_store_snapshots_total", "Snapshots made."),
    _counter("metricsmith_store_blocks_deleted_total", "Blocks deleted, by reason.", "reason"),
    _counter("metricsmith_store_samples_deleted_total", "Samples that left the disk, by reason.", "reason"),
    _counter("metricsmith_store_deletions_total", "Deletes of samples that were asked for."),
    _counter("metricsmith_store_merged_bytes_total", "Bytes of blocks that merges have read."),
    _counter(
        "metricsmith_store_blocks_set_aside_total", "Damaged or stray blocks set aside, by reason.", "reason"
    ),
    _counter(
        "metricsmith_store_row_groups_damaged_total",
        "Damaged row groups of blocks that were left out; the rest of their blocks serves.",
    ),
    _counter(
        "metricsmith_store_files_damaged_total",
        "Files of samples, or parts of them, that could not be read and were left out.",
        "reason",
    ),
    _counter(
        "metricsmith_store_server_failures_total",
        "Requests that failed to the server that keeps the samples (`storage.type`), by reason.",
        "reason",
    ),
    _seconds("metricsmith_store_flush_seconds", "Time of one flush, in the background."),
    _gauge("metricsmith_store_head_bytes", "Memory of the head's samples.", unit="bytes"),
    _gauge("metricsmith_store_head_samples", "Samples in the head."),
    _gauge("metricsmith_store_active_series", "Series with samples in the head."),
    _gauge("metricsmith_store_blocks", "Blocks on disk."),
    _gauge("metricsmith_store_disk_bytes", "Bytes of all blocks on disk.", unit="bytes"),
    _gauge("metricsmith_store_cache_bytes", "Memory of cached decoded row groups.", unit="bytes"),
    _counter("metricsmith_store_cache_lookups_total", "Look-ups of decoded row groups.", "result"),
    # rules
    _counter("metricsmith_rule_evaluations_total", "Evaluations of rules.", "rule_group"),
    _counter("metricsmith_rule_evaluation_failures_total", "Evaluations of rules that failed.", "rule_group"),
    _seconds("metricsmith_rule_evaluation_seconds", "Time of one evaluation of one rule."),
    _counter("metricsmith_rule_group_iterations_total", "Rounds of a group.", "rule_group"),
    _counter(
        "metricsmith_rule_group_iterations_missed_total",
        "Rounds left out because the one before took longer than the interval.",
        "rule_group",
    ),
    _gauge("metricsmith_rule_group_interval_seconds", "Interval of a group.", "rule_group", unit="seconds"),
    _gauge("metricsmith_rule_group_rules", "Rules in a group.", "rule_group"),
    _gauge(
        "metricsmith_rule_group_last_duration_seconds",
        "Time of a group's last round.",
        "rule_group",
        unit="seconds",
    ),
    _gauge(
        "metricsmith_rule_group_last_evaluation_timestamp_seconds",
        "Unix time of a group's last round.",
        "rule_group",
        unit="seconds",
    ),
    _gauge(
        "metricsmith_rule_group_last_evaluation_samples",
        "Samples that a group's last round recorded.",
        "rule_group",
    ),
    _gauge("metricsmith_alerts", "Alerts by state.", "state"),
    _counter(
        "metricsmith_rule_commit_failures_total",
        "Rounds of which samples or the state of alerts could not be kept.",
        "part",
    ),
    _counter("metricsmith_rule_template_failures_total", "Templates of alerts that could not be expanded."),
    _counter(
        "metricsmith_rule_series_not_missed_total",
        "Series beyond those that one rule can miss when they are gone.",
    ),
    _counter("metricsmith_rule_state_damaged_total", "Saved alerts that could not be read at start."),
    _counter("metricsmith_rule_reloads_total", "Readings of rule files that have changed.", "result"),
    _gauge("metricsmith_rule_problems", "Mistakes in rule files, as they are now."),
    # notifications
    _counter("metricsmith_notifications_sent_total", "Alerts told to a destination.", "destination"),
    _counter(
        "metricsmith_notification_retries_total",
        "Deliveries that failed and are tried again, by reason.",
        "destination",
        "reason",
    ),
    _counter(
        "metricsmith_notifications_dropped_total",
        "Alerts not told to a destination, by reason; `replaced` ones gave way to newer news.",
        "destination",
        "reason",
    ),
    _gauge("metricsmith_notification_queue_length", "Deliveries that wait.", "destination"),
    _gauge("metricsmith_notification_queue_bytes", "Their size in memory.", "destination", unit="bytes"),
    _seconds("metricsmith_notification_seconds", "Time of one delivery.", "destination"),
    # queries and API
    _seconds(
        "metricsmith_query_seconds", "Time of one query, the wait for a thread included.", "kind", "outcome"
    ),
    _seconds("metricsmith_query_queue_seconds", "Time a query waited for a thread."),
    _counter("metricsmith_query_failures_total", "Failed and refused queries, by reason.", "reason"),
    _counter("metricsmith_query_samples_total", "Samples that queries read from the store."),
    _gauge("metricsmith_queries_running", "Queries and other reading requests that have a thread."),
    _gauge("metricsmith_queries_waiting", "Those that wait for one."),
    _gauge("metricsmith_queries_concurrent_max", "Most that run at once: `query.max_concurrent`."),
    _seconds("metricsmith_http_request_seconds", "Time of one HTTP request.", "route", "method"),
    _gauge("metricsmith_http_connections", "Open connections to the HTTP server."),
    _counter("metricsmith_http_requests_total", "HTTP requests answered.", "route", "method", "code"),
    _counter(
        "metricsmith_http_refused_total",
        "Requests refused before they were handled, by reason.",
        "route",
        "reason",
    ),
    _gauge("metricsmith_processes_connected", "Processes of applications that push.", "source"),
    _counter(
        "metricsmith_processes_problems_total",
        "Connections and label sets of processes that were not taken as they are, by reason.",
        "source",
        "reason",
    ),
    _counter("metricsmith_push_samples_total", "Samples received by push.", "protocol"),
    _gauge("metricsmith_push_groups", "Groups that jobs have pushed and that are kept."),
    _counter("metricsmith_push_groups_expired_total", "Groups that ended because no push renewed them."),
)
