"""`check-config` tells what is noted beside what is wrong; `run` refuses what it cannot do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def metricsmith(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "metricsmith", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_storage_that_cannot_be_run_yet_is_noted_by_check_and_refused_by_run(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(f"server: {{listen: '127.0.0.1:0'}}\nstorage:\n  path: {tmp_path}\n  type: influxdb\n")
    checked = metricsmith("check-config", str(file))
    assert (checked.returncode, checked.stdout) == (
        0,
        f"{file}: ok (standalone; storage influxdb; 0 sources, 0 processors, 0 sinks)\n",
    )
    assert checked.stderr == f'note: {file}:4: storage.type: "influxdb" cannot be run by this version yet\n'
    ran = metricsmith("run", "-c", str(file))
    assert (ran.returncode, ran.stderr) == (
        3,
        f'error: {file}:4: storage.type: "influxdb" cannot be used by this version, wanted embedded\n',
    )
