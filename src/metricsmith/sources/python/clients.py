"""What of prometheus_client collectors are known by; stand-ins where it is not installed, as in packages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.metrics import MetricWrapperBase
else:
    try:
        from prometheus_client import REGISTRY, CollectorRegistry
        from prometheus_client.metrics import MetricWrapperBase
    except ModuleNotFoundError:

        class CollectorRegistry:
            """Nothing is one, where there is no prometheus_client."""

            def register(self, collector: Any) -> None:
                """Nobody calls it."""

        class MetricWrapperBase:
            """Nothing is one, where there is no prometheus_client."""

        REGISTRY = CollectorRegistry()

__all__ = ["REGISTRY", "CollectorRegistry", "MetricWrapperBase"]
