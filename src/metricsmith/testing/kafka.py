"""A real Apache Kafka on loopback: one broker or several, each killed and restarted on its own.

Every broker is also a controller (KRaft), so nothing else runs beside it. The jars come from
`tools/setup.sh`; `KAFKA_HOME` names another installation.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from metricsmith.testing.certificates import Certificates
from metricsmith.testing.services import SERVICES, ServiceMissing, free_port

Protocol = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
PLAIN: tuple[Protocol, ...] = ("PLAINTEXT",)
ALL: tuple[Protocol, ...] = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
USER, PASSWORD = "metricsmith", "metricsmith-secret"
OLDEST_JAVA = 17
API_VERSIONS = 18
START_LIMIT_S = 60.0
STOP_LIMIT_S = 30.0

# A broker lives for seconds and serves one machine: quick to start, small, and quick to see a death.
# `-Xlog:disable`: a class archive of another Java is passed over without a word.
JVM = ("-Xlog:disable", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")
SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "num.partitions": "1",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "offsets.topic.num.partitions": "6",
    "transaction.state.log.num.partitions": "3",
    "share.coordinator.state.topic.num.partitions": "3",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.dedupe.buffer.size": str(4 << 20),
    "log.cleaner.backoff.ms": "200",
    "log.initial.task.delay.ms": "100",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "100",
    "broker.heartbeat.interval.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1500",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.election.backoff.max.ms": "300",
    "controlled.shutdown.enable": "true",
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
}


def kcat() -> list[str]:
    """Return the start of a kcat command line: the unpacked one needs the libraries unpacked beside it.

    Raises:
        ServiceMissing: neither unpacked by the set-up nor on the PATH.
    """
    unpacked = SERVICES / "kcat"
    if unpacked.exists():
        libraries = sorted(SERVICES.parent.glob("lib/*-linux-gnu"))
        return ["env", f"LD_LIBRARY_PATH={':'.join(map(str, libraries))}", str(unpacked)]
    found = shutil.which("kcat")
    if found is None:
        raise ServiceMissing("kcat is not here; run `make services`")
    return [found]


@cache
def java() -> Path:
    """Return the path of a Java that Kafka can run on.

    Raises:
        ServiceMissing: there is none, or it is too old.
    """
    on_path = shutil.which("java")
    for candidate in (*SERVICES.parent.glob("lib/jvm/*/bin/java"), *([Path(on_path)] if on_path else [])):
        told = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False).stderr
        major = told.partition('version "')[2].partition(".")[0].strip('"')
        if major.isdigit() and int(major) >= OLDEST_JAVA:
            return candidate
    raise ServiceMissing(f"Kafka needs Java {OLDEST_JAVA} or newer, which is not here; run `make services`")


@cache
def jars(home: Path | None = None) -> Path:
    """Return the folder of Kafka's jars: of an installation, by default that which `KAFKA_HOME` names.

    Raises:
        ServiceMissing: neither there nor fetched by the set-up.
    """
    named = home or os.environ.get("KAFKA_HOME")
    folder = Path(named) / "libs" if named else SERVICES.parents[2] / "kafka" / "libs"
    if not any(folder.glob("kafka_2.1*.jar")):
        raise ServiceMissing(f"Kafka's jars are not in {folder}; run `make services`, or set KAFKA_HOME")
    return folder


@dataclass
class Broker:
    """One broker; its ports and data stay the same when it is restarted."""

    node_id: int
    folder: Path
    libs: Path
    ports: Mapping[str, int]
    heap: str
    flags: tuple[str, ...] = ()
    apart: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id.

        Raises:
            RuntimeError: the broker is not running.
        """
        if self.process is None:
            raise RuntimeError(f"broker {self.node_id} is not running")
        return self.process.pid

    @property
    def config_file(self) -> Path:
        """Its server.properties."""
        return self.folder / "server.properties"

    @property
    def log(self) -> Path:
        """What it printed, warnings and worse, over all its lives."""
        return self.folder / "broker.log"

    def launch(self, main: str, *arguments: str, flags: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """Start one of Kafka's programs for this broker; its output goes to the log."""
        with self.log.open("ab") as out:
            return subprocess.Popen(
                [
                    java(),
                    f"-Xmx{self.heap}",
                    *JVM,
                    *flags,
                    f"-Djava.io.tmpdir={self.folder}",
                    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
                    "-Dorg.slf4j.simpleLogger.showDateTime=true",
                    "-cp",
                    f"{self.libs}/*",
                    main,
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=self.apart,
            )

    def start(self) -> None:
        """Start the broker and wait until it serves clients."""
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Start the broker without waiting: brokers that make up a quorum need one another."""
        self.process = self.launch("kafka.Kafka", str(self.config_file), flags=self.flags)

    def wait_until_ready(self) -> None:
        """Return when the broker answers a request, which it does once the cluster counts the broker in.

        Raises:
            RuntimeError: it died, or did not answer in time; with the end of its log.
        """
        if not _answers(self, time.monotonic() + START_LIMIT_S):
            raise RuntimeError(f"broker {self.node_id} did not become ready; its log ends: {self.log_tail()}")

    def log_tail(self, limit: int = 1500) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-limit:] if self.log.exists() else "(no log)"

    def kill(self) -> None:
        """Kill the broker as a crash would; nobody is told."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the broker in good order: it hands its leaderships over first."""
        self._end(signal.SIGTERM)

    def _end(self, by: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(by)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster."""

    brokers: tuple[Broker, ...]
    certificates: Certificates | None = field(default=None)

    def bootstrap(self, protocol: Protocol = "PLAINTEXT") -> str:
        """Return the bootstrap servers of one kind of listener."""
        return ",".join(f"127.0.0.1:{broker.ports[protocol]}" for broker in self.brokers)

    def broker(self, node_id: int) -> Broker:
        """Return the broker with this id; ids start at 1."""
        return self.brokers[node_id - 1]


@contextmanager
def cluster(
    folder: Path,
    brokers: int = 1,
    protocols: tuple[Protocol, ...] = PLAIN,
    settings: Mapping[str, str] | None = None,
    heap: str = "256m",
    flags: tuple[str, ...] | None = None,
    home: Path | None = None,
    apart: bool = False,
) -> Iterator[Cluster]:
    """Run a cluster until the block ends.

    `protocols` names the listeners beside PLAINTEXT. SASL listeners take `USER` with `PASSWORD` by PLAIN and
    SCRAM, and any unsecured token by OAUTHBEARER; TLS listeners ask for a client certificate without
    insisting. `settings` are laid over the brokers' own; `flags` are for the JVM; `home` is an installation
    of Kafka, as in `jars`. Brokers that are `apart` are not told of Ctrl-C at the terminal; the caller ends
    them, come what may.

    Raises:
        ServiceMissing: no Java, no jars, or no openssl for TLS listeners.
        RuntimeError: a broker did not start; with the end of its log.
    """
    java()
    libs = jars(home)
    folder.mkdir(parents=True, exist_ok=True)
    names = tuple(dict.fromkeys((*PLAIN, *protocols)))
    certificates = (
        Certificates.make(folder / "certificates") if any("SSL" in name for name in names) else None
    )
    if flags is None:
        archive = _archive(libs)
        flags = (f"-XX:SharedArchiveFile={archive}",) if archive.exists() else ()
    ports = iter(_free_ports(brokers * (len(names) + 1)))
    nodes = tuple(
        Broker(
            node_id,
            folder / f"broker-{node_id}",
            libs,
            {name: next(ports) for name in ("CONTROLLER", *names)},
            heap,
            flags,
            apart,
        )
        for node_id in range(1, brokers + 1)
    )
    for node in nodes:
        node.folder.mkdir()
        properties = _properties(node, nodes, names, certificates) | dict(settings or {})
        node.config_file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    with ExitStack() as stack:
        for node in nodes:
            stack.callback(node.kill)
        _format(nodes)
        for node in nodes:
            node.begin()
        for node in nodes:
            node.wait_until_ready()
        yield Cluster(nodes, certificates)


def archive_classes(folder: Path) -> None:
    """Keep beside the jars what the JVM makes of Kafka's classes: brokers start in half the time."""
    archive = _archive(jars())
    archive.unlink(missing_ok=True)
    with cluster(folder, flags=(f"-XX:ArchiveClassesAtExit={archive}",)) as made:
        made.brokers[0].stop()


def _archive(libs: Path) -> Path:
    return libs.parent / "classes.jsa"


def _properties(
    node: Broker, nodes: tuple[Broker, ...], names: tuple[Protocol, ...], certificates: Certificates | None
) -> dict[str, str]:
    copies = str(min(3, len(nodes)))
    in_sync = str(min(2, len(nodes)))
    addresses = {name: f"{name}://127.0.0.1:{port}" for name, port in node.ports.items()}
    properties = SETTINGS | {
        # Of one broker nobody takes over: that it was stopped or got no CPU for a while is no death.
        "broker.session.timeout.ms": "60000" if len(nodes) == 1 else "3000",
        "node.id": str(node.node_id),
        "controller.quorum.voters": ",".join(f"{n.node_id}@127.0.0.1:{n.ports['CONTROLLER']}" for n in nodes),
        "listeners": ",".join(addresses.values()),
        "advertised.listeners": ",".join(addresses[name] for name in names),
        "listener.security.protocol.map": ",".join(
            ["CONTROLLER:PLAINTEXT", *(f"{name}:{name}" for name in names)]
        ),
        "log.dirs": str(node.folder / "data"),
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        "default.replication.factor": copies,
    }
    if certificates is not None:
        properties |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(certificates.server_pem),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(certificates.authority),
            "ssl.client.auth": "requested",
        }
    for name in names:
        if name.startswith("SASL"):
            properties |= _logins(f"listener.name.{name.lower()}")
    return properties


def _logins(listener: str) -> dict[str, str]:
    modules = {
        "plain": f'plain.PlainLoginModule required user_{USER}="{PASSWORD}"',
        "scram-sha-256": "scram.ScramLoginModule required",
        "scram-sha-512": "scram.ScramLoginModule required",
        "oauthbearer": f'oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="{USER}"',
    }
    return {
        f"{listener}.{mechanism}.sasl.jaas.config": f"org.apache.kafka.common.security.{module};"
        for mechanism, module in modules.items()
    }


def _format(nodes: tuple[Broker, ...]) -> None:
    cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    scram = [
        argument
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for argument in ("--add-scram", f"{mechanism}=[name={USER},password={PASSWORD}]")
    ]
    running = [
        node.launch(
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={cluster_id}",  # as one word: an id may begin with -
            "--config",
            str(node.config_file),
            *scram,
        )
        for node in nodes
    ]
    for node, process in zip(nodes, running, strict=True):
        if process.wait(START_LIMIT_S) != 0:
            raise RuntimeError(f"the storage of broker {node.node_id} was not formatted: {node.log_tail()}")


def _free_ports(count: int) -> set[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return ports


def _answers(broker: Broker, deadline: float) -> bool:
    # A foreign program tells nobody when it listens, so the port is tried. The answer is waited for: a broker
    # takes connections early and answers when the controllers have counted it in.
    request = struct.pack(">ihhih", 10, API_VERSIONS, 0, 1, -1)
    while time.monotonic() < deadline and broker.process is not None and broker.process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", broker.ports["PLAINTEXT"]), timeout=1) as connection:
                connection.settimeout(max(0.1, deadline - time.monotonic()))
                connection.sendall(request)
                if connection.recv(4):
                    return True
        except OSError:
            time.sleep(0.02)
    return False
