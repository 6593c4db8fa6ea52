"""The shop's instruments: exactly the metrics that the documented backend exposes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # the documented backend has none

PAYMENT_METHODS = ("card", "wallet", "upi")
EXTERNAL_BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500)


class ShopMetrics:
    """Instruments of one shop in a registry of its own; label values come from fixed sets."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        http = ("method", "route", "status_code")
        self.requests = Counter("http_requests_total", "HTTP requests answered.", http, registry=r)
        self.duration = Histogram(
            "http_request_duration_seconds", "Time to answer an HTTP request.", http, registry=r
        )
        self.external = Histogram(
            "external_call_latency_ms",
            "Time of calls to other services, in milliseconds.",
            ("service",),
            buckets=EXTERNAL_BUCKETS_MS,
            registry=r,
        )
        self.orders_created = Counter("orders_created_total", "Orders received.", registry=r)
        self.orders_success = Counter("orders_success_total", "Orders paid and accepted.", registry=r)
        self.orders_failed = Counter("orders_failed_total", "Orders not accepted.", ("reason",), registry=r)
        self.payments = Counter(
            "payments_processed_total", "Payments that were tried.", ("method", "status"), registry=r
        )
        self.chaos = Counter("chaos_events_total", "Disturbances made on purpose.", ("type",), registry=r)
        self.restarts = Counter("service_restarts_total", "Restarts of the service.", registry=r)
        self.latency = Gauge("simulated_latency_ms", "Latency added on purpose, in milliseconds.", registry=r)
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        # A counter that appears with its first event hides that event from `rate`.
        self.orders_failed.labels("payment_declined")
        for kind in ("latency", "error", "restart"):
            self.chaos.labels(kind)
        for method in PAYMENT_METHODS:
            for status in ("accepted", "declined"):
                self.payments.labels(method, status)
