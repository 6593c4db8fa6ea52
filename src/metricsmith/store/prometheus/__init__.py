"""A store that is a Prometheus-compatible server: Prometheus, VictoriaMetrics, Mimir, Thanos."""
