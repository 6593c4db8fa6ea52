"""The HTTP API: Prometheus' query API, the message API, remote write, /metrics, health and status."""
