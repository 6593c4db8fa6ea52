"""No block is left without a verdict, and a verdict is true."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
LANGUAGES_HERE = {
    "yaml",
    "python",
    "console",
    "sh",
    "json",
    "toml",
    "sql",
    "promql",
    "text",
    "pycon",
    "dockerfile",
    "ini",
}


def test_each_has_one(block: Any) -> None:
    assert block.language in LANGUAGES_HERE, "a fence names its language"
    assert not (block.run and block.not_run), "one verdict"
    assert block.is_ours or len(block.run or block.not_run) > 8, "a verdict says which test, or why none"


def opens(program: str, page: Path) -> bool:
    """Return whether a program names a page, or the folder whose pages it takes, but in docstrings."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value
    }
    docstrings = {
        ast.get_docstring(node) for node in ast.walk(ast.parse(program)) if isinstance(node, DOCUMENTED)
    }
    parts = {part for text in texts - docstrings for part in Path(text).parts}
    return page.name in parts or {page.parent.name, "*.md"} <= parts


def test_a_test_that_is_named_is_there_and_reads_the_page(block: Any) -> None:
    if not block.run:
        return
    file = ROOT / block.run
    assert file.is_file(), block.run
    assert opens(file.read_text(), Path(block.page)), f"{block.run} does not read {block.page}"


@pytest.mark.parametrize(
    ("program", "does"),
    [
        ('"""As docs/a.md says."""', False),
        ('def f():\n    """docs/a.md"""', False),
        ('PAGE = ROOT / "docs/a.md"', True),
        ('PAGE = ROOT / "docs" / "a.md"', True),
        ('PAGE = ROOT / "docs" / "aa.md"', False),
        ('PAGES = (ROOT / "docs").rglob("*.md")', True),
    ],
)
def test_to_mention_a_page_is_not_to_read_it(program: str, does: bool) -> None:
    assert opens(program, Path("docs/a.md")) is does


def test_few_are_left_out(all_blocks: list[Any]) -> None:
    left_out = [block for block in all_blocks if block.not_run]
    assert len(all_blocks) > 200
    assert len(left_out) < len(all_blocks) / 8
