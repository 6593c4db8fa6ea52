"""A project's Python collectors, run as `metricsmith collect` runs them."""

from __future__ import annotations

import sys

from metricsmith.integration.inputs import inputs
from metricsmith.integration.observing import Observation, Sample
from metricsmith.integration.project import Project
from metricsmith.runtime.collectors import CollectorSession, Reading, open_session
from metricsmith.sources.python.settings import PythonConfig


class PythonObserved:
    """The collectors of one file. For the event loop that opened it."""

    def __init__(self, project: Project, session: CollectorSession) -> None:
        self._project, self._session = project, session

    async def collect(self, mode: str) -> Observation:
        """Return what all collectors of the file give."""
        with inputs(mode, self._project.recordings):
            return _observation(await self._session.read())

    def processes(self) -> int:
        """Return 0: collectors are threads."""
        return 0

    def close(self) -> None:
        """Release threads."""
        self._session.close()


async def open_python(project: Project) -> PythonObserved:
    """Return the collectors of a project.

    Raises:
        SourceError: its file cannot be used; the message says where.
    """
    identity, limits = project.declaration.integration, project.declaration.limits
    config = PythonConfig.model_validate(
        {
            "timeout": f"{identity.timeout}ms",
            "max_samples": limits.max_samples,
            "max_series": limits.max_series,
        }
    )
    sys.path.insert(0, str(project.folder))
    session = await open_session(str(project.folder / str(identity.collector)), config)
    return PythonObserved(project, session)


def _observation(reading: Reading) -> Observation:
    return Observation(
        [Sample(series, value, time_ms) for series, value, time_ms in reading.rows()],
        reading.metadata,
        reading.failures,
        reading.remarks,
        max((each.duration_s for each in reading.given), default=0.0),
    )
