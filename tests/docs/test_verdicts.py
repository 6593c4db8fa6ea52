"""No block is left without a verdict, and a verdict is true."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
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


def test_a_test_that_is_named_is_there_and_knows_the_page(block: Any) -> None:
    if not block.run:
        return
    file = ROOT / block.run
    assert file.is_file(), block.run
    page, text = Path(block.page), file.read_text()
    told = page.name in text or (page.parent.name != "docs" and f"{page.parent}" in text)
    assert told, f"{block.run} does not mention {block.page}"


def test_few_are_left_out(all_blocks: list[Any]) -> None:
    left_out = [block for block in all_blocks if block.not_run]
    assert len(all_blocks) > 200
    assert len(left_out) < len(all_blocks) / 8
