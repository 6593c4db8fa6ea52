"""metricsmith: one agent that creates, keeps, derives, alerts on and ships custom metrics."""

__version__ = "0.1.0"
