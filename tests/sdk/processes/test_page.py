"""What docs/sdk-processes.md shows is run, in the servers that it is for."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

DOCS = Path(__file__).parents[3] / "docs"
BLOCKS = re.findall(r"```python\n(.*?)```", (DOCS / "sdk-processes.md").read_text(), re.DOTALL)
SHARE, IN_GUNICORN, WITH_UVICORN, IN_CELERY, ORDER = BLOCKS
ASGI = """
async def plain(scope, receive, send):
    if scope["type"] == "http":
        ORDERS.labels("card").inc()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

app = processes.asgi(plain)
"""
CELERY = """
import celery
import celery.signals
ORDERS.labels("card").inc(0)
app = celery.Celery("shop", broker="memory://")
"""
WSGI = """
def app(environ, start_response):
    start_response("200 OK", [])
    return [order(environ).encode()]
"""


@pytest.mark.parametrize(("there", "said"), [(True, "200 OK"), (False, "503 Service Unavailable")])
def test_what_is_answered_is_counted(
    there: bool, said: str, run: Callable[[str], str], request: pytest.FixtureRequest
) -> None:
    value = request.getfixturevalue("value") if there else None
    assert run(SHARE + ORDER + "\nprint(order(None))") == f"{said}\n"
    assert value is None or value("shop_orders_total", payment="card") == 1


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn", "celery"])
def test_a_parent_shows_what_its_workers_count(
    server: str, environment: dict[str, str], tmp_path: Path
) -> None:
    port, page = free_port(), free_port()
    with_port = WITH_UVICORN.replace("workers=4", f'workers=4, port={port}, log_level="warning"')
    program, command = {
        "gunicorn": (ORDER + WSGI, f"-m gunicorn -b 127.0.0.1:{port} -w 4 --log-level warning shop:app"),
        "uvicorn": (ASGI, "serve.py"),
        "celery": (CELERY + IN_CELERY, "-m celery -A shop worker -c 2 -l error --without-gossip"),
    }[server]
    (tmp_path / "shop.py").write_text(SHARE + program)
    (tmp_path / "serve.py").write_text(with_port)
    (tmp_path / "gunicorn.conf.py").write_text("from metricsmith.sdk import processes\n" + IN_GUNICORN)
    more = {"METRICSMITH_PROMETHEUS_PORT": str(page), "METRICSMITH_STATUS_PAGE_ENABLED": "no"}
    own = {"HOME": str(tmp_path), "PYTHONPATH": str(tmp_path), "PYTHONWARNINGS": "default"}
    process = subprocess.Popen([sys.executable, *command.split()], cwd=tmp_path, env=environment | more | own)

    def shown() -> bool:
        if server != "celery":
            _get(f"http://127.0.0.1:{port}/")
        return 'shop_orders_total{payment="card"} ' in _get(f"http://127.0.0.1:{page}/metrics")

    try:
        eventually(shown)
    finally:
        process.terminate()
        process.wait(60)


def _get(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""
