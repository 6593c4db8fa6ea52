"""`metricsmith oci demo` ships what the example ships, and shows it.

Commands and outputs of docs/oci.md are of what is tested here.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from metricsmith.demo.oci_run import CONFIG
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[2] / "docs"

EXAMPLE = Path(__file__).parents[2] / "examples" / "oci.yaml"
OTHERS = {"config_file", "endpoint", "flush_interval"}


def _sink(text: str) -> dict[str, Any]:
    (sink,) = yaml.safe_load(text)["sinks"]
    return {key: value for key, value in sink.items() if key not in OTHERS}


def _demo(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "metricsmith", "oci", "demo", "--port", str(free_port()), *options]
    environment = os.environ | {"COLUMNS": "80", "TMPDIR": str(folder)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def test_its_sink_is_that_of_the_example() -> None:
    made = CONFIG.format(port=1, data="d", shop="http://s", key="k", oci="http://o")
    assert _sink(made) == _sink(EXAMPLE.read_text())


def test_it_ends_by_itself_with_what_came(tmp_path: Path) -> None:
    with _demo(tmp_path, "--for", "3s") as process:
        text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    (said,) = re.findall(r"^([\d,]+) points in (\d+) calls of at most 50 streams, 0 refused$", text, re.M)
    assert int(said[0].replace(",", "")) > 100
    assert alike(shown_on(DOCS / "oci.md", "metricsmith oci demo"), text)
    rows = {
        line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith(("http", "order"))
    }
    assert float(rows["orders_created_total"][2]) >= float(rows["orders_success_total"][2]) > 0
    assert 0 < float(rows["http_request_duration_seconds_avg"][2]) < 10
    assert int(rows["http_requests_total"][0]) > 8, "streams, one for each label set"
    assert list(tmp_path.iterdir()) == [], "its temporary data is gone"


def test_a_signal_ends_it_in_order(tmp_path: Path) -> None:
    with _demo(tmp_path) as process:
        assert process.stdout is not None
        eventually(lambda: "Ctrl-C" in str(process.stdout and process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    assert "Traceback" not in text
    assert list(tmp_path.iterdir()) == []
