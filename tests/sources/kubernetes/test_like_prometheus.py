"""The same cluster gives the same labels to VictoriaMetrics, which has the roles of Prometheus, and to us.

Debian's Prometheus is built without Kubernetes.
"""

from __future__ import annotations

import json
import urllib.request

import pytest

from metricsmith.sources.endpoint import discovered
from metricsmith.sources.kubernetes.pods import decode_pod
from metricsmith.sources.kubernetes.targets import of_all, targets_of
from metricsmith.testing import services
from metricsmith.testing.kubernetes_pods import pod
from metricsmith.testing.programs import eventually

WEB = {"name": "web", "containerPort": 8080, "protocol": "TCP"}
PROXY = {"containerPort": 7001, "protocol": "TCP"}
DNS = {"containerPort": 53, "protocol": "UDP"}
CONFIG = """
scrape_configs:
- job_name: pods
  kubernetes_sd_configs: [{{role: pod, api_server: "{url}"}}]
  relabel_configs: [{{action: drop, source_labels: [__address__], regex: ".*"}}]
"""
NEWER = ("__meta_kubernetes_pod_container_id", "__meta_kubernetes_pod_container_image")
"""Labels of Prometheus that VictoriaMetrics 1.79 does not have yet."""
SCRAPING = ("job", "__scheme__", "__metrics_path__", "__scrape_interval__", "__scrape_timeout__")


def cluster():
    sidecar = {"name": "proxy", "image": "p:1", "restartPolicy": "Always", "ports": [PROXY]}
    with_init = pod("init", "10.0.0.3", ports=[WEB])
    with_init["spec"]["initContainers"] = [{"name": "migrate", "image": "m:1"}, sidecar]
    return [
        pod("plain", "10.0.0.1", labels={"app.kubernetes.io/name": "shop", "empty": ""}, ports=[WEB, DNS]),
        pod("annotated", "10.0.0.2", namespace="bank", annotations={"prometheus.io/port": "x", "a/b-c": "é"}),
        with_init,
        pod("six", "fd00::7", ports=[WEB]),
        pod("host", "10.9.0.1", ports=[WEB], host_network=True),
        pod("ended", "10.0.0.4", ports=[WEB], phase="Succeeded"),
        pod("pending", phase="Pending"),
    ]


def dropped(url):
    with urllib.request.urlopen(f"{url}/api/v1/targets?state=dropped", timeout=10) as answer:
        return [one["discoveredLabels"] for one in json.load(answer)["data"]["droppedTargets"]]


def comparable(all_labels):
    return sorted(
        sorted((k, v) for k, v in one.items() if v and k not in NEWER + SCRAPING) for one in all_labels
    )


def test_discovered_labels_are_those_of_others(api, tmp_path):
    for one in cluster():
        api.put(one)
    found = of_all([targets_of(decode_pod(one), "") for one in cluster()])
    ours = [discovered(one.target, one.labels) for one in found]
    config = tmp_path / "scrape.yml"
    config.write_text(CONFIG.format(url=api.url))
    flags = (f"-promscrape.config={config}", "-promscrape.kubernetesSDCheckInterval=1s")
    try:
        peer = services.victoria_metrics(tmp_path / "peer", *flags)
        with peer as server:
            theirs = eventually(lambda: len(got := dropped(server.url)) >= len(ours) and got)
    except services.ServiceMissing as missing:
        pytest.skip(str(missing))
    assert comparable(ours) == comparable(theirs)
