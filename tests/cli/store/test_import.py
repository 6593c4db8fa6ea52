"""`metricsmith store import`: what it reads, what it refuses, and what it says of both."""

from __future__ import annotations

import gzip
import io
import json
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.programs import AgentProgram

Run = Callable[..., subprocess.CompletedProcess[str]]
Fill = Callable[..., None]
Read = Callable[[Path], Any]
NOW = 1_795_000_000_000
CONFIG = (
    'server: {{listen: "127.0.0.1:{port}", admin_api: true}}\nstorage: {{path: "{data}", retention: 2d}}\n'
    "limits: {{sources: {{api: 3}}}}\n"
)


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)


def _import(here: Run, into: Path, *arguments: str) -> Any:
    into.mkdir(exist_ok=True)
    return here("store", "import", "--path", str(into), *arguments)


OPENMETRICS = f"""\
# TYPE http_requests counter
# HELP http_requests Requests.
http_requests_total{{code="200"}} 1 {NOW / 1000:.3f}
http_requests_total{{code="200"}} 2 {NOW / 1000 + 15:.3f} # {{trace_id="x"}} 1
# TYPE latency histogram
latency_bucket{{le="1.0"}} 4 {NOW / 1000:.3f}
# EOF
"""
TEXT = f"""\
# HELP up Whether it is up.
# a comment
up{{job="a"}} 1 {NOW}

up{{job="a"}} NaN {NOW + 15_000}
"""
DUMP = f'{{__name__="up", job="a"}} 1 {NOW}\n{{__name__="up", job="a"}} NaN {NOW + 15_000}\n'


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        (
            "x.om",
            OPENMETRICS,
            {
                (("__name__", "http_requests_total"), ("code", "200")): {
                    NOW: _bits(1),
                    NOW + 15_000: _bits(2),
                },
                (("__name__", "latency_bucket"), ("le", "1.0")): {NOW: _bits(4)},
            },
        ),
        ("told by its end.txt", OPENMETRICS, None),
        ("x.prom", TEXT, {(("__name__", "up"), ("job", "a")): {NOW: _bits(1), NOW + 15_000: b"NaN"}}),
        ("dump.txt", DUMP, {(("__name__", "up"), ("job", "a")): {NOW: _bits(1), NOW + 15_000: b"NaN"}}),
    ],
)
def test_texts(
    here: Run, content_of: Read, tmp_path: Path, name: str, text: str, wanted: dict[Any, Any] | None
) -> None:
    (tmp_path / name).write_text(text)
    done = _import(here, tmp_path / "data", str(tmp_path / name))
    assert done.returncode == 0, done
    found = content_of(tmp_path / "data")
    assert len(found) == 2 if wanted is None else found == wanted


def test_standard_input(here: Run, content_of: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {(("__name__", "up"), ("job", "a")): {NOW: _bits(1), NOW + 15_000: b"NaN"}}
    for name, data in (("plain", TEXT.encode()), ("packed", gzip.compress(TEXT.encode()))):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        done = _import(here, tmp_path / name, "-", "--format", "prometheus")
        assert done.returncode == 0, done
        assert content_of(tmp_path / name) == wanted
    refused = _import(here, tmp_path / "none", "-")
    assert refused.returncode == 2
    assert "set --format" in refused.stderr
    assert _import(here, tmp_path / "none", str(tmp_path / "nothing.om")).returncode == 2


def test_lines_of_other_systems_and_before_one_without_end(
    here: Run, content_of: Read, tmp_path: Path
) -> None:
    file = tmp_path / "x.prom"
    file.write_bytes(f"up 1 {NOW}\r\nup 2 {NOW + 1}\r\n".encode() + b"x" * (5 << 20))
    done = _import(here, tmp_path / "data", str(file), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["problems"] == [
        f"{file}: after line 2: got a line of more than 4194304 bytes"
    ]
    assert content_of(tmp_path / "data") == {(("__name__", "up"),): {NOW: _bits(1), NOW + 1: _bits(2)}}


def test_wrong_lines_are_told_and_the_others_are_in(here: Run, content_of: Read, tmp_path: Path) -> None:
    file = tmp_path / "x.om"
    lines = [f'good{{n="{n}"}} {n} {NOW / 1000}' for n in range(4)]
    lines[1:1] = ["no value", 'x{a="1"} 2', f"x nought {NOW / 1000}", 'x{a="1} 2 3', "x 1 yesterday"]
    file.write_text("\n".join([*lines, "# EOF", ""]))
    done = _import(here, tmp_path / "data", str(file), "--json")
    assert done.returncode == 1
    summary = json.loads(done.stdout)
    assert (summary["samples_accepted"], summary["unreadable"]) == (4, 5)
    for number, (line, reason) in enumerate(zip(lines[1:6], summary["problems"], strict=True), 2):
        assert reason.startswith(f"{file}: line {number}: ")
        assert line in reason
    assert len(content_of(tmp_path / "data")) == 4


def test_many_wrong_lines_are_counted(here: Run, tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("time,name,labels,value\n" + "nothing\n" * 5000)
    done = _import(here, tmp_path / "data", str(file))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 21
    assert "and 4980 more that could not be read" in done.stderr


def test_labels_are_put_on_and_a_trial_changes_nothing(here: Run, content_of: Read, tmp_path: Path) -> None:
    (tmp_path / "x.prom").write_text(TEXT)
    into = tmp_path / "data"
    tried = _import(here, into, str(tmp_path / "x.prom"), "--dry-run", "--json")
    assert tried.returncode == 0
    assert json.loads(tried.stdout)["samples_read"] == 2
    assert not list(into.iterdir())
    done = _import(here, into, str(tmp_path / "x.prom"), "-l", "job=b", "-l", "site=berlin")
    assert done.returncode == 0
    assert list(content_of(into)) == [(("__name__", "up"), ("job", "b"), ("site", "berlin"))]
    assert _import(here, into, str(tmp_path / "x.prom"), "-l", "job").returncode == 2


def test_snapshots_and_blocks(here: Run, fill: Fill, content_of: Read, tmp_path: Path) -> None:
    day = 86_400_000
    series = {NOW + n * day // 3: float(n) for n in range(10)}
    fill(tmp_path / "from", [({"__name__": "x", "n": str(n)}, series) for n in range(3)])
    fill(tmp_path / "from", [({"__name__": "x", "n": "1"}, {NOW: None, NOW + day // 3: 7.0})])
    snapshot = tmp_path / "snapshot"
    assert here("store", "snapshot", "--path", str(tmp_path / "from"), str(snapshot)).returncode == 0
    wanted = content_of(tmp_path / "from")
    assert content_of(snapshot) == wanted, "a snapshot is a data directory"
    assert _import(here, tmp_path / "whole", str(snapshot)).returncode == 0
    assert content_of(tmp_path / "whole") == wanted
    blocks = sorted((snapshot / "blocks").iterdir(), key=lambda folder: folder.name.rpartition("-")[2])
    assert _import(here, tmp_path / "blocks", *map(str, blocks)).returncode == 0
    assert content_of(tmp_path / "blocks") == wanted


def test_what_is_nothing_of_ours_is_refused(here: Run, tmp_path: Path) -> None:
    for name, told in (("folder", "wanted a block"), ("x.gz", "set --format")):
        path = tmp_path / name
        path.mkdir() if name == "folder" else path.write_bytes(b"")
        done = _import(here, tmp_path / "data", str(path))
        assert done.returncode == 2
        assert told in " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentProgram]:
    agent = AgentProgram(tmp_path_factory.mktemp("agent"), CONFIG)
    agent.start()
    yield agent
    agent.kill()


def test_into_a_running_agent_and_out_of_it(here: Run, agent: AgentProgram, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 60_000_000_000 * 60_000
    hour = 3_600_000
    rows = [
        json.dumps({"time": _rfc3339(t), "name": "imported", "labels": {"n": str(n)}, "value": value})
        for n in range(3)
        for t, value in (
            (now_ms - 60 * hour, 1.0),
            (now_ms - 40 * hour, 0.1 + 0.2),
            (now_ms - hour, None),
            (now_ms - hour + 1, "NaN"),
            (now_ms + 40 * 60_000, 5.0),
        )
    ]
    file, out = tmp_path / "x.jsonl", tmp_path / "y.jsonl"
    file.write_text("\n".join(rows) + "\n")
    done = here("store", "import", "--url", agent.url, str(file), "--json")
    assert done.returncode == 1, done
    summary = json.loads(done.stdout)
    assert (summary["samples_accepted"], summary["too_old"], summary["too_far_ahead"]) == (9, 3, 3)
    exported = here("store", "export", "-c", str(agent.config_file), "--match", "imported", "--out", str(out))
    assert exported.returncode == 0, exported
    kept = [json.loads(row) for n, row in enumerate(rows) if n % 5 in (1, 2, 3)]
    assert [json.loads(line) for line in out.read_text().splitlines()] == kept
    early = here("sql", "-c", str(agent.config_file), "SELECT * FROM samples WHERE name = 'imported'")
    assert early.returncode == 0 and "still in the memory of the agent is seen with --fresh" in early.stderr
    fresh = here("sql", "-c", str(agent.config_file), "--fresh", "SELECT count(*) FROM samples", "-f", "csv")
    assert fresh.returncode == 0, fresh
    assert int(fresh.stdout.splitlines()[1]) >= 6
    assert not list((agent.data / "snapshots").iterdir())
    told = here("store", "stats", "-c", str(agent.config_file), "--json")
    stats = json.loads(told.stdout)
    assert ["imported", 3] in stats["series_by_metric"]
    assert stats["in_memory"] is not None

    file.write_text(rows[1] + "\n" + rows[1].replace("imported", "beyond") + "\n")
    done = here("store", "import", "--url", agent.url, str(file), "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["samples_accepted"], summary["refused_by_agent"]) == (1, 1, 1)
    assert "did not take 1 samples, mostly of new series beyond limits.series" in done.stderr


def test_the_admin_api_is_off_unless_it_is_switched_on(here: Run, tmp_path: Path) -> None:
    agent = AgentProgram(tmp_path, CONFIG.replace(", admin_api: true", ""))
    agent.start()
    try:
        done = here("store", "snapshot", "-c", str(agent.config_file), str(tmp_path / "snapshot"))
        assert done.returncode != 0
        assert "set server.admin_api: true" in done.stderr
        assert agent.ask("/api/v1/admin/tsdb/snapshot", b"").status == 403
        done = here("store", "delete-series", "--url", agent.url, "--match", "up", "--yes")
        assert done.returncode != 0
        assert "set server.admin_api: true" in done.stderr
    finally:
        agent.kill()


def _rfc3339(time_ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(time_ms // 1000))}.{time_ms % 1000:03d}Z"
