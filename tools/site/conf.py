"""The documentation site, of README.md and docs as they are: docs/decisions/0014-documentation-site.md."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
from links import START, menus  # noqa: E402

_about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
_menus = menus(ROOT)

project = _about["name"]
version = release = _about["version"]
author = "metricsmith"
root_doc = START.removesuffix(".md")
source_suffix = {".md": "markdown"}
include_patterns = [START, "docs/**.md", "src/metricsmith/packs/*/README.md", "examples/*/README.md"]
suppress_warnings = [
    "toc.not_included",  # tools/links.py tells of pages of docs; the others are linked
    "misc.highlighting_failure",  # shell quoting over lines: coloured up to it, and shown whole
]
exclude_patterns = [".*", "data", "bench", "site", "tests", "**/__pycache__"]
extensions = ["myst_parser"]
# Headings get the anchors that code hosts give them, and that tools/links.py checks.
myst_heading_anchors = 6
myst_enable_extensions = ["strikethrough"]
highlight_language = "text"
smartquotes = False  # options begin with two hyphens
pygments_style, pygments_dark_style = "friendly", "github-dark"

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b5f6b", "color-brand-content": "#0b5f6b"},
    "dark_css_variables": {"color-brand-primary": "#5cc8d7", "color-brand-content": "#5cc8d7"},
    "navigation_with_keys": True,
}


def _add_menu(app: Sphinx, page: str, source: list[str]) -> None:
    """Give a page the menu that its tables are; links to pages are shown by titles instead of paths."""
    menu = _menus.get(f"{page}.md", {})
    text = re.sub(r"\[(docs/[^\]]*\.md)\]\(\1\)", r"[](\1)", source[0]) if menu else source[0]
    for caption, pages in menu.items():
        listed = "\n".join("/" + each.removesuffix(".md") for each in pages)
        heading = f":caption: {caption}\n" if page == root_doc else ""
        text += f"\n\n```{{toctree}}\n:hidden:\n{heading}\n{listed}\n```\n"
    source[0] = text


def _start_is_index(app: Sphinx, failed: Exception | None) -> None:
    """Write the start page where servers and people look for it."""
    start = Path(app.outdir, f"{root_doc}.html")
    if start.exists():
        start.with_name("index.html").write_bytes(start.read_bytes())


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect what this site does beyond Sphinx."""
    app.connect("source-read", _add_menu)
    app.connect("build-finished", _start_is_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
