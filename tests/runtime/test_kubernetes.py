"""An agent scrapes the pods of a cluster: real endpoints on loopback addresses, announced by a local API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metricsmith.testing.certificates import Certificates
from metricsmith.testing.kubernetes_pods import pod
from metricsmith.testing.kubernetes_server import KubernetesServer, Refusal, running_kubernetes
from metricsmith.testing.programs import AgentProgram, eventually
from metricsmith.testing.targets import Target, running_target

Make = Callable[..., AgentProgram]
SOURCE = """
sources:
- type: scrape
  name: pods
  interval: 200ms
  kubernetes_sd: {{kubeconfig_file: CONFIG}}
  relabel_configs: [{{source_labels: [__meta_kubernetes_pod_label_app], target_label: app}}]
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[KubernetesServer, str]]:
    """An API that lets in who has our client certificate, and an agent's source for it."""
    certificates = Certificates.make(tmp_path / "tls")
    with running_kubernetes(certificates) as api:
        api.refuse = lambda request: None if request.client else Refusal(401, "Unauthorized", "who?")
        cluster = {"server": api.url, "certificate-authority": str(certificates.authority)}
        user = {"client-certificate": str(certificates.client), "client-key": str(certificates.client_key)}
        config = tmp_path / "kubeconfig"
        document = {
            "current-context": "main",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "main", "context": {"cluster": "c", "user": "u"}}],
        }
        config.write_text(json.dumps(document))  # JSON is YAML
        yield api, SOURCE.replace("CONFIG", str(config))


@pytest.fixture
def endpoints() -> Iterator[list[Target]]:
    """Two services at addresses of their own."""
    with (
        running_target("jobs 1\n", host="127.0.0.2") as one,
        running_target("jobs 2\n", host="127.0.0.3") as two,
    ):
        yield [one, two]


def announced(name: str, target: Target, **more: Any) -> dict[str, Any]:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": str(target.port)}
    return pod(name, target.host, namespace="shop", annotations=annotations, labels={"app": "jobs"}, **more)


def test_pods_are_scraped_while_they_are_there(
    agent_program: Make, cluster: tuple[KubernetesServer, str], endpoints: list[Target]
) -> None:
    api, source = cluster
    one, two = endpoints
    api.put(announced("jobs-1", one))
    api.put(pod("quiet", "127.0.0.9", namespace="shop"))
    agent = agent_program(source)
    agent.start()
    eventually(lambda: agent.query('jobs{pod="jobs-1"}'))
    (found,) = agent.query("jobs")
    assert found["metric"] == {
        "__name__": "jobs",
        "app": "jobs",
        "container": "app",
        "instance": f"127.0.0.2:{one.port}",
        "job": "pods",
        "namespace": "shop",
        "pod": "jobs-1",
    }
    targets = agent.get("/api/v1/targets")["data"]
    (active,), (dropped,) = targets["activeTargets"], targets["droppedTargets"]
    assert active["discoveredLabels"]["__meta_kubernetes_pod_node_name"] == "node-1"
    assert active["scrapeUrl"] == one.url
    assert dropped["discoveredLabels"]["__meta_kubernetes_pod_name"] == "quiet"
    assert dropped["discoveredLabels"]["__address__"] == "127.0.0.9"
    api.put(announced("jobs-2", two))
    eventually(lambda: len(agent.query("jobs")) == 2)
    api.delete("jobs-1", "shop")
    eventually(lambda: [found["metric"]["pod"] for found in agent.query("jobs")] == ["jobs-2"])
    eventually(lambda: not agent.query('up{pod="jobs-1"}'))  # what ended is not shown as down
    assert agent.stop() == 0


def test_scraping_goes_on_while_the_api_is_away(
    agent_program: Make, cluster: tuple[KubernetesServer, str], endpoints: list[Target]
) -> None:
    api, source = cluster
    one, two = endpoints
    api.put(announced("jobs-1", one))
    agent = agent_program(source)
    agent.start()
    eventually(lambda: agent.query('jobs{pod="jobs-1"}'))
    assert agent.own("metricsmith_kubernetes_age_seconds", source="pods") == 0
    let_in, api.refuse = api.refuse, lambda request: Refusal(503, "ServiceUnavailable", "etcd is away")
    api.cut()
    line = agent.log.wait_for("etcd is away")
    assert "the last good targets stay" in line
    one.wait_for_scrapes(3)
    assert agent.own("metricsmith_kubernetes_age_seconds", source="pods") > 0
    assert agent.own("metricsmith_discovery_failures_total", source="pods", kind="kubernetes_sd") >= 1
    eventually(lambda: agent.query('up{pod="jobs-1"} == 1'))
    api.put(announced("jobs-2", two))
    api.refuse = let_in
    eventually(lambda: agent.query('jobs{pod="jobs-2"}'))
    assert agent.stop() == 0
