"""The states of a pipeline."""

from __future__ import annotations

from enum import StrEnum


class PipelineState(StrEnum):
    """The six states of a pipeline; the value is that of the labels `from_state` and `to_state`."""

    EMPTY = "empty"
    CONFIGURED = "configured"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"


COUNTED = (PipelineState.RUNNING, PipelineState.STOPPED, PipelineState.PAUSED, PipelineState.FAILED)
"""Those that have a gauge."""


def state_of(value: PipelineState | str) -> PipelineState:
    """Return a state by its name, in any case and with or without `State` at its end.

    Raises:
        ValueError: there is no such state.

    >>> state_of("RunningState")
    <PipelineState.RUNNING: 'running'>
    """
    if isinstance(value, PipelineState):
        return value
    try:
        return PipelineState(str(value).lower().removesuffix("state"))
    except ValueError:
        known = ", ".join(PipelineState)
        raise ValueError(f"got the state {str(value)[:100]!r}, wanted one of {known}") from None
