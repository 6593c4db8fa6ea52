"""What a query did, step by step: a plan with the figures of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metricsmith.model.progress import Progress, StepReport
from metricsmith.model.query_result import Result
from metricsmith.promql.plan import Plan

_NOT_RUN = StepReport(0, 0, 0, 0, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """A node of the plan, its operation as text, and what it did."""

    operation: str
    inputs: tuple[int, ...]
    report: StepReport


@dataclass(frozen=True, slots=True)
class Analysis:
    """One run of a query; times are in seconds."""

    steps: tuple[Step, ...]
    result_type: str
    series: int
    points: int
    progress: Progress
    plan_seconds: float
    run_seconds: float

    @classmethod
    def of(
        cls, plan: Plan, progress: Progress, result: Result, plan_seconds: float, run_seconds: float
    ) -> Analysis:
        """Return the analysis of a plan that was run, and of its result."""
        reports = {report.number: report for report in progress.steps}
        steps = tuple(
            Step(str(node), node.inputs, reports.get(number, _NOT_RUN))
            for number, node in enumerate(plan.nodes)
        )
        points, series = result.points(), len(result.keys)
        return cls(steps, result.type, series, points, progress, plan_seconds, run_seconds)

    def to_api(self) -> dict[str, Any]:
        """Return the `data` object of the API's explain."""
        return {
            "resultType": self.result_type,
            "series": self.series,
            "points": self.points,
            "seriesRead": self.progress.series,
            "samplesRead": self.progress.samples,
            "peakSamples": self.progress.peak_samples,
            "planSeconds": self.plan_seconds,
            "runSeconds": self.run_seconds,
            "steps": [
                {
                    "step": number,
                    "operation": step.operation,
                    "inputs": list(step.inputs),
                    "series": step.report.series,
                    "samples": step.report.samples,
                    "samplesRead": step.report.loaded,
                    "seconds": step.report.seconds,
                }
                for number, step in enumerate(self.steps)
            ],
        }
