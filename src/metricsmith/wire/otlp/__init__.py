"""OpenTelemetry's metrics over HTTP (OTLP), in Protobuf and JSON."""
