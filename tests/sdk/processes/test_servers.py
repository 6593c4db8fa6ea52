"""Applications as users run them: uvicorn with workers, Celery's pool, gunicorn's master as collector."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from metricsmith.sdk.processes import Collector
from metricsmith.testing.programs import eventually
from metricsmith.testing.services import free_port

Value = Callable[..., float | None]
Environment = dict[str, str]

ASGI = """
from metricsmith.sdk import Counter, processes
ASKED = Counter("asked_total", "Requests.")

async def plain(scope, receive, send):
    assert scope["type"] == "http"
    ASKED.inc()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})

app = processes.asgi(plain)
"""
CELERY = """
from celery import Celery
from metricsmith.sdk import Counter, processes
processes.share(interval_s=60)
DONE = Counter("done_total", "Tasks.", ["kind"])
app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": FOLDER, "data_folder_out": FOLDER, "polling_interval": 0.05},
    task_ignore_result=True,
    worker_max_tasks_per_child=3,
)

@app.task
def take(kind):
    DONE.labels(kind).inc()
"""


@contextmanager
def running(
    arguments: list[str], folder: Path, environment: Environment
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that is ended in order."""
    quiet = {**environment, "HOME": str(folder), "PYTHONPATH": str(folder), "PYTHONWARNINGS": "default"}
    process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=folder, env=quiet)
    try:
        yield process
        process.terminate()
        process.wait(60)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body: bytes = answer.read()
            return body
    except OSError:
        return None


def test_uvicorn(collector: Collector, value: Value, environment: Environment, tmp_path: Path) -> None:
    """Its workers die by the signal that ended them; what they counted until then is there."""
    (tmp_path / "shop.py").write_text(ASGI)
    port = free_port()
    options = ["--workers", "2", "--port", str(port), "--log-level", "warning"]
    with running(["uvicorn", "shop:app", *options], tmp_path, environment):
        eventually(lambda: collector.connected == 2)
        before = 0
        while get(f"http://127.0.0.1:{port}/") is None:
            before += 1
        for _ in range(50):
            assert get(f"http://127.0.0.1:{port}/") is not None
    assert value("asked_total") == 51


def test_celery(collector: Collector, value: Value, environment: Environment, tmp_path: Path) -> None:
    """Children of the pool end after three tasks each, and others come."""
    folder = tmp_path / "queue"
    folder.mkdir()
    (tmp_path / "shop.py").write_text(f"FOLDER = {json.dumps(str(folder))}\n{CELERY}")
    sender = "import shop\nfor n in range(20): shop.take.delay('even' if n % 2 == 0 else 'odd')"
    worker = ["celery", "-A", "shop", "worker", "--pool", "prefork", "-c", "2", "-l", "error"]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    with running([*worker, *alone], tmp_path, environment):
        done = subprocess.run(
            [sys.executable, "-c", sender],
            cwd=tmp_path,
            env=environment | {"PYTHONWARNINGS": "default"},
            check=False,
        )
        assert done.returncode == 0
        eventually(lambda: not list(folder.iterdir()))
    assert (value("done_total", kind="even"), value("done_total", kind="odd")) == (10, 10)


def test_the_master_of_gunicorn_collects(address: str, environment: Environment) -> None:
    """The page is served without an agent, over a reload; nothing is left when all ends."""
    example = Path(__file__).parents[3] / "examples" / "gunicorn"
    port, page = free_port(), free_port()
    more = {"METRICSMITH_PROMETHEUS_PORT": str(page), "METRICSMITH_STATUS_PAGE_ENABLED": "no"}
    options = ["-c", "gunicorn.conf.py", "-b", f"127.0.0.1:{port}", "--log-level", "warning"]

    def shown(line: str) -> bool:
        return line.encode() in (get(f"http://127.0.0.1:{page}/metrics") or b"")

    with running(["gunicorn", *options, "app:app"], example, environment | more) as gunicorn:
        eventually(lambda: shown("metricsmith_collector_processes 4.0"))
        old = {get(f"http://127.0.0.1:{port}/") for _ in range(20)}
        gunicorn.send_signal(signal.SIGHUP)
        eventually(lambda: get(f"http://127.0.0.1:{port}/?sure") not in old)
        eventually(lambda: shown('shop_orders_total{payment="card"} ') and shown("processes 4.0"))
    assert not Path(address).exists()
