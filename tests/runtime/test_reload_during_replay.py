"""A reload that comes while the journal is replayed waits, and takes nothing from what was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from metricsmith.config import load_file
from metricsmith.errors import ConfigError
from metricsmith.model.batch import Batch, Layout
from metricsmith.model.labels import encode_labels
from metricsmith.runtime.agent import Agent
from metricsmith.runtime.service import Service

BATCHES = 400


async def test_reload_waits_until_the_replay_is_over(
    tmp_path: Path, end_tasks: Callable[[], Awaitable[None]]
) -> None:
    file = tmp_path / "metricsmith.yaml"
    file.write_text(f'server: {{listen: "127.0.0.1:0"}}\nstorage: {{path: "{tmp_path}/data"}}\n')
    first = Agent(load_file(file, {}))
    await first.start(asyncio.Event())
    ids = first.series.intern_many([encode_labels({"__name__": "kept"})])
    start_ms = first.clock.now_ms() - 60_000
    emit = first.pipeline.emit_for("test")
    for number in range(BATCHES):
        await emit(Batch(Layout(ids), start_ms + number, np.array([float(number)])))
    # As after a kill: the journal is there, the head is not.
    await first.sources.stop()
    await end_tasks()
    await first.journal.close()
    first.store.close(flush=False)
    first.state.close()

    service = Service(load_file(file, {}))
    reloading = asyncio.create_task(service.reload())
    await asyncio.sleep(0)
    assert not reloading.done()
    assert service.agent.sources.names() == []
    running = asyncio.create_task(service.run())
    await reloading
    assert service.agent.ready
    found = service.agent.store.select([], start_ms, start_ms + BATCHES)
    assert found.sample_count() == BATCHES
    service.request_stop()
    await running
    try:
        await service.reload()
    except ConfigError as error:
        assert "stopping" in str(error)
    else:
        raise AssertionError("a stopping agent reloaded")
