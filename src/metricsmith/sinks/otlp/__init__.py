"""Metrics to OpenTelemetry: the `otlp` sink."""
