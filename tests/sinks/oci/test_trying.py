"""`metricsmith sink test oci` says what is wrong, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metricsmith.testing.oci_server import Fault, OciServer
from metricsmith.testing.oci_signature import ApiKey
from metricsmith.testing.programs import AgentProgram
from metricsmith.testing.services import free_port
from metricsmith.testing.terminal import Terminal

COMPARTMENT = "ocid1.compartment.oc1..example"
NOWHERE = "https://telemetry-ingestion.eu-franfurt-1.invalid"


@pytest.fixture
def agent(oci: OciServer, tmp_path: Path) -> Iterator[AgentProgram]:
    """An agent with a sink for each way to be wrong about the service's address, and a right one."""
    sink = {"type": "oci", "namespace": "shop", "compartment_id": COMPARTMENT, "timeout": "60s"}
    sink["config_file"] = str(oci.key.write_config(tmp_path))
    sinks = [
        {**sink, "name": "oci", "endpoint": oci.url},
        {**sink, "name": "hasty", "endpoint": oci.url, "timeout": "500ms"},
        {**sink, "name": "nobody", "endpoint": f"http://127.0.0.1:{free_port()}"},
        {**sink, "name": "unknown", "endpoint": NOWHERE},
        {**sink, "name": "machine", "endpoint": oci.url, "auth": "instance_principal"},
    ]
    head = "server: {{listen: '127.0.0.1:{port}'}}\nstorage: {{path: '{data}'}}\nsinks: "
    text = head + json.dumps(sinks).replace("{", "{{").replace("}", "}}")
    environment = {"OCI_METADATA_BASE_URL": f"http://127.0.0.1:{free_port()}"}
    program = AgentProgram(tmp_path, text, environment=environment)
    program.start()
    yield program
    assert program.stop() == 0


@pytest.fixture
def tried(agent: AgentProgram, tmp_path: Path) -> Callable[..., str]:
    """Try a sink; return what is told of one that does not take it."""

    terminal = Terminal(tmp_path, {}, agent.url)

    def run(name: str = "oci") -> str:
        code, said = terminal.run(f"metricsmith sink test {name}")
        assert said.startswith(f"{name}: {'not taken: ' if code else 'taken in '}"), said
        assert code in (0, 1) and "Traceback" not in said
        return said.strip() if code else ""

    return run


def test_what_is_wrong_is_told_and_mended_while_it_runs(
    oci: OciServer, tried: Callable[..., str], tmp_path: Path
) -> None:
    assert tried() == ""
    assert [p.name for p in oci.points] == ["metricsmith_sink_test"]

    ApiKey.make("mallory").write_config(tmp_path)
    oci.fault = lambda _: Fault(401, "NotAuthenticated", "no such key")
    assert "401 NotAuthenticated: no such key (check user, fingerprint and key_file" in tried()
    (tmp_path / "DEFAULT.pem").unlink()
    assert f"no credentials from {tmp_path}/config, profile DEFAULT: " in tried()
    oci.key.write_config(tmp_path)

    oci.fault = lambda _: Fault(404, "NotAuthorizedOrNotFound", "Authorization failed or not found.")
    assert "404 NotAuthorizedOrNotFound" in tried()
    assert "check compartment_id, the region, and the policy: Allow group" in tried()
    oci.fault = lambda _: None

    oci.ahead_s = -720
    assert "this machine's clock is 12 minutes ahead of the service's, which takes at most 5" in tried()
    oci.ahead_s = 0
    assert tried() == ""

    oci.fault = lambda _: Fault(200, wait=1)
    assert "no answer in time from 127.0.0.1" in tried("hasty")
    oci.fault = lambda _: None

    oci.refuse = lambda metric: "Invalid value for namespace"
    assert tried() == "oci: not taken: 400 InvalidParameter: Invalid value for namespace"

    assert "failed: Connection refused" in tried("nobody")
    assert "the name telemetry-ingestion.eu-franfurt-1.invalid is not known (check the region" in (
        tried("unknown")
    )
    assert "it works on a compute instance of OCI only" in tried("machine")
