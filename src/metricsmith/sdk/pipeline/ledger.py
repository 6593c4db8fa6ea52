"""What this process knows of each of its pipelines: state, throughput, and what may not be a label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from metricsmith.sdk.pipeline.states import COUNTED, PipelineState
from metricsmith.sdk.pipeline.throughput import Throughput

MAX_PIPELINES = 5_000


@dataclass(slots=True)
class Pipeline:
    """One pipeline. `state` is None until a transition or a restored state has told it."""

    heard_s: float
    throughput: Throughput
    state: PipelineState | None = None
    details: dict[str, object] = field(default_factory=dict)
    """The last offset, batch and the like, for the status page: as labels they would be without bounds."""


class Ledger:
    """The pipelines of this process. Gauges are counted from it, never added up.

    A pipeline of which nothing was heard for `expiry_s` is no longer known: it may
    have moved to another process. The next word of it brings it back. There is no
    lock, which a child could inherit locked: each step is one of a dict.
    """

    def __init__(self, expiry_s: float, window_s: float) -> None:
        self._expiry_s, self._window_s = expiry_s, window_s
        self._pipelines: dict[str, Pipeline] = {}

    def hear(self, pipeline_id: str, now_s: float) -> Pipeline:
        """Return a pipeline, new or known, of which something was heard.

        Raises:
            OverflowError: there are MAX_PIPELINES others.
        """
        found = self._pipelines.get(pipeline_id)
        if found is None:
            if len(self._pipelines) >= MAX_PIPELINES:
                raise OverflowError(f"got one more than {MAX_PIPELINES} pipelines: its state is in no gauge")
            made = Pipeline(now_s, Throughput(self._window_s, now_s))
            found = self._pipelines.setdefault(pipeline_id, made)
        found.heard_s = now_s
        return found

    def move(
        self, pipeline_id: str, before: PipelineState, after: PipelineState, now_s: float
    ) -> PipelineState | None:
        """Note a transition: the state after it counts. Return the state that was known, if it was another.

        An empty pipeline is no more.
        """
        found = self.hear(pipeline_id, now_s)
        known, found.state = found.state, after
        if after is PipelineState.EMPTY:
            self.forget(pipeline_id)
        return known if known not in (None, before) else None

    def forget(self, pipeline_id: str) -> None:
        """Know a pipeline no longer."""
        self._pipelines.pop(pipeline_id, None)

    def counts(self) -> Mapping[PipelineState, int]:
        """Return how many pipelines are in each state that has a gauge."""
        found = Counter(pipeline.state for _, pipeline in self.pipelines())
        return {state: found[state] for state in COUNTED}

    def pipelines(self) -> list[tuple[str, Pipeline]]:
        """Return each pipeline."""
        return list(self._pipelines.items())

    def expire(self, now_s: float) -> list[tuple[str, Pipeline]]:
        """Forget the pipelines of which nothing was heard lately; return them."""
        lost = [(name, each) for name, each in self.pipelines() if now_s - each.heard_s > self._expiry_s]
        for pipeline_id, _ in lost:
            self.forget(pipeline_id)
        return lost
