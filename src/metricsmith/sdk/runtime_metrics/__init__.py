"""What a Python process tells of itself: memory and its limits, garbage collection, threads, loops, CPU.

    from metricsmith.sdk.runtime_metrics import RuntimeMetrics

    RuntimeMetrics().start()

Modules are switched one by one; `allocations` (which traces, and costs) and `jvm` (names for dashboards that
were made for one) are off unless named.
"""

from metricsmith.sdk.runtime_metrics.allocations import Site, top_allocations
from metricsmith.sdk.runtime_metrics.collector import RuntimeMetrics
from metricsmith.sdk.settings import DEFAULT_MODULES, MODULES

__all__ = ["DEFAULT_MODULES", "MODULES", "RuntimeMetrics", "Site", "top_allocations"]
