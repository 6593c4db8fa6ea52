"""Commands for sinks and the quarantine: what is asked of the agent, and what people read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from metricsmith.cli import table

Api = tuple[str, dict[str, Any]]
REASON = (
    "refused: got 400 Bad Request: this tenant takes\nno label named service, and goes on to say much more"
)


def _refusal(number: int, sink: str = "far", series: int = 3) -> dict[str, Any]:
    return {
        "id": f"{number}-0000",
        "sink": sink,
        "at": "2026-11-21T10:00:00Z",
        "at_ms": 0,
        "reason": REASON,
        "samples": 6,
        "events": 0,
        "series": series,
        "metric": "jobs_total",
    }


def test_only_the_newest_are_listed_and_that_is_said(here: Any, api: Api) -> None:
    url, state = api
    state["paths"]["/api/v1/quarantine"] = [_refusal(1), _refusal(2), _refusal(3, series=1)]
    done = here("quarantine", "list", "--sink", "far", "--limit", "2", "--url", url)
    assert state["asked"] == [("/api/v1/quarantine", {"sink": "far", "limit": "3"})]
    _, second, third = done.stdout.splitlines()
    assert second.startswith("2-0000") and "jobs_total and 2 more" in second
    assert third.startswith("3-0000") and " more" not in third.replace("say much more", "")
    assert done.stderr == "the newest 2 of more; --limit 0 shows all\n"
    listed = json.loads(here("quarantine", "list", "--limit", "2", "--json", "--url", url).stdout)
    assert [each["id"] for each in listed] == ["2-0000", "3-0000"]


@pytest.mark.parametrize("command", ["retry", "drop"])
def test_all_of_one_sink_can_be_meant(here: Any, api: Api, command: str) -> None:
    url, state = api
    state["paths"]["/api/v1/quarantine"] = [_refusal(1), _refusal(2)]
    state["answer"] = {"status": "success", "data": {"id": "", "samples": 6}}
    assert here("quarantine", command, "--sink", "far", "--url", url).returncode == 0
    path = f"/api/v1/quarantine/{command}"
    listed = ("/api/v1/quarantine", {"sink": "far"})
    assert state["asked"] == [listed, (path, {"id": "1-0000"}), (path, {"id": "2-0000"})]
    for wrong in ([], ["--all", "--sink", "far"], ["1-0000", "--sink", "far"], ["1-0000", "--all"]):
        refused = here("quarantine", command, *wrong, "--url", url)
        assert refused.returncode == 2 and "--sink NAME" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list",), "nothing is in quarantine\n"),
        (("list", "--sink", "far"), "nothing of the sink far is in quarantine\n"),
        (("drop", "--all"), "nothing is in quarantine\n"),
        (("retry", "--sink", "far"), "nothing of the sink far is in quarantine\n"),
    ],
)
def test_where_there_is_nothing_it_is_said(here: Any, api: Api, arguments: Any, said: str) -> None:
    url, state = api
    state["paths"]["/api/v1/quarantine"] = []
    done = here("quarantine", *arguments, "--url", url)
    assert (done.returncode, done.stdout) == (0, said)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_prose_in_the_last_column_is_cut_where_the_line_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    rows = [("centre", "remote_write", "12", REASON), ("b", "oci", "1", "")]
    table.print_table(rows, ("sink", "type", "behind", "last error"), prose=True)
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    head, centre, other = out.splitlines()
    assert max(map(len, (head, centre, other))) <= width
    assert centre.index("refused: got 400") == head.index("last error")
    assert centre.rstrip().endswith("…") and "\n" not in centre
    assert other.split() == ["b", "oci", "1"]


def test_prose_that_goes_to_a_file_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    table.print_table([("centre", REASON)], ("sink", "last error"), prose=True)
    assert " ".join(REASON.split()) in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ("sink", "list"),
        ("sink", "test"),
        ("quarantine", "list"),
        ("quarantine", "show"),
        ("quarantine", "retry"),
        ("quarantine", "drop"),
    ],
)
def test_help_has_an_example(here: Any, command: tuple[str, ...]) -> None:
    text = here(*command, "--help").stdout
    assert f"metricsmith {' '.join(command)} " in text.split("Example", 1)[1] + " "
