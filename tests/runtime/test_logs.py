"""A record of the log begins with its time, whatever a far end says."""

from __future__ import annotations

import logging

import pytest

from metricsmith.config.settings import LoggingSettings
from metricsmith.runtime.logs import set_up_logging


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let loggers be afterwards what they were."""
    for name in (None, "uvicorn.access", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        for attribute in ("level", "disabled"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    monkeypatch.setattr(logging.getLogger(), "handlers", [])


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("404 page not found\n", "404 page not found"),
        (
            "no\n2026-11-21T10:00:00.000Z ERROR all is lost",
            "no\n    2026-11-21T10:00:00.000Z ERROR all is lost",
        ),
        ("\x1b[2Jgone", " [2Jgone"),
        ("ends\r\nlike this\u2028and this", "ends \n    like this and this"),
    ],
)
def test_words_of_others_forge_no_record(capsys: pytest.CaptureFixture[str], said: str, shown: str) -> None:
    set_up_logging(LoggingSettings())
    logging.getLogger("metricsmith.sinks.test").warning("far: %s", said)
    assert capsys.readouterr().err.partition(" ")[2] == f"WARNING sinks.test: far: {shown}\n"
