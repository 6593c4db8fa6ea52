"""A configuration of the OpenTelemetry Collector: what applications tell it comes to the agent."""

from __future__ import annotations

from urllib.parse import urlsplit

from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, header
from metricsmith.integration.generate.yaml_text import yaml_text
from metricsmith.runtime.rules import external_url

KIND = "otel-collector"
MAIN = "otel-collector.yaml"
_NEEDS = "# For the distribution otelcol-contrib, which has file_storage.\n"


def otel_collector(configured: Configured) -> Generated:
    """Return a pipeline from OTLP, over gRPC and HTTP, to the agent's OTLP endpoint."""
    settings = configured.meaning.settings
    address = urlsplit(external_url(settings))
    target = f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}"
    exporter = {
        # The collector puts /v1/metrics behind it.
        "endpoint": target,
        "compression": "gzip",
        # For ever: 0s is no limit.
        "retry_on_failure": {"enabled": True, "max_interval": "30s", "max_elapsed_time": "0s"},
        "sending_queue": {"enabled": True, "queue_size": 1000, "storage": "file_storage"},
    }
    data = {
        "extensions": {
            "health_check": {"endpoint": "127.0.0.1:13133"},
            # What waits outlasts a restart of the collector.
            "file_storage": {"directory": "/var/lib/otelcol/file_storage", "create_directory": True},
        },
        "receivers": {
            "otlp": {
                "protocols": {"grpc": {"endpoint": "127.0.0.1:4317"}, "http": {"endpoint": "127.0.0.1:4318"}}
            },
        },
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 20},
            "batch": {"timeout": "5s", "send_batch_size": 2000, "send_batch_max_size": 5000},
        },
        "exporters": {"otlphttp": exporter},
        "service": {
            "extensions": ["health_check", "file_storage"],
            "pipelines": {
                "metrics": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["otlphttp"],
                }
            },
        },
    }
    notes = []
    if address.hostname in ("127.0.0.1", "localhost", "::1"):
        notes.append(
            f"the agent is looked for at {target}: set rules.external_url if the collector is elsewhere"
        )
    return Generated({MAIN: header(KIND) + _NEEDS + yaml_text(data)}, tuple(notes))
