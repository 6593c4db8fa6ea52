"""What importing the SDK loads, and what using it loads."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    *(
        "numpy",
        "pyarrow",
        "pydantic",
        "aiohttp",
        "prometheus_client",
        "psutil",
        "opentelemetry",
        "yaml",
        "xxhash",
    ),
    *(
        "asyncio",
        "logging",
        "inspect",
        "dataclasses",
        "socket",
        "ssl",
        "http",
        "email",
        "json",
        "random",
        "pathlib",
    ),
)
USE = """
from metricsmith.sdk import *
c = Counter("c_total", "C.", ["a"]); c.labels("x").inc(); c.labels(a="y").inc(2)
h = Histogram("h", "H.")
with h.time(): pass
Gauge("g", "G.").set(1); Summary("s", "S.").observe(1)
Info("i", "I.").info({"v": "1"}); Enum("e", "E.", states=["a"])
assert b"h_count 1" in generate_latest(); assert expose(accept="application/openmetrics-text")
"""


def loaded(code: str) -> set[str]:
    show = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    out = subprocess.run([sys.executable, "-I", "-c", show], check=True, capture_output=True, text=True)
    return set(out.stdout.split())


def test_import_and_use_load_nothing_heavy() -> None:
    before = loaded("")
    for code in ("import metricsmith.sdk", USE):
        assert not (loaded(code) - before) & set(HEAVY)
