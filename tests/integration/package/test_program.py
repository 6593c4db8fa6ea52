"""The program of a package: one file that runs where there is Python and nothing else."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import bootstrap, standalone
from metricsmith.wire.ohi.decode import decode
from metricsmith.wire.ohi.document import Document
from metricsmith.wire.ohi.reading import Limits

Make = Callable[..., Path]


@pytest.fixture
def program(package: Make, tmp_path: Path) -> Callable[..., Path]:
    """The program of a project of kind python, alone in a folder."""

    def make(change: tuple[str, str, str] | None = None) -> Path:
        with tarfile.open(package(Kind.PYTHON, change=change)) as tar:
            member = next(m for m in tar if m.name.endswith("/queue-depth"))
            opened = tar.extractfile(member)
            assert opened is not None
            path = tmp_path / "alone"
            path.write_bytes(opened.read())
        path.chmod(0o755)
        return path

    return make


def run(path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-S", path],
        env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_it_needs_no_library_and_unpacks_once(program: Make, tmp_path: Path) -> None:
    path, cache = program(), tmp_path / "cache"
    first = run(path, XDG_CACHE_HOME=str(cache))
    assert first.returncode == 0, first.stderr
    (unpacked,) = (cache / "metricsmith").iterdir()
    made = (unpacked / "settings.json").stat()
    assert run(path, XDG_CACHE_HOME=str(cache)).returncode == 0
    assert (unpacked / "settings.json").stat() == made
    assert unpacked.stat().st_mode & 0o077 == 0


def test_what_no_version_runs_from_any_more_is_removed(program: Make, tmp_path: Path) -> None:
    shared = tmp_path / "cache" / "metricsmith"
    now_s = time.time()
    ages_h = {
        "queue-depth-0123456789abcdef": 25, "queue-depth-1123456789abcdef": 23, ".queue-depth-abc_1234": 25,
        "queue-depth-2123456789abcdef": 25, "other-0123456789abcdef": 25, "queue-depth-notes": 25,
    }  # fmt: skip
    for name, age_h in ages_h.items():
        (shared / name / "app").mkdir(parents=True)
        os.utime(shared / name, (now_s - 3600 * age_h,) * 2)
    running = os.open(shared / "queue-depth-2123456789abcdef", os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_SH)
    try:
        assert run(program(), XDG_CACHE_HOME=str(tmp_path / "cache")).returncode == 0
    finally:
        os.close(running)
    gone = {"queue-depth-0123456789abcdef", ".queue-depth-abc_1234"}
    left = {path.name for path in shared.iterdir()}
    assert ages_h.keys() - left == gone and len(left) == len(ages_h) - len(gone) + 1


def test_what_runs_is_not_removed_however_long_ago_it_began(tmp_path: Path) -> None:
    place = tmp_path / "queue-depth-0123456789abcdef"
    place.mkdir()
    os.utime(place, (0, 0))
    code = f"import sys, bootstrap; print(bootstrap.held({str(place)!r}), flush=True); sys.stdin.read()"
    where = Path(bootstrap.__file__).parent
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], cwd=where, stdin=pipe, stdout=pipe) as program:
        assert program.stdin is not None and program.stdout is not None
        assert program.stdout.readline() == b"True\n"
        assert time.time() - place.stat().st_mtime < 3600, "it is used today"
        os.utime(place, (0, 0))
        bootstrap.remove_old(str(tmp_path), "queue-depth", "")
        assert place.is_dir()
        program.stdin.close()
    bootstrap.remove_old(str(tmp_path), "queue-depth", "")
    assert not place.is_dir()


@pytest.mark.parametrize("way", ["no folder", "somebody may write"])
def test_a_cache_that_cannot_be_trusted_is_not_used(way: str, program: Make, tmp_path: Path) -> None:
    path, cache, temporary = program(), tmp_path / "cache", tmp_path / "tmp"
    temporary.mkdir()
    if way == "no folder":
        cache.write_text("a file")
    else:
        assert run(path, XDG_CACHE_HOME=str(cache)).returncode == 0
        (unpacked,) = (cache / "metricsmith").iterdir()
        (unpacked / "app" / "queue_depth.py").write_text("raise SystemExit('evil')\n")
        unpacked.chmod(0o777)
    done = run(path, XDG_CACHE_HOME=str(cache), TMPDIR=str(temporary))
    assert done.returncode == 0 and '"orders"' in done.stdout, done.stderr
    assert not list(temporary.iterdir())


def test_another_python_is_told() -> None:
    settings = {"python": [3, 99], "exact": False}
    assert bootstrap.misfit(settings).endswith("wanted Python 3.99 or later")
    old = {"python": [3, 1], "exact": True}
    assert "wanted Python 3.1 (its libraries are made for that one)" in bootstrap.misfit(old)
    assert not bootstrap.misfit({**old, "exact": False})


def test_without_data_files_it_runs_from_the_zip(program: Make, tmp_path: Path) -> None:
    path = program(("integration.yaml", "files: [sample.json] ", "files: [] "))
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("settings.json"))["unpack"] is False
    source = tmp_path / "queues.json"
    source.write_text('{"far": {"waiting": 1, "processed": 2}}')
    done = run(path, XDG_CACHE_HOME=str(tmp_path / "cache"), QUEUE_DEPTH_SOURCE=str(source))
    assert '"queue":"far"' in done.stdout, done.stderr
    assert not (tmp_path / "cache").exists()


def test_a_collector_that_fails_is_told_with_its_line(program: Make, tmp_path: Path) -> None:
    path = program()
    done = run(path, XDG_CACHE_HOME=str(tmp_path / "cache"), QUEUE_DEPTH_SOURCE=str(tmp_path / "none"))
    assert done.returncode == 1 and not done.stdout
    assert (
        done.stderr.startswith("queue_depth.queue_depth: queue_depth.py:") and "InputFailed: " in done.stderr
    )
    assert "Traceback" not in done.stderr


GIVEN = """
import prometheus_client.core as families
from metricsmith.collector import collector, counter, gauge

def histogram():
    made = families.HistogramMetricFamily("wait_seconds", "Waits.", labels=["queue"])
    made.add_metric(["mail"], [("1", 2), ("+Inf", 3)], 4.5)
    return made

def summary():
    made = families.SummaryMetricFamily("size_bytes", "Sizes.")
    made.add_metric([], 4, 8.0)
    return made

@collector
def number():
    return 7

@collector
def several():
    print("not a document")
    yield gauge("warm", 1.5, {"room": "a"})
    yield counter("seen_total", 9)
    yield {"plain": 1, "declared_total": 5, "absent": None, "not_finite": float("nan")}
    yield ("named", 2, {"x": 1})
    yield [histogram(), summary()]

@collector
async def later():
    yield "later", 3

@collector(labels={"zone": "eu"})
class Made:
    def collect(self):
        return {"made": 4, "odd": "four"}

class NotMarked:
    def describe(self):
        return [families.CounterMetricFamily("turns", "Turns.")]

    def collect(self):
        made = families.CounterMetricFamily("turns", "Turns.", labels=["at"])
        made.add_metric(["noon"], 5)
        made.add_metric(["then"], 6, timestamp=1)
        made.add_metric(["then"], 7, timestamp=2)
        yield made

@collector
def broken():
    raise ValueError("no")
"""


def test_what_collectors_may_give_becomes_one_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given_here.py").write_text(GIVEN)
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings: dict[str, Any] = {
        "name": "a", "version": "1.0.0", "run": {"collector": "given_here.py"},
        "types": {"declared_total": "counter"}, "max_samples": 100,
    }  # fmt: skip
    assert standalone.main(str(tmp_path), settings) == 1
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "not a document",
        "given_here.broken: given_here.py:50: ValueError: no",
        "given_here.Made: 1 left out: odd: could not convert string to float: 'four'",
    ]
    document = decode(said.out.encode(), Limits())
    assert isinstance(document, Document) and document.protocol == 4
    found = {m.name: (m.kind.value, m.value) for m in document.datasets[0].metrics}
    assert {name: value for name, value in found.items() if not name.startswith(("wait", "size"))} == {
        "number": ("gauge", 7), "warm": ("gauge", 1.5), "seen_total": ("cumulative-count", 9),
        "plain": ("gauge", 1), "declared_total": ("cumulative-count", 5), "named": ("gauge", 2),
        "later": ("gauge", 3), "made": ("gauge", 4), "turns_total": ("cumulative-count", 7),
    }  # fmt: skip
    assert {(m.name, *m.attributes.values()) for m in document.datasets[0].metrics if m.attributes} == {
        ("warm", "a"), ("named", "1"), ("made", "eu"), ("turns_total", "noon"), ("turns_total", "then"),
        ("wait_seconds", "mail"),
    }  # fmt: skip
    kind, histogram = found["wait_seconds"]
    assert kind == "prometheus-histogram"
    assert (histogram.count, histogram.sum, histogram.points) == (3, 4.5, ((1, 2),))  # type: ignore[union-attr]
    kind, summary = found["size_bytes"]
    assert kind == "prometheus-summary" and (summary.count, summary.sum) == (4, 8)  # type: ignore[union-attr]


def test_more_samples_than_promised_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from metricsmith.collector import collector\n@collector\ndef many():\n    return [1, 2, 3]\n"
    (tmp_path / "many_here.py").write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    settings = {"name": "a", "version": "1.0.0", "run": {"collector": "many_here.py"}, "types": {}}
    assert standalone.main(str(tmp_path), {**settings, "max_samples": 2}) == 1
    said = capsys.readouterr()
    assert not said.out and "LimitExceeded: got more than 2 samples at once" in said.err
    assert standalone.main(str(tmp_path), {**settings, "max_samples": 3}) == 0
