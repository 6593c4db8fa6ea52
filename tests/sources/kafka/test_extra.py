"""Without the extra, the configuration says what to install."""

from __future__ import annotations

import subprocess
import sys


def test_a_missing_client_is_named() -> None:
    code = """
import sys
sys.modules["kafka"] = None
from metricsmith.config.load import load_text
from metricsmith.errors import ConfigError
try:
    load_text("sources:\\n  - type: kafka\\n", "m.yaml", {})
except ConfigError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.startswith("m.yaml:2: sources[0].type: got ")
    assert "pip install 'metricsmith[kafka]'" in told
