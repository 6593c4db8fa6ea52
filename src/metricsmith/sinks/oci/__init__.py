"""Metrics to OCI Monitoring."""
