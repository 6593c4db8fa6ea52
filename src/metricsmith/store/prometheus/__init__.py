"""A store that is a Prometheus-compatible server: Prometheus, VictoriaMetrics, Mimir, Thanos. It reads.

Writing comes with delivery: a reader of the journal, with a cursor of its own, sends the samples; then
this is a `Store`, whose `apply` has nothing to do.
"""
