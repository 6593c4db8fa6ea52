"""The examples in docstrings and pages are true.

Commands and outputs of docs/promql.md are of what is tested here.
"""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [path for path in sorted((ROOT / "src").rglob("*.py")) if ">>> " in path.read_text()]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if ">>> " in path.read_text()]


@pytest.mark.parametrize(
    "path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src" / "metricsmith").as_posix()
)
def test_examples_of_docstrings(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried
    assert not failed


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_examples_of_pages(path: Path) -> None:
    failed, tried = doctest.testfile(str(path), module_relative=False)
    assert tried
    assert not failed
