"""A project's executable, run as the `exec` source runs it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import psutil

from metricsmith.errors import InputError, SourceError
from metricsmith.integration.inputs import FOLDER, MODE
from metricsmith.integration.kinds import Kind
from metricsmith.integration.observing import Observation, Sample
from metricsmith.integration.project import Project
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import NAME_LABEL, decode_labels
from metricsmith.model.metadata import Metadata
from metricsmith.sources.exec.launch import command_of
from metricsmith.sources.exec.lines import Line
from metricsmith.sources.exec.process import End, Outcome, Run
from metricsmith.sources.exec.runner import NOTHING_PRINTED
from metricsmith.sources.exec.series import INVENTORY, Converter, Rows
from metricsmith.sources.exec.settings import ExecConfig, Integration
from metricsmith.wire.ohi.decode import decode
from metricsmith.wire.ohi.document import Document, Request
from metricsmith.wire.ohi.reading import Limits

_ADDED = ("integration", "entity_name", "entity_type", "entity_display_name")
"""Labels that the source gives, not the integration."""
MAX_SAID = 3


class ExecObserved:
    """An executable. What counters need is remembered from run to run, as in an agent."""

    def __init__(self, project: Project) -> None:
        declaration = project.declaration
        self._project, self._clock = project, SystemClock()
        self._config = ExecConfig(max_metrics=declaration.limits.max_samples)
        self._limits = Limits(bytes=self._config.max_line, metrics=self._config.max_metrics)
        identity = declaration.integration
        self._timeout_ms = identity.timeout
        self._environment = {s.name: os.environ[s.name] for s in declaration.settings if s.name in os.environ}
        source = ExecConfig(max_series=declaration.limits.max_series)
        self._converter = Converter(identity.name, self._integration(""), source)

    async def collect(self, mode: str) -> Observation:
        """Return what one run prints."""
        run = _Lines(self._limits)
        if mode == "record":
            self._project.recordings.mkdir(exist_ok=True)
        began_s = self._clock.monotonic()
        try:
            with command_of(self._integration(mode), self._config, self._config.min_interval) as command:
                running = Run(command, self._clock, run.take, run.take_error).finish(asyncio.Event())
                outcome = await asyncio.wait_for(running, self._timeout_ms / 1000)
        except TimeoutError:
            outcome = Outcome(End.TIMEOUT, f"took longer than its timeout of {self._timeout_ms / 1000:g} s")
        except SourceError as error:
            outcome = Outcome(End.NOT_STARTED, str(error))
        duration_s = self._clock.monotonic() - began_s
        if outcome.end is End.DONE and not run.answered:
            outcome = Outcome(End.NOTHING_USABLE, run.refused[0] if run.refused else NOTHING_PRINTED)
        return self._observation(run, outcome, duration_s)

    def processes(self) -> int:
        """Return how many processes it has left running."""
        return len(psutil.Process().children(recursive=True))

    def close(self) -> None:
        """Nothing is kept."""

    def _observation(self, run: _Lines, outcome: Outcome, duration_s: float) -> Observation:
        failures = []
        if outcome.end is not End.DONE:
            said = f"; it said: {' / '.join(run.said)}" if run.said else ""
            how = outcome.end.replace("_", " ")
            failures.append(f"{self._project.name}: {how}: {outcome.detail}{said}")
        samples: dict[object, Sample] = {}
        metadata: dict[str, Metadata] = {}
        refused = list(run.refused) if run.answered else []
        for document in run.documents:
            refused += self._identity(document)
            rows = self._converter.rows(document, self._clock.now_ms())
            metadata |= rows.metadata
            refused += _told(rows)
            samples |= {sample.series: sample for sample in _samples(rows)}
        kept = sorted(samples.values(), key=lambda sample: sample.series)
        return Observation(kept, metadata, failures, refused, duration_s)

    def _identity(self, document: Document) -> Iterator[str]:
        """Yield what a document says of the integration that the declaration does not."""
        declared = self._project.declaration.integration
        if declared.kind is Kind.OHI and document.protocol != 4:
            yield f"protocol_version: got {document.protocol}, wanted 4 (kind: exec takes 1 to 4)"
        if document.version != declared.version:
            got, where = document.version or "nothing", self._project.line("integration", "version")
            yield f'version of the document: got "{got}", wanted "{declared.version}" ({where})'

    def _integration(self, mode: str) -> Integration:
        identity = self._project.declaration.integration
        environment = {**self._environment}
        if mode:
            environment |= {MODE: mode, FOLDER: str(self._project.recordings.absolute())}
        raw = {
            "name": identity.name,
            "exec": list(identity.command),
            "working_dir": str(self._project.folder.absolute()),
            "env": environment,
        }
        return Integration.model_validate(raw)


class _Lines:
    """What a run printed."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.documents: list[Document] = []
        self.refused: list[str] = []
        self.said: list[str] = []
        self.answered = False

    async def take(self, line: Line) -> bool:
        if line.cut:
            self.refused.append("a line is too long")
            return False
        try:
            found = decode(line.text, self._limits)
        except InputError as error:
            self.refused.append(f"{error} (one document is one line of JSON)")
            return False
        if isinstance(found, Request):
            self.refused.append(f"asks for {found.kind}, which metricsmith does not do")
        elif found is not None:
            self.documents.append(found)
        self.answered = True
        return True

    def take_error(self, line: Line) -> None:
        if len(self.said) < MAX_SAID:
            self.said.append(line.text.decode(errors="replace")[:200])


def _samples(rows: Rows) -> list[Sample]:
    found = []
    for key, value, _ in zip(rows.keys, rows.values, rows.times, strict=True):
        labels = decode_labels(key)
        name = labels.pop(NAME_LABEL)
        if name != INVENTORY:
            own = tuple((label, text) for label, text in sorted(labels.items()) if label not in _ADDED)
            found.append(Sample((name, own), value))
    return found


def _told(rows: Rows) -> list[str]:
    return [f"{rows.problems[reason]} left out: {message}" for reason, message in rows.told.items()]
