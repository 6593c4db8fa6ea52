"""Every fenced block of README.md and docs has a verdict: it is run, checked, or left out with a reason.

A comment before the fence speaks where the block's language alone does not decide:

    <!-- run: tests/bus/test_page.py -->        a test of its own, which names the page
    <!-- run all: tests/process/test_x.py -->   the same, for every block of the page
    <!-- not run: needs a cluster -->           nobody; command lines are still read
    <!-- given: import signal -->               what the page takes as known; goes before it
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metricsmith.testing import services
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
COMMENTS = re.compile(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", re.DOTALL)
COMMENT = re.compile(r"<!-- (run|run all|not run|given): ((?:(?!-->).)*?)\s*-->", re.DOTALL)
FILE_INSIDE = re.compile(r"# ([\w./-]+\.\w+)$", re.MULTILINE)
CONFIGURATION = re.compile(r"^(sources|sinks|storage):", re.MULTILINE)
FILE_BEFORE = re.compile(r"`([\w/-]+\.\w+)`:\Z")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    before: str = field(repr=False)
    run: str
    not_run: str
    given: str

    @property
    def is_ours(self) -> bool:
        """Whether the tests of this folder have to do it."""
        return not self.run and not self.not_run


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    whole = dict(COMMENT.findall(text)).get("run all", "")
    for fence in FENCE.finditer(text):
        before = text[: fence.start()]
        said = COMMENTS.search(before)
        verdict = dict(COMMENT.findall(said[0])) if said else {}
        indent = len(fence["indent"])
        yield Block(
            page.relative_to(ROOT).as_posix(),
            before.count("\n") + 1,
            fence["language"],
            "".join(line[indent:] for line in fence["text"].splitlines(keepends=True)),
            before[: said.start()].rstrip() if said else before.rstrip(),
            verdict.get("run", whole if "not run" not in verdict else ""),
            verdict.get("not run", ""),
            verdict.get("given", ""),
        )


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test its `block`, each of its module's LANGUAGES, or `blocks`, those of a page."""
    languages = getattr(metafunc.module, "LANGUAGES", None)
    wanted = [b for b in BLOCKS if languages is None or (b.language in languages and b.is_ours)]
    if "block" in metafunc.fixturenames:
        metafunc.parametrize("block", wanted, ids=[f"{b.page}:{b.line}" for b in wanted])
    if "blocks" in metafunc.fixturenames:
        pages = list(dict.fromkeys(b.page for b in wanted))
        metafunc.parametrize("blocks", [[b for b in wanted if b.page == p] for p in pages], ids=pages)


@pytest.fixture(scope="session")
def all_blocks() -> list[Block]:
    """All blocks of all pages."""
    return BLOCKS


@dataclass(frozen=True, slots=True)
class Demo:
    """`metricsmith demo`, as README.md has it run beside what one tries."""

    port: int
    shop: str


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Shop, load and agent; rates can be asked for."""
    port, folder = free_port(), tmp_path_factory.mktemp("demo")
    process = subprocess.Popen(
        [sys.executable, "-m", "metricsmith", "demo", "--port", str(port), "--data", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        shop = re.search(r"http://\S+(?=/metrics)", process.stdout.readline())
        assert shop, "the demo says first where its shop is"
        query = urllib.parse.quote("sum(rate(http_requests_total[30s])) > 1")
        asked = f"http://127.0.0.1:{port}/api/v1/query?query={query}"
        eventually(lambda: '"value"' in _answer(asked), within_s=90)
        yield Demo(port, shop[0])
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _answer(url: str) -> str:
    """Return what is answered, nothing while nobody does."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@pytest.fixture(scope="session")
def files() -> dict[str, dict[str, str]]:
    """The files that each page has its reader write, by the name in their first line or right before them.

    The first configuration of a page is its metricsmith.yaml, if none is called so.
    """
    found: dict[str, dict[str, str]] = {}
    for block in BLOCKS:
        named = FILE_INSIDE.match(block.text) or FILE_BEFORE.search(block.before)
        if named and block.language in {"yaml", "python", "text", "toml"}:
            found.setdefault(block.page, {})[named[1]] = block.text
        elif block.language == "yaml" and CONFIGURATION.search(block.text):
            found.setdefault(block.page, {}).setdefault("metricsmith.yaml", block.text)
    return found


@pytest.fixture(scope="session")
def amtool() -> Path:
    """The path of Alertmanager's own checker."""
    try:
        return services.program("amtool")
    except services.ServiceMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(str(missing))
        pytest.skip(str(missing))
