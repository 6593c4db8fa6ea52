"""The receiver of webhooks on docs/notifications.md takes an alert once, however often it is sent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

PAGE = (Path(__file__).parents[2] / "docs/notifications.md").read_text()
ALERT = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0].encode()
(PROGRAM,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_an_alert_is_printed_once() -> None:
    port = free_port()
    program = PROGRAM.replace("port=8081", f"port={port}, print=None")
    assert program != PROGRAM
    command = [sys.executable, "-uc", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as receiver:
        try:
            assert receiver.stdout is not None
            url = f"http://127.0.0.1:{port}/alerts"
            for key in ("a", "a", "b"):
                request = urllib.request.Request(url, ALERT, {"Idempotency-Key": key})
                assert eventually(lambda r=request: _posted(r))
            said = [receiver.stdout.readline(), receiver.stdout.readline()]
        finally:
            receiver.kill()
        alert = json.loads(ALERT)["alerts"][0]
        assert said == [f"firing {alert['name']} {alert['service']} {alert['message']}\n"] * 2
        assert receiver.stdout.read() == ""


def _posted(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
