"""Manifests are what the API takes, fit one another, keep secrets apart, and ask for few rights.

Commands and outputs of docs/generate.md are of what is tested here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.config import load_text
from metricsmith.errors import ConfigError, LimitExceeded
from metricsmith.integration.generate.configured import Configured, read_configured
from metricsmith.integration.generate.files import Generated, stream, write
from metricsmith.integration.generate.image import DEFAULT, check_image
from metricsmith.integration.generate.kubernetes import kubernetes
from metricsmith.integration.generate.roles import FILE
from metricsmith.testing.kubernetes_schema import read_object

Configure = Callable[..., Configured]

CONSUMER = """
service: {type: consumer}
bus: {endpoint: "tcp://localhost:11001", ack_endpoint: "tcp://localhost:11002"}
storage: {type: influxdb, url: "http://influxdb:8086", database: m, username: plantd, password: hunter2}
sinks:
  - {type: remote_write, name: central, url: "http://user:topsecret@prom:9090/w", headers: {X-Key: k3y}}
  - {type: newrelic, name: nr, api_key: "${NR_KEY}", region: eu}
alerts:
  webhook_url: "https://hooks.example/x/abc"
  rules: [{name: "on", metric: cpu_usage, threshold: 80, operator: ">"}]
"""
PRODUCER = "service: {type: producer}\nbus: {endpoint: 'tcp://centre.example:11001'}\n"
STANDALONE = "sources: [{type: scrape, name: shop, targets: ['shop:8080']}]\n"
NODES = "sources: [{type: host}]\n"
MIXED = "sources: [{type: scrape, name: shop, targets: ['shop:8080']}, {type: host, labels: {zone: a}}]\n"
DISCOVERING = "sources: [{type: scrape, kubernetes_sd: {}}]\n"
KAFKA = (
    "service: {type: consumer}\nbus: {driver: kafka, kafka: {bootstrap_servers: ['kafka:9092'], topic: m}}\n"
)
EMPTY = "service:\nsources:\nrules:\nbus:\nstorage:\n"
ALL = [CONSUMER, KAFKA, EMPTY, PRODUCER, STANDALONE, NODES, MIXED, DISCOVERING, "{}"]
IDS = ["consumer", "kafka", "empty", "producer", "standalone", "nodes", "mixed", "discovering", "defaults"]
SECRETS = ("hunter2", "topsecret", "k3y", "x/abc")


def documents(generated: Generated) -> Iterator[Any]:
    """Yield the objects of the API; those that are for kustomize are not."""
    for name, text in generated.files.items():
        if not name.endswith("kustomization.yaml"):
            yield from yaml.safe_load_all(text)


def objects(generated: Generated, kind: str) -> list[Any]:
    return [read_object(data) for data in documents(generated) if data["kind"] == kind]


def workloads(generated: Generated) -> list[Any]:
    return [*objects(generated, "Deployment"), *objects(generated, "DaemonSet")]


def made(configured: Configured, image: str = DEFAULT, namespace: str = "metricsmith") -> Generated:
    return kubernetes(configured, image, namespace)


@pytest.mark.parametrize("text", ALL, ids=IDS)
def test_every_object_is_one_of_the_api(configure: Configure, text: str) -> None:
    for data in documents(made(configure(text))):
        read_object(data)
        if data["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding"):
            assert data["metadata"]["namespace"] == "metricsmith"


@pytest.mark.parametrize("version", ["1.28", "1.36"])
def test_the_schemas_of_the_api_take_every_object(configure: Configure, version: str) -> None:
    """Those that kubeconform uses; they know no ServiceMonitor, which is not of Kubernetes."""
    for text in ALL:
        for data in documents(made(configure(text))):
            if data["kind"] != "ServiceMonitor":
                kubernetes_validate.validate(data, version, strict=True)
    data["apiVersion"], data["kind"], data["metadata"]["annotations"] = "v1", "Service", {"port": 9480}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(data, version, strict=True)


@pytest.mark.parametrize("text", ALL, ids=IDS)
def test_what_objects_name_is_there(configure: Configure, text: str) -> None:
    generated = made(configure(text))
    names = {(data["kind"], data["metadata"]["name"]) for data in documents(generated)}
    keys = {key for secret in objects(generated, "Secret") for key in secret.string_data}
    for workload in workloads(generated):
        spec, template = workload.spec.template.spec, workload.spec.template.metadata
        (container,) = spec.containers
        assert ("ServiceAccount", spec.service_account_name) in names
        assert workload.spec.selector.match_labels.items() <= template.labels.items()
        assert {mount.name for mount in container.volume_mounts} == {volume.name for volume in spec.volumes}
        for volume in spec.volumes:
            assert volume.config_map is None or ("ConfigMap", volume.config_map.name) in names
            claim = volume.persistent_volume_claim
            assert claim is None or ("PersistentVolumeClaim", claim.claim_name) in names
        wanted = [variable.value_from.secret_key_ref for variable in container.env]
        assert {reference.key for reference in wanted if reference} <= keys
        ports = {port.name for port in container.ports}
        assert {p.http_get.port for p in (container.liveness_probe, container.readiness_probe)} <= ports
        (service,) = [s for s in objects(generated, "Service") if s.metadata.name == workload.metadata.name]
        assert service.spec.selector.items() <= template.labels.items()
        assert {port.target_port for port in service.spec.ports} == ports
        policies = [
            p for p in objects(generated, "NetworkPolicy") if p.metadata.name == workload.metadata.name
        ]
        assert {
            port.port for policy in policies for rule in policy.spec.ingress for port in rule.ports
        } == ports
        (monitor,) = objects(generated, "ServiceMonitor")
        assert monitor.spec.selector.match_labels.items() <= service.metadata.labels.items()


@pytest.mark.parametrize("text", ALL, ids=IDS)
def test_pods_may_do_little(configure: Configure, text: str) -> None:
    for workload in workloads(made(configure(text))):
        spec = workload.spec.template.spec
        (container,) = spec.containers
        assert spec.security_context.run_as_non_root and spec.security_context.run_as_user > 0
        assert spec.security_context.seccomp_profile.type == "RuntimeDefault"
        security = container.security_context
        assert security.read_only_root_filesystem and not security.allow_privilege_escalation
        assert (security.capabilities.drop, security.capabilities.add, security.privileged) == (
            ["ALL"],
            [],
            False,
        )
        assert not spec.host_network and not spec.host_pid
        assert (
            container.resources.requests.keys() == {"cpu", "memory"}
            and "memory" in container.resources.limits
        )
        written = {m.name for m in container.volume_mounts if not m.read_only}
        assert written == {"data", "tmp"}


@pytest.mark.parametrize("text", ALL, ids=IDS)
def test_an_agent_takes_the_configuration_that_it_is_given(configure: Configure, text: str) -> None:
    generated = made(configure(text))
    maps = {each.metadata.name: each.data[FILE] for each in objects(generated, "ConfigMap")}
    secrets = {k: v or "x" for secret in objects(generated, "Secret") for k, v in secret.string_data.items()}
    for workload in workloads(generated):
        (container,) = workload.spec.template.spec.containers
        given = {variable.name: secrets.get(variable.name, "node-1") for variable in container.env}
        found = load_text(maps[workload.metadata.name], FILE, given)
        assert found.settings.server.address() == ("0.0.0.0", container.ports[0].container_port)
        mounts = {mount.mount_path for mount in container.volume_mounts}
        assert found.store.config.path in mounts
        assert container.args == ["run", "-c", f"/etc/metricsmith/{FILE}"] and "/etc/metricsmith" in mounts
        if workload.kind == "DaemonSet":
            assert found.settings.service.name == "node-1"


def test_no_secret_stands_anywhere_but_in_the_secret(configure: Configure) -> None:
    generated = made(configure(CONSUMER, NR_KEY="a" * 40))
    (secret,) = objects(generated, "Secret")
    assert secret.string_data == {
        "NR_KEY": "a" * 40,
        "SECRET_ALERTS_WEBHOOK_URL": "https://hooks.example/x/abc",
        "SECRET_SINKS_CENTRAL_HEADERS_X_KEY": "k3y",
        "SECRET_SINKS_CENTRAL_URL": "http://user:topsecret@prom:9090/w",
        "SECRET_STORAGE_PASSWORD": "hunter2",
    }
    others = "".join(text for name, text in generated.files.items() if name != "secret.yaml")
    assert not [secret for secret in (*SECRETS, "a" * 40) if secret in others]
    (config,) = [c for c in objects(generated, "ConfigMap") if c.metadata.name == "metricsmith"]
    given = dict(secret.string_data)
    storage = load_text(config.data[FILE], FILE, given).store.config
    assert storage.password.get_secret_value() == "hunter2"


@settings(max_examples=15)
@given(st.text(st.characters(exclude_categories=["C"], exclude_characters="$"), min_size=1, max_size=60))
def test_any_password_gets_to_the_agent_and_into_no_configmap(password: str) -> None:
    storage = {
        "type": "influxdb",
        "url": "http://i:1",
        "database": "d",
        "username": "u",
        "password": password,
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
        json.dump({"storage": storage}, file, ensure_ascii=False)
        file.flush()
        generated = made(read_configured(Path(file.name), {}))
    (config,), (secret,) = objects(generated, "ConfigMap"), objects(generated, "Secret")
    assert len(password) < 12 or password not in config.data[FILE] or password.startswith("file:")
    kept = load_text(config.data[FILE], FILE, secret.string_data).store.config
    assert kept.password.get_secret_value() == password


def test_a_secret_is_no_word_of_the_configuration_and_not_left_where_it_is_repeated(
    configure: Configure,
) -> None:
    text = """
storage: {type: influxdb, url: "http://i:1", database: influxdb, username: u, password: influxdb}
sources:
  - type: exec
    integrations: [{name: a, exec: [/bin/a, --key, a-long-secret], env: {key: a-long-secret, PIN: 1234}}]
  - {type: host}
"""
    generated = made(configure(text))
    (config, node), (secret,) = objects(generated, "ConfigMap"), objects(generated, "Secret")
    data = yaml.safe_load(config.data[FILE])
    assert (data["storage"]["type"], data["storage"]["database"]) == ("influxdb", "influxdb")
    assert data["storage"]["password"] == "${SECRET_STORAGE_PASSWORD}"
    assert "a-long-secret" not in config.data[FILE] and "1234" not in config.data[FILE]
    assert {"a-long-secret", "1234"} <= {*secret.string_data.values()}
    assert "host" in yaml.safe_load(node.data[FILE])["sources"][0]["type"]


@pytest.mark.parametrize(
    ("command", "hidden"),
    [
        ('"/bin/a --token t0ps3cret -v"', "/bin/a --token t0ps3cret -v"),
        ("[/bin/a, --api-key=t0ps3cret, -v]", "--api-key=t0ps3cret"),
        ("[/bin/a, --Password, t0ps3cret]", "t0ps3cret"),
        ('"/bin/a --token ${TOKEN}"', None),
        ("[/bin/a, --token, --verbose, -k, x]", None),
        ('"/bin/keytool --monkeys"', None),
    ],
)
def test_what_options_say_to_be_secret_is(command: str, hidden: str | None, configure: Configure) -> None:
    text = f"sources: [{{type: exec, integrations: [{{name: a, exec: {command}}}]}}]"
    generated = made(configure(text, TOKEN="x"))
    (config,) = objects(generated, "ConfigMap")
    assert "t0ps3cret" not in config.data[FILE]
    kept = {v for each in objects(generated, "Secret") for k, v in each.string_data.items() if k != "TOKEN"}
    assert kept == {hidden} - {None}


def test_a_text_that_is_half_a_secret_is_refused(configure: Configure) -> None:
    text = "sinks: [{type: remote_write, url: 'http://u:topsecret@${HOST}:9090/w'}]"
    with pytest.raises(ConfigError, match=r"sinks\[0\]\.url: got a secret beside a variable"):
        made(configure(text))
    whole = "sinks: [{type: remote_write, url: 'http://u:${PASSWORD}@prom:9090/w'}]"
    (config,) = objects(made(configure(whole)), "ConfigMap")
    assert "http://u:${PASSWORD}@prom:9090/w" in config.data[FILE]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CONSUMER, {"Deployment": ["metricsmith"], "DaemonSet": ["metricsmith-producer"]}),
        (PRODUCER, {"Deployment": [], "DaemonSet": ["metricsmith"]}),
        (STANDALONE, {"Deployment": ["metricsmith"], "DaemonSet": []}),
        (NODES, {"Deployment": [], "DaemonSet": ["metricsmith"]}),
        (MIXED, {"Deployment": ["metricsmith"], "DaemonSet": ["metricsmith-node"]}),
    ],
)
def test_hosts_are_seen_from_each_node_and_the_rest_once(
    configure: Configure, text: str, expected: dict[str, list[str]]
) -> None:
    generated = made(configure(text))
    assert {kind: [o.metadata.name for o in objects(generated, kind)] for kind in expected} == expected
    for daemon in objects(generated, "DaemonSet"):
        (container,) = daemon.spec.template.spec.containers
        mounts = {m.mount_path: m for m in container.volume_mounts}
        paths = {v.name: v.host_path.path for v in daemon.spec.template.spec.volumes if v.host_path}
        assert paths == {"proc": "/proc", "sys": "/sys", "root": "/"}
        for name in paths:
            assert mounts[f"/host/{name}"].name == name and mounts[f"/host/{name}"].read_only
        assert [t.operator for t in daemon.spec.template.spec.tolerations] == ["Exists"]
    for deployment in objects(generated, "Deployment"):
        assert deployment.spec.replicas == 1
        assert not [v for v in deployment.spec.template.spec.volumes if v.host_path]


def test_producers_find_the_consumer_of_the_same_file(configure: Configure) -> None:
    generated = made(configure(CONSUMER))
    texts = {each.metadata.name: each.data[FILE] for each in objects(generated, "ConfigMap")}
    buses = {name: yaml.safe_load(text)["bus"] for name, text in texts.items()}
    assert buses == {
        "metricsmith": {"endpoint": "tcp://0.0.0.0:11001", "ack_endpoint": "tcp://0.0.0.0:11002"},
        "metricsmith-producer": {
            "endpoint": "tcp://metricsmith:11001",
            "ack_endpoint": "tcp://metricsmith:11002",
        },
    }
    (service,) = [s for s in objects(generated, "Service") if s.metadata.name == "metricsmith"]
    assert {port.name: port.port for port in service.spec.ports} == {
        "http": 9480,
        "bus": 11001,
        "transfer": 11002,
    }
    (policy,) = [p for p in objects(generated, "NetworkPolicy") if p.metadata.name == "metricsmith"]
    (senders,) = policy.spec.ingress[1].sources
    assert senders.pod_selector.match_labels["app.kubernetes.io/component"] == "node"
    producer = yaml.safe_load(texts["metricsmith-producer"])
    assert not {"sinks", "alerts"} & producer.keys() and "type" not in producer["storage"]


def test_hosts_of_a_mixed_file_are_told_apart(configure: Configure) -> None:
    generated = made(configure(MIXED))
    texts = {each.metadata.name: yaml.safe_load(each.data[FILE]) for each in objects(generated, "ConfigMap")}
    assert [s["type"] for s in texts["metricsmith"]["sources"]] == ["scrape"]
    (host,) = texts["metricsmith-node"]["sources"]
    assert host == {"type": "host", "labels": {"host": "${NODE_NAME}", "zone": "a"}}


def test_pods_are_annotated_for_discovery_and_changed_with_the_configuration(configure: Configure) -> None:
    def annotations(text: str) -> dict[str, str]:
        (deployment,) = objects(made(configure(text)), "Deployment")
        found: dict[str, str] = deployment.spec.template.metadata.annotations
        return found

    plain = annotations(STANDALONE)
    wanted = {"prometheus.io/scrape": "true", "prometheus.io/port": "9480", "prometheus.io/path": "/metrics"}
    assert wanted.items() <= plain.items()
    other = annotations(STANDALONE + "server: {listen: '127.0.0.1:9999'}\n")
    assert other["prometheus.io/port"] == "9999"
    assert other["checksum/config"] != plain["checksum/config"]
    assert annotations(STANDALONE) == plain


@pytest.mark.parametrize(
    ("namespaces", "kinds"),
    [
        ("{}", [("ClusterRole", None), ("ClusterRoleBinding", None)]),
        ("{own_namespace: true}", [("Role", "metricsmith"), ("RoleBinding", "metricsmith")]),
        ("{names: [shop]}", [("Role", "shop"), ("RoleBinding", "shop")]),
    ],
)
def test_pods_may_be_read_where_they_are_discovered(
    configure: Configure, namespaces: str, kinds: list[tuple[str, str | None]]
) -> None:
    generated = made(configure(f"sources: [{{type: scrape, kubernetes_sd: {{namespaces: {namespaces}}}}}]"))
    found = [o for kind, _ in kinds for o in objects(generated, kind)]
    assert [(o.kind, o.metadata.namespace) for o in found] == kinds
    assert [rule.verbs for rule in found[0].rules] == [["get", "list", "watch"]]
    assert found[1].role_ref.name == found[0].metadata.name
    (deployment,) = objects(generated, "Deployment")
    assert deployment.spec.template.spec.automount_service_account_token
    assert not objects(made(configure(STANDALONE)), "ClusterRole")
    (plain,) = objects(made(configure(STANDALONE)), "Deployment")
    assert not plain.spec.template.spec.automount_service_account_token


@pytest.mark.parametrize(("port", "allowed"), [(80, 1), (9480, 0)])
def test_a_low_port_is_allowed_without_a_privilege(configure: Configure, port: int, allowed: int) -> None:
    generated = made(configure(f"server: {{listen: '0.0.0.0:{port}'}}"))
    (data,) = yaml.safe_load_all(generated.files["deployment.yaml"])
    read_object(data)
    kubernetes_validate.validate(data, "1.31", strict=True)
    pod = data["spec"]["template"]["spec"]
    sysctls = [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}] * allowed
    assert pod["securityContext"].get("sysctls", []) == sysctls
    assert pod["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_kustomize_leaves_rights_where_pods_are_discovered(configure: Configure, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here")
    where = "kubernetes_sd: {namespaces: {names: [shop], own_namespace: true}}"
    generated = made(configure(f"sources: [{{type: scrape, {where}}}]"))
    write(generated, tmp_path)
    said = subprocess.run([kubectl, "kustomize", tmp_path], capture_output=True, text=True, check=True)

    def places(text: str) -> set[tuple[str, str | None, str]]:
        data = [each for each in yaml.safe_load_all(text) if each]
        return {(d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"]) for d in data}

    assert places(said.stdout) == places(stream(generated))
    assert ("RoleBinding", "shop", "metricsmith-discovery-metricsmith") in places(said.stdout)


@pytest.mark.parametrize(("text", "level"), [(STANDALONE, "restricted"), (NODES, "privileged")])
def test_the_namespace_is_as_strict_as_it_can_be(configure: Configure, text: str, level: str) -> None:
    (namespace,) = objects(made(configure(text), namespace="observing"), "Namespace")
    assert namespace.metadata.name == "observing"
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == level


def test_rule_files_stand_beside_the_configuration(configure: Configure, tmp_path: Path) -> None:
    rules = "groups: [{name: a, rules: [{record: 'a:b', expr: sum(b)}]}]\n"
    for name in ("one/rules.yml", "two/rules.yml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(rules)
    generated = made(configure("rules: {packs: [agent], files: ['*/rules.yml']}"))
    (config,) = objects(generated, "ConfigMap")
    assert set(config.data) == {FILE, "rules.yml", "rules-2.yml"} and config.data["rules-2.yml"] == rules
    assert yaml.safe_load(config.data[FILE])["rules"] == {
        "packs": ["agent"],
        "files": ["rules.yml", "rules-2.yml"],
    }


def test_names_of_rule_files_are_keys_that_the_api_takes(configure: Configure, tmp_path: Path) -> None:
    for number, name in enumerate(("my rüles [1].yml", "..x.yml", "[é].yml")):
        rules = f"groups: [{{name: a{number}, rules: [{{record: 'a:b', expr: sum(b)}}]}}]\n"
        (tmp_path / name).write_text(rules)
    (config,) = objects(made(configure("rules: {files: ['*[!h].yml', '..x.yml']}")), "ConfigMap")
    names = yaml.safe_load(config.data[FILE])["rules"]["files"]
    assert sorted(names) == ["my-r-les-1.yml", "rules.yml", "x.yml"]
    assert {FILE, *names} == set(config.data)


def test_a_configuration_that_fits_into_no_configmap_is_told(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metricsmith.integration.generate.kubernetes.MAX_CONFIG_BYTES", 300)
    made(configure("{}"))
    with pytest.raises(LimitExceeded, match="wanted at most 300"):
        made(configure(CONSUMER))


@pytest.mark.parametrize(("more", "told"), [("", 0), (", binaries: [/opt/checks]", 1)])
def test_programs_are_noted_and_folders_that_are_looked_into_by_default_are_not(
    configure: Configure, more: str, told: int
) -> None:
    text = f"sources: [{{type: exec, integrations: [{{name: a, exec: /bin/a}}]{more}}}]"
    notes = made(configure(text)).notes
    found = [note.partition(": give the container the file ") for note in notes]
    assert ("sources[0].integrations[0].exec", "/bin/a") in {(where, file) for where, _, file in found}
    assert len([where for where, _, _ in found if "binaries" in where]) == told


def test_what_differs_in_a_container_is_told(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "targets.json").write_text("[]")
    text = """
storage: {type: prometheus, url: "http://localhost:9090", basic_auth: {username: u, password_file: /etc/pw}}
sources:
  - {type: scrape, name: shop, file_sd: {files: [targets.json]}}
  - {type: python, directory: collectors.d}
sinks:
  - {type: otlp, url: "http://otel:4318/v1/metrics", headers: {A: "${TOKEN}", B: "file:/run/b"}}
  - {type: file, path: /srv/samples}
"""
    generated = made(configure(text))
    notes = "\n".join(generated.notes)
    for part in (
        "storage.url: http://localhost:9090 is the container itself",
        "storage.basic_auth.password_file: give the container the file /etc/pw",
        f"sources[0].file_sd.files[0]: give the container the file {tmp_path}/targets.json",
        f"sources[1].directory: give the container the file {tmp_path}/collectors.d",
        "sinks[0].headers.B: give the container the file /run/b",
        "sinks[1].path: /srv/samples is read-only there",
        "TOKEN is not set here",
    ):
        assert part in notes
    (secret,) = objects(generated, "Secret")
    assert secret.string_data == {"TOKEN": ""}


def test_kustomize_builds_the_base_and_an_overlay_with_the_component(
    configure: Configure, tmp_path: Path
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here")
    generated = made(configure(CONSUMER))
    write(generated, tmp_path / "base")
    (tmp_path / "overlay").mkdir()
    overlay = {
        "resources": ["../base"],
        "components": ["../base/components/service-monitor"],
        "images": [{"name": "metricsmith", "newName": "registry.example/metricsmith", "newTag": "9.9.9"}],
    }
    (tmp_path / "overlay/kustomization.yaml").write_text(json.dumps(overlay))
    for folder, more in (("base", 0), ("overlay", 1)):
        command = [kubectl, "kustomize", tmp_path / folder]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.returncode == 0, said.stderr
        built = list(yaml.safe_load_all(said.stdout))
        assert len(built) == len(list(yaml.safe_load_all(stream(generated)))) + more
        for data in built:
            read_object(data)
    assert said.stdout.count("image: registry.example/metricsmith:9.9.9") == 2


def test_the_overlay_of_the_page_keeps_the_journal_on_the_node(configure: Configure, tmp_path: Path) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here")
    write(made(configure(CONSUMER)), tmp_path / "base")
    page = (Path(__file__).parents[3] / "docs" / "generate.md").read_text()
    (overlay,) = [block for block in re.findall("```yaml\n(.*?)```", page, re.DOTALL) if "patches:" in block]
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay/kustomization.yaml").write_text(overlay)
    command = [kubectl, "kustomize", str(tmp_path / "overlay")]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    (daemon_set,) = [data for data in yaml.safe_load_all(said.stdout) if data["kind"] == "DaemonSet"]
    read_object(daemon_set)
    volumes = {each.pop("name"): each for each in daemon_set["spec"]["template"]["spec"]["volumes"]}
    assert volumes["data"] == {"hostPath": {"path": "/var/lib/metricsmith", "type": "Directory"}}
    assert {"config", "data", "tmp", "proc", "sys", "root"} == volumes.keys()


def test_the_stream_is_for_kubectl_apply(configure: Configure) -> None:
    kinds = [data["kind"] for data in yaml.safe_load_all(stream(made(configure(CONSUMER))))]
    assert kinds[0] == "Namespace" and not {"Kustomization", "Component", "ServiceMonitor"} & {*kinds}


@pytest.mark.parametrize(
    "image", ["metricsmith:0.1.0", "r.example:5000/a/b:v1", "metricsmith@sha256:" + "0" * 64]
)
def test_images_that_stay_the_same_are_taken(image: str) -> None:
    assert check_image(image) == image


@pytest.mark.parametrize(
    "image", ["metricsmith", "metricsmith:latest", "r.example:5000/a", "a b:1", "", "a@sha256:1"]
)
def test_images_that_may_change_are_not(image: str) -> None:
    with pytest.raises(ValueError, match="wanted one with a version or digest"):
        check_image(image)
