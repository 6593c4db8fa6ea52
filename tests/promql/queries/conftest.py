"""Collects query scripts (docs/query-tests.md): each query of a `*.test` file is a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.query_check import difference
from metricsmith.testing.query_script import Case, ScriptError, read_script


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    return QueryFile.from_parent(parent, path=file_path) if file_path.suffix == ".test" else None


class QueryFile(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        try:
            cases = read_script(self.path.read_text(), self.path.name)
        except ScriptError as error:
            raise self.CollectError(str(error)) from None
        for case in cases:
            yield QueryItem.from_parent(self, name=f"line {case.line}: {case.text}", case=case)


class WrongAnswer(Exception):
    """A query answers something else than its script says."""


class QueryItem(pytest.Item):
    def __init__(self, case: Case, **about: Any) -> None:
        super().__init__(**about)
        self._case = case

    def runtest(self) -> None:
        if found := difference(self._case):
            raise WrongAnswer(found)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, WrongAnswer):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self._case.line - 1, self.name
