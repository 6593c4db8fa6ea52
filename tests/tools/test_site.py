"""The documentation site builds without a warning, and needs no other host to be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASSET = re.compile(r'<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)="(?:https?:)?//[^"]*"')
FETCHED = re.compile(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\"';]*")


@pytest.mark.timeout(300)
def test_the_site(tmp_path: Path) -> None:
    """One test, for one build: as `make site` builds it."""
    site = tmp_path / "site"
    options = ["-q", "-E", "-W", "--keep-going", "-c", "tools/site", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", str(site)],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    every_page_is_in_it(site)
    the_start_page_leads_to_them_by_task(site)
    nothing_comes_from_another_host(site)


def every_page_is_in_it(site: Path) -> None:
    pages = {page.relative_to(ROOT).with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 50
    assert {page for page in pages if not (site / page).exists()} == set()


def the_start_page_leads_to_them_by_task(site: Path) -> None:
    start = (site / "index.html").read_text()
    menu = start[start.index("sidebar-tree") :]
    captions = re.findall(r'<p class="caption".*?<span class="caption-text">(.*?)</span>', menu)
    assert {"Collect", "Keep and ask", "Derive and alert", "Ship", "Run", "Look up"} <= set(captions)
    assert 'href="docs/scrape.html"' in menu


def nothing_comes_from_another_host(site: Path) -> None:
    fetched = {found for page in site.rglob("*.html") for found in ASSET.findall(page.read_text())}
    styles = {found for sheet in site.rglob("*.css") for found in FETCHED.findall(sheet.read_text())}
    assert (fetched, styles) == (set(), set())
    assert (site / "searchindex.js").exists()
