"""The link check sees what leads nowhere, and only that."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def links() -> ModuleType:
    spec = importlib.util.spec_from_file_location("links", ROOT / "tools" / "links.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_that_lead_nowhere_are_told_with_their_line(links: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(
        "# Here\n[a](docs/a.md), [none](docs/b.md)\n[up](../x) [h](#nowhere) [ok](#here)\n"
    )
    (tmp_path / "docs" / "a.md").write_text(
        "## Crash safety\n```\n[code](none.md)\n# no heading\n```\n`[code](none.md)` [x](../README.md#here)\n"
        "[`b`](#no-heading) [w](https://example.org/x) [c](a.md#crash-safety) [d](../docs) [e](../docs#x)\n"
    )
    assert list(links.broken(tmp_path)) == [
        "README.md:2: docs/b.md: got a path that does not exist",
        "README.md:3: ../x: got a path outside of the project, wanted one inside",
        "README.md:3: #nowhere: got #nowhere, which is no heading of README.md",
        "docs/a.md:7: #no-heading: got #no-heading, which is no heading of docs/a.md",
        "docs/a.md:7: ../docs#x: got #x, which is no heading of docs",
    ]


def test_headings_get_the_anchors_that_readers_of_markdown_give_them(links: ModuleType) -> None:
    text = "# A full disk\n## `GET /x`, and *more*: 1.5 ##\n## A full disk\n### [Linked](a.md) é\n"
    assert links.anchors(text) == {"a-full-disk", "get-x-and-more-15", "a-full-disk-1", "linked-é"}


def test_the_menu_is_the_tables_of_the_start_page(links: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "docs" / "why").mkdir(parents=True)
    for page in ("a", "b", "c", "why/1", "why/2"):
        (tmp_path / "docs" / f"{page}.md").write_text("# A page\n")
    (tmp_path / "docs" / "why" / "README.md").write_text(
        "# Why\n\n| reason | |\n| --- | --- |\n| [1](1.md) | |\n"
    )
    (tmp_path / "README.md").write_text(
        "# Start\n\n| Collect | |\n| --- | --- |\n| this | [a](docs/a.md#there), [b](docs/b.md) |\n"
        "| again | [a](docs/a.md) |\n"
        "\n| Look up | |\n| --- | --- |\n| why | [why](docs/why/README.md), [file](docs/x.yaml) |\n"
        "\n| to | file |\n| --- | --- |\n| no menu | [c](docs/c.md) |\n"
    )
    assert links.menus(tmp_path) == {
        "README.md": {"Collect": ["docs/a.md", "docs/b.md"], "Look up": ["docs/why/README.md"]},
        "docs/why/README.md": {"reason": ["docs/why/1.md"]},
    }
    assert links.unreachable(tmp_path) == [
        "docs/c.md: no table of README.md leads to it",
        "docs/why/2.md: no table of README.md leads to it",
    ]
