"""The contract harness: runs an integration and looks at all that it promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace

from metricsmith.errors import SourceError
from metricsmith.integration import contract, golden, leaks
from metricsmith.integration.inputs import MODE, reads
from metricsmith.integration.kinds import Kind
from metricsmith.integration.observe_exec import ExecObserved
from metricsmith.integration.observe_python import open_python
from metricsmith.integration.observing import Observation, Observed, Series, shown
from metricsmith.integration.project import DECLARATION, GOLDEN, RECORDINGS, Project
from metricsmith.integration.report import Check, Verdict, check
from metricsmith.integration.surroundings import (
    foreign_metrics,
    set_environment,
    wrong_alerts,
    wrong_settings,
)
from metricsmith.model.metadata import Metadata
from metricsmith.model.wording import counted
from metricsmith.sources.python.advice import advice

PYTHON_COLLECTIONS = 1000
EXEC_COLLECTIONS = 20
"""An executable begins anew each time: what can stay is what it leaves behind."""
LEAK_SECONDS = 60.0
MAX_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Options:
    """How to test. `mode` is that of the inputs, empty for the real ones; `collections` None is the usual."""

    mode: str = "replay"
    update_golden: bool = False
    collections: int | None = None

    @property
    def replayed(self) -> bool:
        """Whether the same inputs come each time."""
        return self.mode == "replay"


@dataclass(slots=True)
class Examination:
    """Looks at one project, check by check; `stage` is told what is being done."""

    project: Project
    options: Options
    stage: Callable[[str], None]
    checks: list[Check] = field(default_factory=list)

    async def run(self) -> list[Check]:
        """Return all checks."""
        findings = [*wrong_alerts(self.project), *wrong_settings(self.project, self.options.mode)]
        self.checks.append(check("declaration", findings, self._declared()))
        self.stage("load")
        try:
            observed = await self._open()
        except SourceError as error:
            self.checks.append(self._shown(check("load", [str(error)])))
            return self.checks
        try:
            await self._examine(observed)
        finally:
            observed.close()
        return [self._shown(each) for each in self.checks]

    def _shown(self, told: Check) -> Check:
        """Return a check whose paths begin in the project, without the secrets of its settings."""
        show = self.project.shown
        return replace(told, detail=show(told.detail), findings=tuple(map(show, told.findings)))

    async def _open(self) -> Observed:
        set_environment(self.project, self.options.mode)
        if self.project.kind is Kind.PYTHON:
            return await open_python(self.project)
        return ExecObserved(self.project)

    async def _examine(self, observed: Observed) -> None:
        self.stage("collect")
        mode = self.options.mode
        seen = [await observed.collect(mode)]
        self.checks.append(check("collect", seen[0].failures, f"in {seen[0].duration_s * 1000:.1f} ms"))
        if not seen[0].samples:
            if not seen[0].failures:
                self.checks.append(check("metrics", ["a collection gives no sample at all"]))
            return
        self.stage("collect again")
        replayed = "replay" if mode == "record" else mode
        seen.append(await observed.collect(replayed))
        self._look_at(seen)
        again = self._series_of_each(observed, replayed, seen[-1].series)
        if seen[0].failures:
            return
        await self._failing_inputs(observed, replayed, seen[0])
        await self._leaks(observed, again)
        self._golden(seen[0])

    def _look_at(self, seen: list[Observation]) -> None:
        project = self.project
        refused = [line for each in seen[:1] for line in each.refused]
        declared = [*contract.undeclared(project, seen), *contract.missing(project, seen)]
        count = f"{counted(len(project.declaration.metrics), 'metric')}, {len(seen[0].series)} series"
        names = list(dict.fromkeys(series for each in seen for series in each.series))
        own = {m.name: Metadata(m.metric_type, m.unit, m.help) for m in project.declaration.metrics}
        known = sorted(name for name in names if project.declaration.metric_of(name[0]) is not None)
        remarks = [*advice(known, own), *contract.helps(project, seen), *foreign_metrics(project)]
        self.checks += [
            check("metrics", _few(declared), count),
            check("types", _few([*contract.types(project, seen), *contract.values(project, seen)])),
            check("labels", _few(contract.labels(project, seen)), self._limits()),
            check("samples", _few(refused), "an agent takes all of them" if not refused else ""),
            check("advice", _few(remarks), warn=True),
        ]

    def _limits(self) -> str:
        limits = self.project.declaration.limits
        return f"at most {limits.max_series:,} series, {limits.max_samples:,} samples"

    def _series_of_each(
        self, observed: Observed, mode: str, first: frozenset[Series]
    ) -> Callable[[], Awaitable[None]]:
        """Return what collects once more and notes which series came or went."""

        async def again() -> None:
            observation = await observed.collect(mode)
            if len(self._unstable) < MAX_FINDINGS:
                self._unstable |= dict.fromkeys(_different(observation, first))

        return again

    async def _failing_inputs(self, observed: Observed, mode: str, first: Observation) -> None:
        """Let all inputs fail once: that must be told, and be over with the next collection."""
        self.stage("collect with failing inputs")
        failing = await observed.collect("fail")
        after = await observed.collect(mode)
        findings = [f"does not recover: {line}" for line in after.failures]
        if not findings and not after.series >= first.series and self.options.replayed:
            findings = ["gives fewer series after a failure than before"]
        if self.project.kind is Kind.PYTHON:
            names = self._read_inputs()
            if not names:
                told = "it reads nothing through metricsmith.integration.inputs"
                self.checks.append(Check("errors", Verdict.SKIPPED, told))
                return
            self.checks.append(self._inputs(names))
        if failing.failures:
            detail = f"failing inputs are told: {failing.failures[0]}"
        else:
            detail = f"with failing inputs it gives {len(failing.samples)} of {len(first.samples)} samples"
        same = {s.series: s.value for s in failing.samples} == {s.series: s.value for s in first.samples}
        if same and not failing.failures and not findings:
            told = "gives the same values although every input failed: does it hide errors"
            unheeded = "" if self.project.kind is Kind.PYTHON else f", or not heed {MODE}"
            self.checks.append(check("errors", [f"{told}{unheeded}?"], detail, warn=True))
            return
        self.checks.append(check("errors", findings, detail))

    def _read_inputs(self) -> list[str]:
        return sorted(name for name, times in reads().items() if times > self._reads_before.get(name, 0))

    def _inputs(self, names: list[str]) -> Check:
        kept = self.project.recordings
        there = [p.name for p in kept.iterdir() if not p.name.startswith(".")] if kept.is_dir() else []
        unused = [f"{RECORDINGS}/{name} is read by nothing" for name in sorted(set(there) - set(names))]
        how = {"replay": f"from {RECORDINGS}/", "record": f"recorded in {RECORDINGS}/", "": "live"}
        return check("inputs", _few(unused), f"{', '.join(names)[:200]} {how[self.options.mode]}", warn=True)

    async def _leaks(self, observed: Observed, again: Callable[[], Awaitable[None]]) -> None:
        python = self.project.kind is Kind.PYTHON
        wanted = self.options.collections
        if wanted is None:
            wanted = (PYTHON_COLLECTIONS if python else EXEC_COLLECTIONS) if self.options.replayed else 0
        if not wanted:
            self.checks.append(Check("leaks", Verdict.SKIPPED, "looked for in replay, or with --collections"))
            return
        self.stage(f"collect {wanted} times")
        growth = await leaks.watch(again, observed.processes, self.project.folder, wanted, LEAK_SECONDS)
        if self.options.replayed:
            self.checks.append(check("names", _few(self._unstable), "the same series each time"))
        findings = list(growth.findings())
        short = growth.done < wanted and not findings
        if short:
            findings = [f"there was time for {growth.done} of {wanted} collections only"]
        self.checks.append(check("leaks", findings, growth.detail, warn=short))

    def _golden(self, observation: Observation) -> None:
        path = self.project.golden
        if not (self.options.replayed or self.options.update_golden):
            self.checks.append(Check("golden", Verdict.SKIPPED, "compared in replay"))
            return
        text = golden.render(self.project.declaration, observation)
        if self.options.update_golden:
            changed = golden.write(path, text)
            self.checks.append(check("golden", (), f"{GOLDEN} {'written' if changed else 'is as it was'}"))
        elif not path.exists():
            self.checks.append(Check("golden", Verdict.SKIPPED, f"no {GOLDEN}; --update-golden writes it"))
        else:
            self.checks.append(check("golden", golden.differences(path, text), GOLDEN))

    def _declared(self) -> str:
        hints = sum(len(metric.alerts) for metric in self.project.declaration.metrics)
        metrics = counted(len(self.project.declaration.metrics), "metric")
        return f"{DECLARATION}: {metrics}, {counted(hints, 'alert')}"

    _unstable: dict[str, None] = field(default_factory=dict)
    _reads_before: dict[str, int] = field(default_factory=reads)


def _different(observation: Observation, first: frozenset[Series]) -> Iterator[str]:
    if observation.failures:
        yield f"a later collection failed: {observation.failures[0]}"
    elif observation.series != first:
        for series in sorted(observation.series ^ first)[:3]:
            come = "comes" if series in observation.series else "is missing"
            yield f"{shown(series)} {come} in a later collection of the same inputs"


def _few(findings: Iterator[str] | list[str] | dict[str, None]) -> list[str]:
    told = list(findings)
    more = len(told) - MAX_FINDINGS
    return [*told[:MAX_FINDINGS], *([f"… and {more} more"] if more > 0 else [])]
