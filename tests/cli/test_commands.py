"""Commands answer in one clear line, with the documented exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metricsmith.cli.client import http_address
from metricsmith.testing.services import free_port


def test_run_says_where_its_file_goes(here: Any) -> None:
    done = here("run", "m.yaml")
    assert done.returncode == 2
    assert "metricsmith run -c m.yaml" in " ".join(done.stderr.replace("│", " ").split())


def test_version_and_help_name_the_exit_codes(metricsmith: Any) -> None:
    shown = {metricsmith(how).stdout for how in ("version", "--version", "-V")}
    assert len(shown) == 1
    assert shown.pop().startswith("metricsmith 0.")
    shown = metricsmith("--help").stdout
    assert "Exit codes: 0 done" in shown
    assert "--install-completion" in shown


def test_help_names_limits_and_examples(here: Any) -> None:
    load = here("loadgen", "--help").stdout
    for limit in ("5000", "64", "10 seconds"):
        assert limit in load
    assert "metricsmith query up" in here("query", "--help").stdout


@pytest.mark.parametrize("command", ["run", "check-config", "collect", "ohi", "rules check"])
def test_help_has_examples_of_the_command(here: Any, command: str) -> None:
    shown = " ".join(here(*command.split(), "--help").stdout.split())
    _, _, examples = shown.partition("Examples:")
    assert examples.count(f"metricsmith {command}") == 2


@pytest.mark.parametrize(
    ("module", "told", "is_defect"),
    [
        ("kafka", "error: the kafka source needs kafka-python 3, which is not installed", False),
        ("metricsmith.demo.kafka_report", "Traceback (most recent call last)", True),
    ],
)
def test_a_missing_extra_is_one_clear_line_and_a_defect_looks_like_one(
    module: str, told: str, is_defect: bool
) -> None:
    text = f"import sys; sys.modules[{module!r}] = None; sys.argv = ['metricsmith', 'kafka', 'demo']"
    program = f"{text}; from metricsmith.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(told)
    assert ("Traceback" in done.stderr) is is_defect


def test_check_config_prints_every_mistake_and_exits_3(metricsmith: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("servr: {}\nservice: {interval: 15}\n")
    done = metricsmith("check-config", str(bad))
    assert done.returncode == 3
    assert done.stderr.splitlines() == [
        f'error: {bad}:1: servr: unknown key (did you mean "server"?)',
        f"error: {bad}:2: service.interval: got 15, wanted a duration with its unit, such as 15s",
    ]


@pytest.mark.parametrize(("targets", "counts"), [(0, "0 sources"), (1, "1 source"), (2, "2 sources")])
def test_check_config_counts_in_words(here: Any, tmp_path: Path, targets: int, counts: str) -> None:
    good = tmp_path / "good.yaml"
    sources = [
        f'{{type: scrape, name: s{number}, targets: ["http://127.0.0.1:3000/metrics"]}}'
        for number in range(targets)
    ]
    good.write_text(f"service: {{interval: 15s}}\nsources: [{', '.join(sources)}]\n")
    done = here("check-config", str(good))
    assert done.stdout.strip().endswith(f"ok (standalone; storage embedded; {counts}, 0 processors, 0 sinks)")


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "up", "--start", "soon"),
        ("query", "up", "--start", "0", "--step", "x"),
        ("query", "up", "--start", "0", "--step", "0"),
        ("query", "up", "--step", "5s"),
        ("query", "up", "--url", "ftp://127.0.0.1"),
        ("query", "up", "--url", "http://127.0.0.1:port"),
        ("loadgen", "x", "--for", "y"),
        ("loadgen", "x", "--for", "0s"),
        ("loadgen", "x", "--rate", "0"),
        ("loadgen", "http://", "--for", "1s"),
        ("demo", "--for", "0s"),
    ],
)
def test_wrong_usage_exits_2_without_traceback(here: Any, arguments: tuple[str, ...]) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "wanted" in done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("localhost", "http://localhost:9480"),
        ("[::1]", "http://[::1]:9480"),
        ("agent:/metrics", "http://agent:9480/metrics"),
        ("http://localhost", "http://localhost"),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:3000"),
        ("https://metrics.example/agent", "https://metrics.example/agent"),
        ("[::1]:9480", "http://[::1]:9480"),
    ],
)
def test_addresses_need_no_scheme(given: str, wanted: str) -> None:
    assert http_address(given) == wanted


def test_a_bare_host_is_at_the_port_of_the_program_that_is_asked() -> None:
    assert http_address("shop", 3000) == "http://shop:3000"


def test_loadgen_without_a_shop_is_one_clear_line(metricsmith: Any) -> None:
    done = metricsmith("loadgen", "127.0.0.1:1", "--for", "100ms")
    assert done.returncode == 1
    assert "nobody answers at http://127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_demo_in_a_folder_that_cannot_be_is_one_clear_line(metricsmith: Any, tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    done = metricsmith("demo", "--for", "1s", "--port", str(free_port()), "--data", str(in_the_way / "x"))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --data: cannot make the folder {in_the_way}")
    assert done.stderr.count("\n") == 1
