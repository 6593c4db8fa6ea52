"""A project that breaks its contract is told what it broke and what to do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.integration.kinds import Kind
from metricsmith.integration.report import Report, Verdict

MakeProject = Callable[..., Path]
Examined = Callable[..., Report]
Edit = Callable[[Path], Any]
CODE = "queue_depth.py"
GIVE = '        yield gauge("queue_depth_items"'


def verdicts(report: Report) -> dict[str, str]:
    return {each.name: each.verdict.value for each in report.checks}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_new_project_keeps_its_contract(kind: Kind, new_project: MakeProject, examined: Examined) -> None:
    report = examined(new_project(kind), collections=3)
    assert report.passed, report.failures()
    assert {"declaration", "collect", "metrics", "types", "labels", "errors", "names", "leaks", "golden"} <= {
        each.name for each in report.checks if each.verdict is Verdict.PASSED
    }


BROKEN: dict[str, tuple[str, str, str, str, str]] = {
    "undeclared metric": (
        CODE, GIVE, '        yield gauge("queue_depth_itms", 1, labels, help="x")\n' + GIVE, "metrics",
        'queue_depth_itms is not declared (did you mean "queue_depth_items"?); add to integration.yaml, under'
        ' metrics: - {name: queue_depth_itms, type: gauge, help: "x", labels: {queue: ""}}',
    ),
    "metric that is never given": (
        "integration.yaml", "queue_depth_items\n    type", "queue_depth_things\n    type", "metrics",
        "queue_depth_things is declared and not given (integration.yaml:",
    ),
    "another type": (
        CODE, "yield counter(", "yield gauge(", "types",
        "queue_depth_processed_total: got type gauge, wanted counter (integration.yaml:",
    ),
    "another unit": (
        CODE, 'help="Items that wait in a queue."', 'help="Items that wait in a queue.", unit="items"',
        "types", "queue_depth_items: got unit items, wanted none",
    ),
    "no type": (
        CODE, GIVE + ', queue["waiting"], labels, help="Items that wait in a queue.")',
        '        yield ("queue_depth_items", 3, labels)', "types",
        "queue_depth_items has no type: give gauge(…) of metricsmith.collector",
    ),
    "undeclared label": (
        CODE, '{"queue": name}', '{"queue": name, "host": "a"}', "labels",
        "label host is not declared; add to its labels (integration.yaml:",
    ),
    "missing label": (
        CODE, '{"queue": name}', "{}", "labels", "queue_depth_items: lacks the label queue",
    ),
    "too many values of a label": (
        "integration.yaml", "max_values: 100", "max_values: 1", "labels",
        "queue_depth_items: label queue has 2 values, wanted at most 1 (integration.yaml:",
    ),
    "too many series": (
        "integration.yaml", "max_series: 200", "max_series: 3", "samples", "(max_series)",
    ),
    "negative counter": (
        CODE, 'queue["processed"]', "-1", "types", "got -1, wanted 0 or more: it is a counter",
    ),
    "same series twice": (
        CODE, 'labels = {"queue": name}', 'labels = {"queue": "all"}', "samples",
        "twice with the same labels",
    ),
    "collector that raises": (
        CODE, "queues = json", 'raise KeyError("no")\n    queues = json', "collect",
        "queue_depth.queue_depth: queue_depth.py:32: KeyError: 'no'",
    ),
    "collector that exits": (
        CODE, "queues = json", "raise SystemExit(7)\n    queues = json", "collect", "SystemExit: 7",
    ),
    "collector that hangs": (
        CODE, "queues = json", "import time; time.sleep(0.4)\n    queues = json", "collect",
        "took longer than its timeout of 0.1 s",
    ),
    "mistake in the file": (
        CODE, "def queue_depth(", "def queue depth(", "load", "queue_depth.py:30: ",
    ),
    "ever new series": (
        CODE, '{"queue": name}', '{"queue": name + os.urandom(4).hex()}', "names",
        "in a later collection of the same inputs",
    ),
    "another value": (
        CODE, 'queue["waiting"]', 'queue["waiting"] + 1', "golden",
        'metrics.prom differs (`--update-golden` takes what is now):\n-queue_depth_items{queue="mail"} 3',
    ),
    "alert that is no PromQL": (
        "integration.yaml", "total[10m])", "total", "declaration",
        "alert QueueDepthStuck: 1:64: parse error",
    ),
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_broken_is_told(
    broken: str, new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    file, old, new, failing, told = BROKEN[broken]
    folder = new_project()
    edit(folder).replace(file, old, new)
    if broken == "collector that hangs":
        edit(folder).replace("integration.yaml", "timeout: 5s", "timeout: 100ms")
    report = examined(folder, collections=2 if failing == "names" else 0)
    assert not report.passed
    assert verdicts(report)[failing] == "failed"
    assert any(line.startswith(f"{failing}: ") and told in line for line in report.failures()), (
        report.failures()
    )


def test_one_collector_that_fails_leaves_the_other_looked_at(
    new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).append(CODE, "\n\n@collector\ndef other() -> None:\n    raise ValueError('broken')\n")
    report = examined(folder)
    assert verdicts(report)["collect"] == "failed" and verdicts(report)["metrics"] == "passed"
    assert report.failures() == ["collect: queue_depth.other: queue_depth.py:42: ValueError: broken"]


LEAK = """

KEPT = []


@collector
def keeper() -> None:
    KEPT.append({what})
"""


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (
            "[[] for _ in range(5)]",
            "objects more after 300 collections, wanted at most 250; kept by queue_depth.py:45",
        ),
        (
            "[str(i) * 60 for i in range(100, 105)]",
            "objects more after 300 collections, wanted at most 250; kept by queue_depth.py:45",
        ),
        (
            "'x' * 4000 + str(len(KEPT))",
            "wanted at most 44; kept by queue_depth.py:45",
        ),
        ("open('/dev/null')", "files more after"),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_leaks_are_told(
    what: str, told: str, new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).append(CODE, LEAK.format(what=what))
    report = examined(folder, collections=300)
    assert any(line.startswith("leaks: ") and told in line for line in report.failures()), report.failures()
    gc.collect()  # what leaked ends here


HIDING = """

LAST = {}


def read(get):
    try:
        LAST.update(get())
    except OSError:
        pass
    return LAST
"""


def test_a_collector_that_hides_failing_inputs_is_warned(
    new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).replace(CODE, "queues = json.loads(fetch(", "queues = read(lambda: json.loads(fetch(")
    edit(folder).replace(CODE, ".source))", ".source)))")
    edit(folder).append(CODE, HIDING)
    report = examined(folder)
    assert report.passed
    assert verdicts(report)["errors"] == "warned"


HISTOGRAM = """
from prometheus_client import CollectorRegistry, Histogram, Info

REGISTRY = CollectorRegistry()
TIME = Histogram("job_seconds", "Time of jobs.", ["kind"], registry=REGISTRY, buckets=(1, 2))
TIME.labels("a").observe(1.5)
Info("job_build", "What runs.", registry=REGISTRY).info({"version": "1.2"})
"""
HISTOGRAM_YAML = """
integration: {name: queue-depth, kind: python, collector: queue_depth.py}
metrics:
  - {name: job_seconds, type: histogram, unit: seconds, help: Time of jobs., labels: {kind: }}
  - {name: job_build_info, type: info, help: What runs., labels: {version: }}
"""


def test_collectors_of_prometheus_client_keep_contracts(new_project: MakeProject, examined: Examined) -> None:
    folder = new_project()
    (folder / CODE).write_text(HISTOGRAM)
    (folder / "integration.yaml").write_text(HISTOGRAM_YAML)
    report = examined(folder, golden=True)
    assert report.passed, report.failures()
    assert verdicts(report)["errors"] == "skipped"
    assert (
        'job_seconds_bucket{kind="a", le="+Inf"} 1\njob_seconds_count'
        in (folder / "tests/golden/metrics.prom").read_text()
    )
    assert examined(folder).passed


@pytest.mark.parametrize(
    ("old", "new", "failing", "told"),
    [
        (
            "0.1.0",
            "0.2.0",
            "samples",
            'version of the document: got "0.2.0", wanted "0.1.0" (integration.yaml:',
        ),
        ('protocol_version\\":\\"3', 'protocol_version\\":\\"9', "collect", "protocol_version: got"),
        ("set -eu", "exit 3", "collect", "exit code: 3"),
        ("set -eu", "sleep 60", "collect", "took longer than its timeout of 0.3 s"),
        ("set -eu", "exit 0", "collect", "printed nothing"),
        ("#!/bin/sh", "#!/no/such/shell", "collect", "not started"),
        (
            '"items\\"',
            '"itms\\"',
            "metrics",
            'queue_depth_itms is not declared (did you mean "queue_depth_items"?)',
        ),
    ],
)
def test_executables_break_contracts_too(
    old: str, new: str, failing: str, told: str, new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project(Kind.EXEC)
    edit(folder).replace("queue-depth", old, new)
    if "sleep 60" in new:
        edit(folder).replace("integration.yaml", "timeout: 5s", "timeout: 300ms")
    report = examined(folder)
    assert any(line.startswith(f"{failing}: ") and told in line for line in report.failures()), (
        report.failures()
    )


def test_what_may_be_missing_may_be(new_project: MakeProject, examined: Examined, edit: Edit) -> None:
    folder = new_project()
    edit(folder).append(
        "integration.yaml",
        "  - {name: queue_depth_errors_total, type: counter, help: Errors., optional: true}\n",
    )
    edit(folder).replace("integration.yaml", "{help: Name of the queue.", "{optional: true, help: Name.")
    edit(folder).replace(CODE, '{"queue": name}', '{"queue": name} if name == "mail" else {}')
    report = examined(folder, golden=True)
    assert report.passed, report.failures()


def test_a_counter_that_falls_is_told(new_project: MakeProject, examined: Examined, edit: Edit) -> None:
    folder = new_project()
    edit(folder).append(CODE, "\n\nFELL = iter(range(100, 0, -1))\n")
    edit(folder).replace(CODE, 'queue["processed"]', "next(FELL)")
    report = examined(folder, "")
    assert any("a counter does not fall (declare it a gauge)" in line for line in report.failures())


def test_live_inputs_are_compared_with_nothing(
    new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).replace("sample.json", '"waiting": 3', '"waiting": 4')
    report = examined(folder, "")
    assert report.passed
    assert {name for name, verdict in verdicts(report).items() if verdict == "skipped"} == {"leaks", "golden"}


def test_settings_of_the_one_who_tests_change_nothing_and_secrets_are_not_told(
    new_project: MakeProject, examined: Examined, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = new_project()
    edit(folder).replace(
        "integration.yaml", "limits:", "  - {name: QUEUE_DEPTH_TOKEN, help: Token., secret: true}\n\nlimits:"
    )
    assert (
        "QUEUE_DEPTH_TOKEN has no default; an `example` is what tests use" in examined(folder).failures()[0]
    )
    edit(folder).replace("integration.yaml", "help: Token.", "help: Token., example: sesame")
    monkeypatch.setenv("QUEUE_DEPTH_SOURCE", "/no/such/file")
    monkeypatch.setenv("QUEUE_DEPTH_TOKEN", "open-sesame")
    edit(folder).replace(
        CODE, "    queues = json", '    assert os.environ["QUEUE_DEPTH_TOKEN"] == "sesame"\n    queues = json'
    )
    assert examined(folder).passed
    edit(folder).replace(
        CODE, 'assert os.environ["QUEUE_DEPTH_TOKEN"] ==', 'raise OSError(os.environ["QUEUE_DEPTH_TOKEN"]) #'
    )
    monkeypatch.setenv("QUEUE_DEPTH_TOKEN", "open-sesame")
    (finding,) = examined(folder, "").failures()
    assert "OSError: ***" in finding


def test_inputs_that_are_read_while_the_file_is_loaded_are_replayed(
    new_project: MakeProject, examined: Examined, edit: Edit
) -> None:
    folder = new_project()
    edit(folder).append(CODE, '\n\nfetch("version", "http://127.0.0.1:1/")\n')
    assert "load: queue_depth.py:" in examined(folder).failures()[0]
    (folder / "recordings" / "version").write_text("1")
    assert examined(folder).passed
    (folder / "recordings" / "old").write_text("1")
    report = examined(folder)
    assert verdicts(report)["inputs"] == "warned" and report.passed
    (told,) = (each.findings for each in report.checks if each.name == "inputs")
    assert told == ("recordings/old is read by nothing",)
