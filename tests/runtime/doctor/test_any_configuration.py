"""Whatever loads can be examined: no check fails itself, and all end in time."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith import registry
from metricsmith.config.load import load_text
from metricsmith.contracts import Examined
from metricsmith.errors import ConfigError
from metricsmith.model.findings import Finding, Findings
from metricsmith.runtime.doctor import clock
from metricsmith.runtime.doctor.checks import examination_of

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {"NEW_RELIC_LICENSE_KEY": "a-licence-key"}
TIMEOUT_S = 0.5
SLACK_S = 60.0
"""On a busy machine, beside others."""
AT_ONCE, LEAST = 8, 60
_FENCED = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
_ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no name known but that of this machine."""
    known: Callable[..., Any] = socket.getaddrinfo

    def look_up(host: str | None, *rest: Any, **named: Any) -> Any:
        if host in (None, "", "localhost", "::1") or str(host).startswith(("127.", "0.")):
            return known(host, *rest, **named)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def configurations() -> Iterator[tuple[str, str]]:
    """Yield the shipped examples, what loads of the pages, and each part as it comes."""
    for file in sorted((ROOT / "examples").glob("*.yaml")):
        yield file.name, file.read_text()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for number, block in enumerate(_FENCED.findall(page.read_text())):
            yield f"{page.stem}-{number}", block
    for group in ("sources", "sinks"):
        for name in registry.known(group):
            yield name, f"{group}: [{{type: {name}}}]"
    for name in registry.known("stores"):
        yield name, f"storage: {{type: {name}}}"


async def examine(text: str, folder: Path) -> list[Finding] | None:
    """Return the findings of a configuration, None for what is none: a part of one, or another program's."""
    environment = {**ENVIRONMENT, "METRICSMITH_STORAGE_PATH": str(folder / "data")}
    try:
        configuration = load_text(_ADDRESS.sub("127.0.0.1", text), str(folder / "m.yaml"), environment)
    except ConfigError:
        return None
    examination = examination_of(configuration, (), TIMEOUT_S)
    return [line async for done in examination.run() for line in done.findings.lines]


@pytest.mark.usefixtures("collect_sockets")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_every_configuration_can_be_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "LOOK_S", 0.02)
    gate, began, looked_at = asyncio.Semaphore(AT_ONCE), time.monotonic(), 0

    async def one(name: str, text: str) -> int:
        folder = tmp_path / name
        async with gate:
            lines = await examine(text, folder)
        if lines is None:
            return 0
        assert lines and not [line for line in lines if "the check itself failed" in str(line)], (name, lines)
        assert not folder.exists(), f"{name}: something was made"
        for line in lines:
            assert line.about and line.got and str(line).isprintable(), (name, line)
        return 1

    found = dict(configurations())
    looked_at = sum(await asyncio.gather(*(one(*each) for each in found.items())))
    assert looked_at >= LEAST, "pages and examples are found"
    assert time.monotonic() - began < 2 * TIMEOUT_S * len(found) / AT_ONCE + SLACK_S


@settings(max_examples=30)
@given(st.text(max_size=2000), st.text(max_size=100), st.sampled_from(["ok", "warning", "problem"]))
def test_what_far_ends_say_stays_on_one_line(got: str, about: str, level: str) -> None:
    from metricsmith.model.clock import SystemClock

    findings = Findings(SystemClock(), 1.0)
    getattr(findings, level)(about, got)
    assert str(findings.lines[0]).isprintable() and len(findings.lines[0].got) <= 500


NOTHING_TO_SEE = {
    ("sources", "application"),
    ("sources", "pushgateway"),
    ("sources", "self"),
    ("stores", "embedded"),  # its folder is the agent's data, which is looked at anyhow
    ("stores", "file"),  # the same, and the sink that writes it
}


def test_each_part_has_a_look_or_nothing_to_look_at() -> None:
    without = {
        (group, name)
        for group in ("sources", "sinks", "stores")
        for name in registry.BUILT_IN[group]
        if not isinstance(registry.load(group, name), Examined)
    }
    assert without == NOTHING_TO_SEE
