"""Runs tests of rules: samples go in, all groups are evaluated time after time, and answers are compared.

Rules are evaluated as in the agent, by `RunningGroup`; the clock is the test's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from metricsmith.errors import QueryError
from metricsmith.model.batch import Batch
from metricsmith.model.clock import SystemClock
from metricsmith.model.duration import format_duration
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.yaml_lines import Path
from metricsmith.rules.alerting import Alerting
from metricsmith.rules.model import Alert, AlertState, NoData
from metricsmith.rules.round import RunningGroup, RunningRule
from metricsmith.rules.template_query import template_query
from metricsmith.rules.templates import Expander, Surroundings
from metricsmith.rules.unit_tests.bench import Bench, MakeBench
from metricsmith.rules.unit_tests.compare import Differs, compare_alerts, compare_samples
from metricsmith.rules.unit_tests.files import TestFile
from metricsmith.rules.unit_tests.schema import (
    AlertTestConfig,
    ExpressionTestConfig,
    SeriesConfig,
    TestConfig,
)
from metricsmith.wire.series_notation import STALE, parse_values

MAX_ROUNDS = 1_000_000
MAX_SAMPLES = 10_000_000


@dataclass(frozen=True, slots=True)
class Failure:
    """What was not as expected: where the expectation stands, and both sides, line by line."""

    file: str
    line: int
    test: str
    what: str
    expected: tuple[str, ...] = ()
    got: tuple[str, ...] = ()


def run_tests(
    file: TestFile,
    make_bench: MakeBench,
    no_data: NoData = NoData.KEEP,
    chosen: Callable[[str], bool] = lambda name: True,
) -> Iterator[tuple[str, list[Failure]]]:
    """Yield the name of each chosen test of a file, and its failures."""
    for index, config in enumerate(file.config.tests):
        if chosen(config.name):
            test = _Test(file, config, ("tests", index), make_bench(file.config.evaluation_interval), no_data)
            yield config.name or f"tests[{index}]", list(test.failures())


class _Failed(Exception):
    """The rest of a test has no sense."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class _Test:
    def __init__(self, file: TestFile, config: TestConfig, path: Path, bench: Bench, no_data: NoData) -> None:
        self._file, self._config, self._path, self._bench = file, config, path, bench
        self._step_ms = file.config.evaluation_interval
        self._series = SeriesTable()
        query = template_query(bench.engine)
        expand = Expander(Surroundings(query, config.external_labels, config.external_url))
        self._groups = [
            RunningGroup(group, bench.engine, bench.store, self._series, SystemClock(), expand, no_data)
            for group in file.groups
        ]

    def failures(self) -> Iterator[Failure]:
        """Yield what is not as expected."""
        try:
            due = self._alert_tests_by_round()
            for number, time_ms in enumerate(self._rounds()):
                self._evaluate(time_ms)
                for index, test in due.get(number, ()):
                    yield from self._check_alerts(test, ("alert_rule_test", index))
        except _Failed as error:
            yield error.failure
            return
        for index, case in enumerate(self._config.promql_expr_test):
            yield from self._check_expression(case, ("promql_expr_test", index))

    def _rounds(self) -> Iterator[int]:
        """Yield the times of evaluation, the samples until then loaded."""
        times = [test.eval_time for test in self._config.alert_rule_test]
        times += [test.eval_time for test in self._config.promql_expr_test]
        last = max(times, default=0) // self._step_ms
        if last >= MAX_ROUNDS:
            message = f"got an eval_time after {last} evaluations, wanted at most {MAX_ROUNDS}"
            raise _Failed(self._failure((), message))
        samples = self._samples()
        begin = self._config.start_timestamp
        sample = next(samples, None)
        for number in range(last + 1):
            time_ms = begin + number * self._step_ms
            while sample is not None and sample[0] <= time_ms:
                self._bench.append(sample[1], sample[0], sample[2], _is_stale(sample[2]))
                sample = next(samples, None)
            yield time_ms

    def _samples(self) -> Iterator[tuple[int, bytes, float]]:
        """Yield the samples of all series in the order of time."""
        interval_ms = self._config.interval or self._step_ms
        series = [
            self._read_series(item, ("input_series", index))
            for index, item in enumerate(self._config.input_series)
        ]
        if sum(len(values) for _, values in series) > MAX_SAMPLES:
            raise _Failed(self._failure(("input_series",), f"got more samples than {MAX_SAMPLES}"))
        for place in range(max((len(values) for _, values in series), default=0)):
            time_ms = self._config.start_timestamp + place * interval_ms
            for key, values in series:
                value = values[place] if place < len(values) else None
                if value is not None:
                    yield time_ms, key, value

    def _read_series(self, item: SeriesConfig, path: Path) -> tuple[bytes, list[float | None]]:
        try:
            return encode_labels(self._bench.labels(item.series)), parse_values(item.values)
        except (ValueError, QueryError) as error:
            raise _Failed(self._failure(path, f"{item.series[:100]}: {error}")) from None

    def _evaluate(self, time_ms: int) -> None:
        for group in self._groups:
            done = group.evaluate(time_ms)
            if done.failures:
                rule, error = done.failures[0]
                raise _Failed(self._rule_failure(rule, error, time_ms))
            if done.batch is not None:
                self._write(done.batch)

    def _write(self, batch: Batch) -> None:
        samples = zip(batch.layout.ids.tolist(), batch.value.tolist(), batch.stales().tolist(), strict=True)
        for (series, value, stale), time_ms in zip(samples, batch.times().tolist(), strict=True):
            self._bench.append(self._series.key(series), time_ms, value, stale)

    def _alert_tests_by_round(self) -> Mapping[int, list[tuple[int, AlertTestConfig]]]:
        due = defaultdict(list)
        for index, test in enumerate(self._config.alert_rule_test):
            due[test.eval_time // self._step_ms].append((index, test))
        return due

    def _check_alerts(self, test: AlertTestConfig, path: Path) -> Iterator[Failure]:
        difference = compare_alerts(test, self._firing(test.alertname))
        if difference is not None:
            what = f"alerts {test.alertname} at {format_duration(test.eval_time)}"
            yield self._failure(path, what, difference)

    def _firing(self, name: str) -> Iterator[Alert]:
        for group in self._groups:
            for rule in group.rules:
                if isinstance(rule.work, Alerting) and rule.work.rule.name == name:
                    yield from (a for a in rule.work.alerts.values() if a.state is AlertState.FIRING)

    def _check_expression(self, case: ExpressionTestConfig, path: Path) -> Iterator[Failure]:
        time_ms = self._config.start_timestamp + case.eval_time
        what = f"{case.expr.strip()} at {format_duration(case.eval_time)}"
        try:
            self._bench.engine.check(case.expr)
            answer = self._bench.engine.instant(case.expr, time_ms)
            wanted = [(encode_labels(self._bench.labels(s.labels)), s.value) for s in case.exp_samples]
        except QueryError as error:
            yield self._failure(path, f"{what}: {error}")
            return
        got = list(zip(answer.keys, answer.values.tolist(), strict=True))
        difference = compare_samples(wanted, got, fuzzy=self._file.config.fuzzy_compare)
        if difference is not None:
            yield self._failure(path, what, difference)

    def _failure(self, path: Path, what: str, difference: Differs | None = None) -> Failure:
        line = self._file.origins.line((*self._path, *path))
        expected, got = difference or ((), ())
        return Failure(self._file.name, line, self._config.name, what, expected, got)

    def _rule_failure(self, rule: RunningRule, error: Exception, time_ms: int) -> Failure:
        since = format_duration(time_ms - self._config.start_timestamp)
        origin = rule.work.rule.origin
        what = f"rule {rule.work.rule.name} at {since}: {error}"
        return Failure(origin.file, origin.line, self._config.name, what)


def _is_stale(value: float) -> bool:
    return np.float64(value).tobytes() == np.float64(STALE).tobytes()
