"""Real servers for tests and benchmarks: unpacked by `tools/setup.sh`, started on free loopback ports.

Each runs with its data under a folder of the caller and is stopped by its own process id.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SERVICES = Path(__file__).parents[3] / ".services" / "root" / "usr" / "bin"
START_LIMIT_S = 60.0
LISTENING_PORTS = range(10_000, 32_000)


class ServiceMissing(Exception):
    """The server's program is not on this machine; `make setup` fetches it."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid


def program(name: str) -> Path:
    """Return the path of a server's program.

    Raises:
        ServiceMissing: neither unpacked by the set-up nor on the PATH.
    """
    unpacked = SERVICES / name
    if unpacked.exists():
        return unpacked
    found = shutil.which(name)
    if found is None:
        raise ServiceMissing(f"{name} is not here; run `make setup`")
    return Path(found)


def free_port() -> int:
    """Return a loopback port that is free, and that nobody else is given while this process lives.

    It is none of those that systems give to outgoing connections, so that none of these takes it until
    the server listens.
    """
    while True:
        port = secrets.choice(LISTENING_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _claim(port)
            return port


def _claim(port: int) -> None:
    """Keep a TCP port from tests that run side by side, by its number of UDP, until this process ends.

    Raises:
        OSError: somebody has it.
    """
    with socket.socket(type=socket.SOCK_DGRAM) as claim:
        claim.bind(("127.0.0.1", port))
        claim.detach()


@contextmanager
def running(
    command: Sequence[str | Path], url: str, ready: str, log: Path, cwd: Path | None = None
) -> Iterator[Server]:
    """Run a server until the block ends; enter it when `url + ready` answers 200."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | {"GOGC": "100"},
            cwd=cwd,
        )
    try:
        _wait_until_ready(process, url + ready, log)
        yield Server(url, process, log)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    # A foreign program tells nobody when it is ready, so its readiness page is asked.
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"{url} did not become ready; its log ends: {log.read_text(errors='replace')[-800:]}")


@contextmanager
def prometheus(
    folder: Path, config: str = "", *flags: str, port: int | None = None, receiver: bool = True
) -> Iterator[Server]:
    """Run Debian's Prometheus, by default with the remote-write receiver on; `config` is its YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "prometheus.yml"
    settings.write_text(config or "scrape_configs: []\n")
    port = port or free_port()
    command: list[str | Path] = [
        program("prometheus"),
        f"--config.file={settings}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(["--web.enable-remote-write-receiver"] if receiver else []),
        "--web.enable-lifecycle",
        *flags,
    ]
    with running(command, f"http://127.0.0.1:{port}", "/-/ready", folder / "prometheus.log") as server:
        yield server


@contextmanager
def victoria_metrics(folder: Path, *flags: str) -> Iterator[Server]:
    """Run Debian's VictoriaMetrics."""
    port = free_port()
    command: list[str | Path] = [
        program("victoria-metrics"),
        f"-storageDataPath={folder / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        *flags,
    ]
    with running(command, f"http://127.0.0.1:{port}", "/health", folder / "victoria-metrics.log") as server:
        yield server


@contextmanager
def vmagent(folder: Path, destination: str, config: str = "", *flags: str) -> Iterator[Server]:
    """Run Debian's vmagent, which sends to a remote-write URL; `config` is what it scrapes, as YAML."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "scrape.yml"
    settings.write_text(config or "scrape_configs: []\n")
    port = free_port()
    command: list[str | Path] = [
        program("vmagent"),
        f"-promscrape.config={settings}",
        f"-remoteWrite.url={destination}",
        f"-remoteWrite.tmpDataPath={folder / 'queue'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        *flags,
    ]
    with running(command, f"http://127.0.0.1:{port}", "/health", folder / "vmagent.log") as server:
        yield server


@contextmanager
def node_exporter(folder: Path, *flags: str) -> Iterator[Server]:
    """Run Debian's node exporter."""
    port = free_port()
    address = f"--web.listen-address=127.0.0.1:{port}"
    command: list[str | Path] = [program("prometheus-node-exporter"), address, *flags]
    with running(command, f"http://127.0.0.1:{port}", "/", folder / "node-exporter.log") as server:
        yield server


@contextmanager
def alertmanager(folder: Path, *flags: str, port: int | None = None) -> Iterator[Server]:
    """Run Debian's Alertmanager, without a cluster and with a receiver that does nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "alertmanager.yml"
    settings.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = port or free_port()
    command: list[str | Path] = [
        program("prometheus-alertmanager"),
        f"--config.file={settings.absolute()}",
        f"--storage.path={folder.absolute() / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        *flags,
    ]
    templates = SERVICES.parent / "share" / "prometheus" / "alertmanager"  # the set-up made it look there
    cwd = templates if templates.exists() else None
    log = folder / "alertmanager.log"
    with running(command, f"http://127.0.0.1:{port}", "/-/ready", log, cwd) as server:
        yield server


INFLUXDB_CONFIG = """\
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  max-values-per-tag = 0
  max-series-per-database = 0
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[monitor]
  store-enabled = false
"""


@contextmanager
def influxdb(folder: Path, port: int | None = None) -> Iterator[Server]:
    """Run Debian's InfluxDB 1.6, which reports nothing to its makers."""
    folder.mkdir(parents=True, exist_ok=True)
    port, settings = port or free_port(), folder / "influxdb.conf"
    settings.write_text(INFLUXDB_CONFIG.format(folder=folder.absolute(), port=port, rpc=free_port()))
    command: list[str | Path] = [program("influxd"), "-config", settings]
    # Its ping answers 204; this 200, without a password.
    url, ready = f"http://127.0.0.1:{port}", "/debug/vars"
    with running(command, url, ready, folder / "influxdb.log") as server:
        yield server
