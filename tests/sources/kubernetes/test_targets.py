"""Which targets a pod gives, and with which labels: by annotations, or as Prometheus' role `pod`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from metricsmith.sources.endpoint import discovered, endpoint
from metricsmith.sources.kubernetes.pods import decode_pod
from metricsmith.sources.kubernetes.targets import of_all, targets_of
from metricsmith.sources.settings import ScrapeConfig
from metricsmith.testing.kubernetes_pods import pod

WEB = {"name": "web", "containerPort": 8080}
ADMIN = {"name": "admin", "containerPort": 9090, "protocol": "TCP"}
DNS = {"name": "dns", "containerPort": 53, "protocol": "UDP"}
CONFIG = ScrapeConfig.model_validate({"kubernetes_sd": {}})


def annotated(**own):
    return {f"prometheus.io/{name}": value for name, value in ({"scrape": "true"} | own).items()}


def known(data, prefix="prometheus.io"):
    return targets_of(decode_pod(data), prefix)


def urls(*pods, prefix="prometheus.io"):
    """What is scraped in the end."""
    found = [one for one in of_all([known(data, prefix) for data in pods]) if one.wanted]
    return sorted(endpoint(discovered(one.target, one.labels), "pods", CONFIG).url for one in found)


@pytest.mark.parametrize(
    ("annotations", "ports", "wanted"),
    [
        ({}, [WEB], []),
        (annotated(scrape="false"), [WEB], []),
        (annotated(scrape="True"), [WEB], ["http://10.0.0.1:8080/metrics"]),
        (annotated(), [WEB], ["http://10.0.0.1:8080/metrics"]),
        (
            annotated(),
            [WEB, ADMIN, DNS],
            ["http://10.0.0.1:8080/metrics", "http://10.0.0.1:9090/metrics"],
        ),
        (annotated(), [], ["http://10.0.0.1:80/metrics"]),
        (annotated(), [DNS], ["http://10.0.0.1:80/metrics"]),
        (annotated(scheme="https"), [], ["https://10.0.0.1:443/metrics"]),
        (annotated(port="9100"), [WEB, ADMIN], ["http://10.0.0.1:9100/metrics"]),
        (annotated(port="9090"), [WEB, ADMIN], ["http://10.0.0.1:9090/metrics"]),
        (annotated(port="admin"), [WEB, ADMIN], ["http://10.0.0.1:9090/metrics"]),
        (annotated(port=" 9100 ", path="/own/metrics"), [WEB], ["http://10.0.0.1:9100/own/metrics"]),
        (annotated(path="own"), [WEB], ["http://10.0.0.1:8080/own"]),
        (annotated(path="/m?x=1#y"), [WEB], ["http://10.0.0.1:8080/m%3Fx=1%23y"]),
        (annotated(path="@evil.example/"), [WEB], ["http://10.0.0.1:8080/@evil.example/"]),
        (annotated(scheme="https", port="8443"), [WEB], ["https://10.0.0.1:8443/metrics"]),
    ],
)
def test_annotations_choose_port_path_and_scheme(annotations, ports, wanted):
    assert urls(pod("a", "10.0.0.1", annotations=annotations, ports=ports)) == wanted


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        (
            annotated(port="metrics"),
            'shop/a: annotation prometheus.io/port: got "metrics", wanted 1 to 65535 '
            "or the name of a port: web",
        ),
        (annotated(port="0"), 'got "0"'),
        (annotated(port="65536"), 'got "65536"'),
        (annotated(port="1" * 5000), 'got "11111'),
        (annotated(port="80@evil.example"), 'got "80@evil.example"'),
        (annotated(port="dns"), 'got "dns"'),
        (annotated(scheme="ftp"), 'annotation prometheus.io/scheme: got "ftp", wanted http or https'),
    ],
)
def test_a_mistake_in_an_annotation_is_told_and_the_pod_is_shown_as_dropped(annotations, problem):
    one = known(pod("a", "10.0.0.1", namespace="shop", annotations=annotations, ports=[WEB, DNS]))
    assert problem in one.problem
    assert len(one.problem) < 300
    assert one.listed
    assert not any(each.wanted for each in one.listed)


def test_another_prefix_is_looked_for():
    data = pod("a", "10.0.0.1", annotations={"acme.example/scrape": "true"}, ports=[WEB])
    assert urls(data, prefix="acme.example") == ["http://10.0.0.1:8080/metrics"]
    assert urls(data) == []


def test_series_of_a_chosen_pod_say_where_they_come_from():
    data = pod("shop-1", "10.0.0.1", namespace="shop", annotations=annotated(), ports=[WEB])
    (one,) = known(data).listed
    labels = {k: v for k, v in discovered(one.target, one.labels).items() if not k.startswith("__")}
    assert labels == {"namespace": "shop", "pod": "shop-1", "container": "app"}


@pytest.mark.parametrize(
    ("more", "ip", "wanted"),
    [
        ({}, "", []),
        ({"phase": "Pending"}, "", []),
        ({"phase": "Pending"}, "10.0.0.1", ["http://10.0.0.1:8080/metrics"]),
        ({"phase": "Succeeded"}, "10.0.0.1", []),
        ({"phase": "Failed"}, "10.0.0.1", []),
        ({"phase": "Unknown"}, "10.0.0.1", ["http://10.0.0.1:8080/metrics"]),
        ({"host_network": True}, "10.9.0.1", ["http://10.9.0.1:8080/metrics"]),
        ({}, "fd00::7", ["http://[fd00::7]:8080/metrics"]),
    ],
)
def test_only_what_runs_and_has_an_address_is_scraped(more, ip, wanted):
    data = pod("a", ip, annotations=annotated(), ports=[WEB], **more)
    assert urls(data) == wanted
    assert urls(data, prefix="") == wanted


def test_an_address_that_is_given_again_belongs_to_the_younger_pod():
    old = pod("old", "10.0.0.1", annotations=annotated(port="1"), started="2026-01-01T00:00:00Z")
    new = pod("new", "10.0.0.1", annotations=annotated(port="2"), started="2026-01-01T00:00:01Z")
    ended = pod("ended", "10.0.0.1", annotations=annotated(), phase="Failed", started="2026-02-01T00:00:00Z")
    for order in ((old, new, ended), (ended, new, old)):
        assert urls(*order) == ["http://10.0.0.1:2/metrics"]
    plain = [one for one in of_all([known(data) for data in (old, new)]) if not one.wanted]
    assert [one.labels["__meta_kubernetes_pod_name"] for one in plain] == ["old"], "shown as dropped"


def test_pods_in_the_network_of_their_machine_share_its_address():
    both = [
        pod(name, "10.9.0.1", annotations=annotated(port=port), host_network=True, started=f"2026-01-0{port}")
        for name, port in (("a", "1"), ("b", "2"))
    ]
    assert urls(*both) == ["http://10.9.0.1:1/metrics", "http://10.9.0.1:2/metrics"]


def test_labels_are_those_of_prometheus():
    data = pod(
        "shop-1",
        "10.0.0.1",
        namespace="shop",
        annotations={"prometheus.io/scrape": "true", "long": "x" * 1025},
        labels={"app.kubernetes.io/name": "shop", "empty": ""},
        ports=[WEB],
    )
    meta = "__meta_kubernetes_"
    (one,) = known(data, prefix="").listed
    assert one.target == "10.0.0.1:8080"
    assert one.labels == {
        f"{meta}namespace": "shop",
        f"{meta}pod_name": "shop-1",
        f"{meta}pod_ip": "10.0.0.1",
        f"{meta}pod_ready": "true",
        f"{meta}pod_phase": "Running",
        f"{meta}pod_node_name": "node-1",
        f"{meta}pod_host_ip": "10.9.0.1",
        f"{meta}pod_uid": "uid-shop-1",
        f"{meta}pod_controller_kind": "ReplicaSet",
        f"{meta}pod_controller_name": "shop-5d",
        f"{meta}pod_label_app_kubernetes_io_name": "shop",
        f"{meta}pod_labelpresent_app_kubernetes_io_name": "true",
        f"{meta}pod_labelpresent_empty": "true",
        f"{meta}pod_annotation_prometheus_io_scrape": "true",
        f"{meta}pod_annotationpresent_prometheus_io_scrape": "true",
        f"{meta}pod_annotationpresent_long": "true",
        f"{meta}pod_container_name": "app",
        f"{meta}pod_container_image": "shop:1",
        f"{meta}pod_container_id": "containerd://shop-1",
        f"{meta}pod_container_init": "false",
        f"{meta}pod_container_port_name": "web",
        f"{meta}pod_container_port_number": "8080",
        f"{meta}pod_container_port_protocol": "TCP",
    }


def test_containers_that_prepare_a_pod_are_no_targets_of_annotations_but_sidecars_are():
    data = pod("a", "10.0.0.1", annotations=annotated(), ports=[WEB])
    data["spec"]["initContainers"] = [
        {"name": "migrate", "image": "m:1", "ports": [{"containerPort": 7000}]},
        {"name": "proxy", "image": "p:1", "restartPolicy": "Always", "ports": [{"containerPort": 7001}]},
    ]
    assert urls(data) == ["http://10.0.0.1:7001/metrics", "http://10.0.0.1:8080/metrics"]
    listed = known(data, prefix="").listed
    init = {one.target: one.labels["__meta_kubernetes_pod_container_init"] for one in listed}
    assert init == {"10.0.0.1:8080": "false", "10.0.0.1:7000": "true", "10.0.0.1:7001": "true"}


def test_rules_written_for_prometheus_choose_when_annotations_do_not():
    """The rules of the Helm chart that most clusters have."""
    meta = "__meta_kubernetes_pod_"
    rules = [
        {"source_labels": [f"{meta}annotation_prometheus_io_scrape"], "action": "keep", "regex": "true"},
        {
            "source_labels": ["__address__", f"{meta}annotation_prometheus_io_port"],
            "regex": r"([^:]+)(?::\d+)?;(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        {"regex": f"{meta}label_(.+)", "action": "labelmap"},
    ]
    config = ScrapeConfig.model_validate({"kubernetes_sd": {"annotations": ""}, "relabel_configs": rules})
    shop = pod("a", "10.0.0.1", annotations=annotated(port="9100"), ports=[WEB], labels={"app": "shop"})
    found = of_all([known(shop, prefix=""), known(pod("b", "10.0.0.2", ports=[WEB]), prefix="")])
    (one,) = filter(None, (endpoint(discovered(e.target, e.labels), "pods", config) for e in found))
    assert one.url == "http://10.0.0.1:9100/metrics"
    assert b"app" in one.labels


TEXT = st.text(max_size=20) | st.text("0123456789", max_size=6) | st.text("/@:?#%[]\\.\n a1", max_size=12)


@given(path=TEXT, port=TEXT, scheme=TEXT | st.sampled_from(["http", "https"]), ip=st.ip_addresses())
def test_whatever_annotations_say_a_pod_is_asked_and_nobody_else(path, port, scheme, ip):
    """Who may write annotations must not send the agent, and what it brings along, elsewhere."""
    data = pod("a", str(ip), annotations=annotated(path=path, port=port, scheme=scheme), ports=[WEB])
    for url in urls(data):
        asked = URL(url)
        assert (asked.host, asked.user, asked.query_string) == (str(ip), None, "")
        assert asked.scheme in ("http", "https")
        assert 0 < asked.port < 65_536
