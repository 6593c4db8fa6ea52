"""Who asks: a pod's own account, a kubeconfig of any kind, a plugin; and what is said when that fails."""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
import yaml

from metricsmith.errors import DiscoveryError
from metricsmith.sources.kubernetes.access import InCluster
from metricsmith.sources.kubernetes.kubeconfig import parse_kubeconfig
from metricsmith.sources.kubernetes.kubeconfig_access import KubeconfigAccess
from metricsmith.testing.certificates import Certificates
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.kubernetes_pods import pod
from metricsmith.testing.kubernetes_server import running_kubernetes
from metricsmith.testing.programs import eventually

SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}
TARGET = "10.0.0.1:9100"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def secure(certificates):
    with running_kubernetes(certificates) as server:
        server.put(pod("a", "10.0.0.1", annotations=SCRAPED, namespace="shop"))
        yield server


def account(folder: Path, certificates: Certificates, token: str) -> Path:
    (folder / "ca.crt").write_bytes(certificates.authority.read_bytes())
    (folder / "token").write_text(token)
    (folder / "namespace").write_text("shop\n")
    return folder


def in_cluster(folder: Path, url: str) -> InCluster:
    host, _, port = url.removeprefix("https://").partition(":")
    return InCluster(folder, {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port})


def encoded(path: Path) -> str:
    return b64encode(path.read_bytes()).decode()


def config_text(server: str, cluster: dict, user: dict, **more) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "main",
            "clusters": [{"name": "c", "cluster": {"server": server, **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [
                {"name": "main", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
                {"name": "lost", "context": {"cluster": "elsewhere", "user": "u"}},
            ],
            **more,
        }
    )


async def test_the_token_of_the_account_is_read_again_when_it_is_rotated(
    secure, certificates, follow, tmp_path
):
    folder = account(tmp_path, certificates, "first")
    secure.tokens = {"first"}
    access = in_cluster(folder, secure.url)
    async with follow(access, namespaces={"own_namespace": True}) as pods:
        await pods.until_wanted(TARGET)
        await asyncio.to_thread(secure.wait_until, lambda: secure.watches == 1)
        secure.tokens = {"second"}
        secure.cut()
        await pods.until_failed("unauthorized")
        assert pods.wanted() == {TARGET}
        (folder / "token").write_text("second\n")
        secure.put(pod("a", "10.0.0.2", annotations=SCRAPED, namespace="shop"))
        await pods.until_wanted("10.0.0.2:9100")
        await pods.until_watching()
    assert {r.namespace for r in secure.requests} == {"shop"}
    assert secure.requests[-1].token == "second"


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("token", "token cannot be read: No such file or directory"),
        ("ca.crt", "ca.crt cannot be read: No such file or directory"),
        ("environment", "KUBERNETES_SERVICE_HOST is not set, so this is no pod: wanted kubeconfig_file or"),
    ],
)
async def test_what_an_account_lacks_is_told(certificates, follow, tmp_path, caplog, missing, message):
    folder = account(tmp_path, certificates, "t")
    access = InCluster(folder, {}) if missing == "environment" else in_cluster(folder, "https://127.0.0.1:1")
    if missing != "environment":
        (folder / missing).unlink()
    async with follow(access) as pods:
        await pods.until_failed("credentials", 2)
    assert message in caplog.text


@pytest.mark.parametrize("inline", [True, False])
async def test_a_kubeconfig_with_a_client_certificate(secure, certificates, follow, tmp_path, inline):
    made = {
        "certificate-authority": certificates.authority,
        "client-certificate": certificates.client,
        "client-key": certificates.client_key,
    }
    given = {
        (f"{name}-data" if inline else name): encoded(path) if inline else os.path.relpath(path, tmp_path)
        for name, path in made.items()
    }
    cluster = {name: given.pop(name) for name in list(given) if name.startswith("certificate")}
    file = tmp_path / "config"
    file.write_text(config_text(secure.url, cluster, given))
    async with follow(kubeconfig_file=str(file), namespaces={"own_namespace": True}) as pods:
        await pods.until_wanted(TARGET)
        await pods.until_watching()
    assert {(r.client, r.namespace) for r in secure.requests} == {("metricsmith", "shop")}


@pytest.mark.parametrize("kind", ["token", "tokenFile", "both"])
async def test_a_kubeconfig_with_a_token(secure, certificates, follow, tmp_path, kind):
    (tmp_path / "the-token").write_text("right\n")
    secure.tokens = {"right"}
    users = {
        "token": {"token": "right"},
        "tokenFile": {"tokenFile": "the-token"},
        "both": {"token": "old", "tokenFile": "the-token"},
    }
    file = tmp_path / "config"
    cluster = {"insecure-skip-tls-verify": True}
    file.write_text(config_text(secure.url, cluster, users[kind]))
    async with follow(kubeconfig_file=str(file)) as pods:
        await pods.until_wanted(TARGET)
        await pods.until_watching()


async def test_a_server_that_cannot_prove_itself_is_not_told_the_token(secure, follow, tmp_path):
    file = tmp_path / "config"
    file.write_text(config_text(secure.url, {}, {"token": "secret"}))
    async with follow(kubeconfig_file=str(file)) as pods:
        await pods.until_failed("tls")
    assert not secure.requests


async def test_a_certificate_must_have_the_name_that_is_asked_for(secure, certificates, follow, tmp_path):
    file = tmp_path / "config"
    trust = {"certificate-authority": str(certificates.authority)}
    file.write_text(config_text(secure.url, trust | {"tls-server-name": "other.test"}, {"token": "t"}))
    async with follow(kubeconfig_file=str(file)) as pods:
        await pods.until_failed("tls")
        assert not secure.requests
        file.write_text(config_text(secure.url, trust | {"tls-server-name": "localhost"}, {"token": "t"}))
        await pods.until_wanted(TARGET)
        await pods.until_watching()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [\nb: }", "it cannot be read as YAML (line 2)"),
        ("{}", "it has no current-context, wanted `context`"),
        ("- a", "wanted a mapping with clusters"),
        ("{a: &a [*a]}", "it cannot be read as YAML"),
        ("[" * 60_000, "it cannot be read as YAML"),
        (
            config_text("https://h", {}, {}, **{"current-context": "none"}),
            'got the context "none", wanted one of',
        ),
        (
            config_text("https://h", {}, {}, **{"current-context": "lost"}),
            'the cluster "elsewhere", wanted one of: c',
        ),
        (config_text("h:6443", {}, {}), 'cluster.server: got "h:6443", wanted a URL'),
        (config_text("https://h", {"proxy-url": "http://p"}, {}), "got proxy-url, which is not done here"),
        (
            config_text("https://h", {}, {"auth-provider": {"name": "gcp"}}),
            "got auth-provider gcp, which Kubernetes",
        ),
        (config_text("https://h", {}, {"as": "admin"}), "got `as` (impersonation), which is not done here"),
        (config_text("https://h", {}, {"token": 12345}), "user.token: Input should be a valid string"),
        (
            config_text(
                "https://h", {}, {"exec": {"apiVersion": "v1", "command": "c", "interactiveMode": "Always"}}
            ),
            "interactiveMode: Always, wanted a plugin that asks nobody",
        ),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_why(tmp_path, text, message):
    with pytest.raises(DiscoveryError) as caught:
        parse_kubeconfig(text.encode(), tmp_path, "")
    assert message in str(caught.value)
    assert "12345" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (
            {"client-certificate-data": "SECRET", "client-key-data": "SECRET"},
            "client-certificate-data is not",
        ),
        (
            {"client-certificate-data": b64encode(b"SECRET").decode()},
            "wanted client-certificate and client-key",
        ),
        (
            {
                "client-certificate-data": b64encode(b"SECRET").decode(),
                "client-key-data": b64encode(b"SECRET").decode(),
            },
            "the authority, certificate or key cannot be used",
        ),
        ({"tokenFile": "not-there"}, "not-there cannot be read: No such file"),
        ({"token": "SEC\nRET"}, "a token that is empty or not one line"),
    ],
)
async def test_credentials_that_cannot_be_used_are_not_shown(tmp_path, user, message):
    file = tmp_path / "config"
    file.write_text(config_text("https://127.0.0.1:1", {}, user))
    access = KubeconfigAccess(file, "", FakeClock())
    with pytest.raises(DiscoveryError) as caught:
        await access.way()
    assert message in str(caught.value)
    assert "SEC" not in str(caught.value)


async def test_no_secret_is_in_a_repr(tmp_path):
    user = {
        "token": "SECRET",
        "exec": {"apiVersion": "v1", "command": "c", "env": [{"name": "A", "value": "SECRET"}]},
    }
    entry = parse_kubeconfig(config_text("https://h", {}, user).encode(), tmp_path, "")
    assert "SECRET" not in repr(entry)
    user.pop("exec")
    file = tmp_path / "config"
    file.write_text(config_text("http://127.0.0.1:1", {}, user))
    assert "SECRET" not in repr(await KubeconfigAccess(file, "", FakeClock()).way())


VERSION = "client.authentication.k8s.io/v1"


def credential(**status) -> str:
    return json.dumps({"apiVersion": VERSION, "kind": "ExecCredential", "status": status})


def plugin(tmp_path: Path, script: str, **more) -> dict:
    program = tmp_path / "plugin"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"exec": {"apiVersion": VERSION, "command": "./plugin", "interactiveMode": "Never", **more}}


async def test_a_plugin_gives_a_token_until_it_expires_or_is_refused(secure, certificates, follow, tmp_path):
    secure.tokens = {"token-1"}
    given = credential(token="token-NUMBER")
    script = f"cd {tmp_path}; echo x >> runs; echo '{given}' | sed s/NUMBER/$(wc -l < runs)/"
    file = tmp_path / "config"
    trust = {"certificate-authority": str(certificates.authority)}
    file.write_text(config_text(secure.url, trust, plugin(tmp_path, script)))
    async with follow(kubeconfig_file=str(file)) as pods:
        await pods.until_wanted(TARGET)
        await asyncio.to_thread(secure.wait_until, lambda: secure.watches == 1)
        assert (tmp_path / "runs").read_text() == "x\n", "one run serves list and watch"
        secure.tokens = {"token-2"}
        secure.put(pod("a", "10.0.0.2", annotations=SCRAPED, namespace="shop"))
        secure.cut()
        await pods.until_failed("unauthorized")
        await pods.until_wanted("10.0.0.2:9100")
        await pods.until_watching()


@pytest.mark.parametrize(("lifetime_ms", "runs"), [(20_000, 2), (60_000, 1)])
async def test_credentials_are_renewed_before_they_expire(tmp_path, lifetime_ms, runs):
    clock = FakeClock(1_700_000_000_000)
    text = credential(token="t", expirationTimestamp="2023-11-14T22:14:20Z")  # a minute later
    script = f"echo x >> {tmp_path}/runs; echo '{text}'"
    file = tmp_path / "config"
    file.write_text(config_text("http://127.0.0.1:1", {}, plugin(tmp_path, script)))
    access = KubeconfigAccess(file, "", clock)
    await access.way()
    clock.advance(60 - lifetime_ms / 1000)
    assert (await access.way()).headers == {"Authorization": "Bearer t"}
    assert (tmp_path / "runs").read_text() == "x\n" * runs


async def test_a_plugin_gives_a_certificate_and_is_told_of_the_cluster(
    secure, certificates, follow, tmp_path
):
    given = credential(
        clientCertificateData=certificates.client.read_text(),
        clientKeyData=certificates.client_key.read_text(),
    )
    (tmp_path / "given.json").write_text(given)
    script = f'cd {tmp_path}; echo "$KUBERNETES_EXEC_INFO" > told; echo "$REGION $1" > with; cat given.json'
    more = {"provideClusterInfo": True, "args": ["get"], "env": [{"name": "REGION", "value": "eu"}]}
    file = tmp_path / "config"
    authority = encoded(certificates.authority)
    trust = {"certificate-authority": str(certificates.authority)}
    file.write_text(config_text(secure.url, trust, plugin(tmp_path, script, **more)))
    async with follow(kubeconfig_file=str(file)) as pods:
        await pods.until_wanted(TARGET)
        await pods.until_watching()
    assert {r.client for r in secure.requests} == {"metricsmith"}
    assert (tmp_path / "with").read_text() == "eu get\n"
    assert json.loads((tmp_path / "told").read_text()) == {
        "apiVersion": VERSION,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": secure.url, "certificate-authority-data": authority},
        },
    }


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "ended with exit code 3"),
        ("echo 'no login, SECRET-VALUE' >&2; exit 1", "ended with exit code 1: no login, ***"),
        ("echo SECRET-VALUE", "gave text that is not JSON"),
        ("echo '{}'", "gave JSON of another kind"),
        ("yes 0123456789 | head -c 3000000", "gave too much"),
        ("echo '" + credential() + "'", "neither token nor clientCertificateData"),
        ("echo '" + credential(token=["SECRET-VALUE"]) + "'", "status.token: Input should be a valid string"),
        ("echo '" + credential(token="t", expirationTimestamp="soon") + "'", "that is no time"),
        (
            "echo '" + credential(token="t").replace("/v1", "/v1beta1") + "'",
            "apiVersion client.authentication.k8s.io/v1beta1, not client.authentication.k8s.io/v1",
        ),
    ],
)
async def test_a_plugin_that_fails_is_told_without_its_secrets(tmp_path, script, message):
    env = [{"name": "CLIENT_SECRET", "value": "SECRET-VALUE"}]
    file = tmp_path / "config"
    file.write_text(config_text("https://127.0.0.1:1", {}, plugin(tmp_path, script, env=env)))
    with pytest.raises(DiscoveryError) as caught:
        await KubeconfigAccess(file, "", FakeClock()).way()
    assert message in str(caught.value)
    assert "SECRET" not in str(caught.value)


def ended(status: Path) -> bool:
    try:
        return "State:\tZ" in status.read_text()
    except OSError:
        return True


async def test_a_plugin_that_does_not_end_is_ended_with_its_children(tmp_path):
    clock = FakeClock()
    os.mkfifo(tmp_path / "child")
    script = f"sleep 1000 & echo $! > {tmp_path}/child; wait"
    file = tmp_path / "config"
    file.write_text(config_text("https://127.0.0.1:1", {}, plugin(tmp_path, script)))
    asking = asyncio.create_task(KubeconfigAccess(file, "", clock).way())
    child = int(await asyncio.to_thread((tmp_path / "child").read_text))
    await clock.sleeping()
    clock.advance(31)
    with pytest.raises(DiscoveryError, match="did not end within 30s"):
        await asking
    status = Path(f"/proc/{child}/status")
    await asyncio.to_thread(eventually, lambda: ended(status))


async def test_a_plugin_that_is_not_there_is_told_with_the_hint_of_its_maker(tmp_path):
    missing = plugin(tmp_path, "", installHint="Install it from acme.example")
    missing["exec"]["command"] = "metricsmith-no-such-plugin"
    file = tmp_path / "config"
    file.write_text(config_text("https://127.0.0.1:1", {}, missing))
    with pytest.raises(DiscoveryError, match=r"No such file or directory; Install it from acme\.example"):
        await KubeconfigAccess(file, "", FakeClock()).way()
