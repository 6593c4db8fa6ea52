"""Configurations that are examined here, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.config.load import load_text
from metricsmith.model.findings import Finding, Level
from metricsmith.runtime.doctor.checks import examination_of
from metricsmith.runtime.doctor.examination import Examination


class Examined:
    """The findings of an examination, by area and part."""

    def __init__(self, examination: Examination) -> None:
        self.lines = [
            (done.check.area, done.check.name, line)
            for done in examination.done
            for line in done.findings.lines
        ]

    def of(self, level: Level) -> list[Finding]:
        return [line for _, _, line in self.lines if line.level is level]

    def told(self, level: str, about: str, text: str) -> bool:
        """Return whether a line of a level is about something, and says something."""
        return any(
            line.level == level and about in line.about and text in str(line) for _, _, line in self.lines
        )

    def __repr__(self) -> str:
        return "\n" + "\n".join(f"{area}/{part} {line.level}: {line}" for area, part, line in self.lines)


Examine = Callable[..., Examined]


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    """Examine a configuration whose data are in a folder of the test; names are areas or parts."""

    def run(text: str, *only: str, timeout_s: float = 30.0) -> Examined:
        file = tmp_path / "metricsmith.yaml"
        file.write_text(text)
        environment = {"METRICSMITH_STORAGE_PATH": str(tmp_path / "data")}
        if "listen" not in text:
            environment["METRICSMITH_SERVER_LISTEN"] = "127.0.0.1:0"
        configuration = load_text(text, str(file), environment)
        examination = examination_of(configuration, only, timeout_s)

        async def all_of_them() -> None:
            async for _ in examination.run():
                pass

        asyncio.run(all_of_them())
        assert not examination.pending
        return Examined(examination)

    return run
