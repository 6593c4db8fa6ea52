"""What anybody pushes, such as a label's value, does not steer the terminal of whom it is shown to."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.model.faults import Fault
from metricsmith.runtime.verify import Verification

Run = Callable[..., subprocess.CompletedProcess[str]]
Api = tuple[str, dict[str, Any]]
EVIL = "a\x1b]0;title\x07\x1b[2J\x9b31m\rz"
METRIC = {"__name__": "up", "evil": EVIL}
SINK = {
    "name": EVIL, "type": "x", "state": "ok", "circuit": "closed", "behind_batches": 0, "lag_seconds": 0,
    "delivered_samples": 0, "dropped_samples": 0, "held_until": None, "last_error": EVIL,
}  # fmt: skip
REFUSAL = {
    "id": "1", "sink": EVIL, "at": "now", "samples": 1, "events": 0, "series": 1, "metric": EVIL,
    "reason": EVIL,
}  # fmt: skip
SAMPLE = {"labels": METRIC, "time_ms": 0, "value": "1"}
VECTOR = {"resultType": "vector", "result": [{"metric": METRIC, "value": [0, "1"]}]}
MATRIX = {"resultType": "matrix", "result": [{"metric": METRIC, "values": [[1, "1"], [2, "2"]]}]}


def answered(data: Any, **more: Any) -> dict[str, Any]:
    return {"status": "success", "data": data, **more}


def harmless(done: subprocess.CompletedProcess[str]) -> None:
    shown = done.stdout + done.stderr
    assert all(character.isprintable() or character == "\n" for character in shown), repr(shown)
    assert "\\x1b" in shown, f"it is shown: {done}"


@pytest.mark.parametrize(
    ("command", "answer", "paths"),
    [
        (["query", "up"], answered(VECTOR), {}),
        (["query", "up", "--start", "0", "--end", "9"], answered(MATRIX), {}),
        (["query", "up"], answered(VECTOR | {"result": []}, warnings=[EVIL]), {}),
        (["query", "up"], {"status": "error", "error": EVIL}, {}),
        (["sink", "list"], {}, {"/api/v1/sinks": [SINK]}),
        (["sink", "test", "x"], answered({"seconds": 0.1, "said": EVIL}), {}),
        (["quarantine", "list"], {}, {"/api/v1/quarantine": [REFUSAL]}),
        (["quarantine", "show", "1"], {}, {"/api/v1/quarantine/show": REFUSAL | {"content": [SAMPLE]}}),
    ],
)
def test_of_an_agent(
    here: Run, api: Api, command: list[str], answer: dict[str, Any], paths: dict[str, Any]
) -> None:
    url, state = api
    state.update(answer=answer, paths=paths, code=400 if answer.get("status") == "error" else 200)
    harmless(here(*command, "--url", url))


@pytest.mark.parametrize("expression", ["shop", 'up{job="shop"}'])
def test_of_names_that_are_near(here: Run, api: Api, expression: str) -> None:
    url, state = api
    state["names"], state["labels"] = ["up", "shop\x1b"], {"job": ["shop\x1b"]}
    state["answer"] = answered(VECTOR | {"result": []})
    harmless(here("query", expression, "--url", url))


@pytest.mark.parametrize("command", [["store", "stats"], ["sql", "SELECT labels FROM samples"]])
def test_of_what_is_stored(here: Run, fill: Callable[..., None], tmp_path: Path, command: list[str]) -> None:
    fill(tmp_path / "data", [(METRIC, {1_795_000_000_000: 1.0})])
    harmless(here(*command, "--path", str(tmp_path / "data")))


def test_of_a_directory_from_elsewhere(
    here: Run, fill: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "data", [(METRIC, {1_795_000_000_000: 1.0})])
    fault = Fault(file=f"blocks/{EVIL}", part=EVIL, what=EVIL, advice="none")
    monkeypatch.setattr(Verification, "run", lambda self, advance: iter([fault]))
    harmless(here("store", "verify", "--path", str(tmp_path / "data")))
