"""The PromQL engine held against a real Prometheus: random series, generated queries, the same questions."""
