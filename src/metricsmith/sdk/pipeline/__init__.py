"""Metrics of data pipelines: a reporter that is called when something has happened.

from metricsmith.sdk.pipeline import MetricsReporter, PipelineState

reporter = MetricsReporter()
reporter.initialise()
reporter.record_state_transition("orders", PipelineState.CONFIGURED, PipelineState.RUNNING)
reporter.record_batch_processed("orders", success_count=1000, failure_count=5, processing_time_ms=250)
reporter.shut_down()
"""

from metricsmith.sdk.pipeline.reporter import MetricsReporter, PipelineMetrics
from metricsmith.sdk.pipeline.states import PipelineState

__all__ = ["MetricsReporter", "PipelineMetrics", "PipelineState"]
