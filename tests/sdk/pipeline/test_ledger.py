"""States, counted: whatever happens to pipelines, the gauges are those of the states that were last told."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sdk import Registry
from metricsmith.sdk.pipeline import MetricsReporter, PipelineState
from metricsmith.sdk.settings import ExportSettings
from metricsmith.testing.clock import FakeClock

EXPIRY_S = 100
NAMES = st.sampled_from("abc")
STATES = st.sampled_from(PipelineState)
STEPS = st.one_of(
    st.tuples(st.just("move"), NAMES, STATES, STATES),
    st.tuples(st.just("restore"), NAMES, STATES),
    st.tuples(st.just("batch"), NAMES),
    st.tuples(st.just("forget"), NAMES),
    st.tuples(st.just("pass"), st.integers(1, 60)),
)


@given(st.lists(STEPS, max_size=40))
def test_gauges_are_those_of_the_last_states(steps: list[tuple[object, ...]]) -> None:
    registry, clock = Registry(), FakeClock()
    reporter = MetricsReporter(ExportSettings(), registry, clock=clock, state_expiry_s=EXPIRY_S)
    known: dict[object, tuple[PipelineState | None, float]] = {}
    transitions: Counter[tuple[object, ...]] = Counter()
    for kind, *what in steps:
        name, now_s = what[0], clock.monotonic()
        state = known.get(name, (None, 0.0))[0]
        match kind:
            case "move":
                reporter.record_state_transition(*what)  # type: ignore[arg-type]
                transitions[tuple(what)] += 1
                known[name] = (what[2], now_s)  # type: ignore[assignment]
            case "restore":
                reporter.restore_state(*what)  # type: ignore[arg-type]
                known[name] = (what[1], now_s)  # type: ignore[assignment]
            case "batch":
                reporter.record_batch_processed(str(name), 1, 0, 1.0)
                known[name] = (state, now_s)
            case "forget":
                reporter.forget(str(name))
                known.pop(name, None)
                transitions = Counter({k: v for k, v in transitions.items() if k[0] != name})
            case "pass":
                clock.advance(what[0])  # type: ignore[arg-type]
        wanted = Counter(s for s, at in known.values() if clock.monotonic() - at <= EXPIRY_S)
        for each in ("running", "stopped", "paused", "failed"):
            assert registry.get_sample_value(f"dataflow_pipelines_{each}") == wanted[PipelineState(each)]
        known = {n: (s, at) for n, (s, at) in known.items() if clock.monotonic() - at <= EXPIRY_S}
    for (name, before, after), count in transitions.items():
        labels = {"pipeline_id": str(name), "from_state": str(before), "to_state": str(after)}
        assert registry.get_sample_value("dataflow_state_transitions_total", labels) == count
