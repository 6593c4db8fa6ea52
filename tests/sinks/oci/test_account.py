"""Each kind of credentials signs as the service wants it, or says what is missing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.account import open_account
from metricsmith.sinks.oci.sdk import oci as oci_sdk
from metricsmith.sinks.oci.settings import AccountSettings
from metricsmith.testing.certificates import Certificates
from metricsmith.testing.oci_identity import OciIdentity, make_token, oci_identity
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey


@pytest.fixture
def token(oci: OciServer, api_key: ApiKey) -> str:
    """A security token for the user's key, good for an hour."""
    made = make_token()
    oci.tokens[made] = api_key.private.public_key()
    return made


async def _send(sink: Any, here: Any, **settings: Any) -> None:
    layout = here.layout([{"__name__": "a", "b": "1"}])
    await sink(**settings).send(here.delivery(here.batch(layout, time.time_ns() // 1_000_000, [1])))


async def test_a_session_token_beside_a_profile_signs(
    oci: OciServer, sink: Any, here: Any, tmp_path: Path, token: str
) -> None:
    (tmp_path / "token").write_text(token + "\n")
    with (tmp_path / "config").open("a") as file:
        file.write(f"security_token_file={tmp_path / 'token'}\n")
    oci.key = ApiKey("another", "user", rsa.generate_private_key(65537, 2048))
    await _send(sink, here)
    assert len(oci.points) == 1 and oci.problems == []


async def test_a_resource_principal_signs(
    oci: OciServer, sink: Any, here: Any, tmp_path: Path, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("VERSION", "2.2"),
        ("RPST", token),
        ("PRIVATE_PEM", str(tmp_path / "DEFAULT.pem")),
        ("REGION", "eu-frankfurt-1"),
    ):
        monkeypatch.setenv(f"OCI_RESOURCE_PRINCIPAL_{name}", value)
    account = open_account(AccountSettings(auth="resource_principal"))
    assert account.ingestion == "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"
    oci.key = ApiKey("another", "user", rsa.generate_private_key(65537, 2048))
    await _send(sink, here, auth="resource_principal")
    assert len(oci.points) == 1 and oci.problems == []


@pytest.fixture
def machine(oci: OciServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[OciIdentity]:
    """The services that a compute instance has around it."""
    real = oci_sdk.regions.endpoint_for
    with oci_identity(oci.tokens) as found:
        monkeypatch.setenv("OCI_METADATA_BASE_URL", found.url)
        monkeypatch.setattr(
            oci_sdk.regions,
            "endpoint_for",
            lambda name, *a, **k: found.url if name == "auth" else real(name, *a, **k),
        )
        yield found


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def pod(
    oci: OciServer, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OciIdentity]:
    """The service that a pod in OKE asks, and the pod's files and environment."""
    signing = oci_sdk.auth.signers.resource_principals_signer
    with oci_identity(oci.tokens, certificates.server_pem) as found:
        account = tmp_path / "service-account"
        account.write_text(make_token())
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("OCI_KUBERNETES_SERVICE_ACCOUNT_CERT_PATH", str(certificates.authority))
        monkeypatch.setenv("OCI_RESOURCE_PRINCIPAL_REGION", "fra")
        monkeypatch.setattr(signing, "OCI_KUBERNETES_PROXYMUX_SERVICE_PORT", str(found.port))
        paths = oci_sdk.auth.rpt_path_providers
        monkeypatch.setattr(
            paths, "OCI_KUBERNETES_SERVICE_ACCOUNT_TOKEN_PATH", str(tmp_path / "service-account")
        )
        yield found


async def test_an_instance_principal_signs_with_tokens_that_are_renewed(
    oci: OciServer, sink: Any, here: Any, machine: OciIdentity
) -> None:
    account = open_account(AccountSettings(auth="instance_principal"))
    assert account.ingestion == "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"
    far, layout = sink(auth="instance_principal"), here.layout([{"__name__": "a", "b": "1"}])
    machine.lasts_s = 30  # less than what is taken as still good
    for round_ in range(2):
        await far.send(here.delivery(here.batch(layout, time.time_ns() // 1_000_000 - round_, [1])))
    assert len(oci.points) == 2 and oci.problems == [] and machine.given >= 3


async def test_a_workload_identity_signs(oci: OciServer, sink: Any, here: Any, pod: OciIdentity) -> None:
    account = open_account(AccountSettings(auth="workload_identity"))
    assert account.ingestion == "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"
    await _send(sink, here, auth="workload_identity")
    assert len(oci.points) == 1 and oci.problems == []


async def test_a_pod_that_knows_no_region_needs_the_endpoint(
    oci: OciServer, sink: Any, here: Any, pod: OciIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OCI_RESOURCE_PRINCIPAL_REGION")
    with pytest.raises(RetryLater, match="no region; set `endpoint`"):
        await _send(sink, here, auth="workload_identity", endpoint=None)
    await _send(sink, here, auth="workload_identity")
    assert len(oci.points) == 1


TROUBLES = [
    ((503, b"oops"), "got 503"),
    ((401, b'{"code": "NotAuthenticated", "message": "no such instance"}'), "no such instance"),
    ((403, b"{}"), "got 403"),
    ((200, b"oops"), "no credentials|no token"),
    ((200, b"{}"), "no credentials|no token"),
    ((200, b'{"token": "junk"}'), "no credentials|no token"),
]


@pytest.mark.parametrize(("fault", "said"), TROUBLES)
async def test_a_token_service_in_trouble_is_waited_for(
    oci: OciServer, sink: Any, here: Any, machine: OciIdentity, fault: Any, said: str
) -> None:
    far, layout = sink(auth="instance_principal"), here.layout([{"__name__": "a", "b": "1"}])
    delivery = here.delivery(here.batch(layout, time.time_ns() // 1_000_000, [1]))
    machine.fault = fault
    with pytest.raises(RetryLater, match=said) as refusal:
        await far.send(delivery)
    assert refusal.value.reason == "credentials"
    machine.fault, machine.lasts_s = None, 30
    await far.send(delivery)
    machine.fault = fault  # when the token is renewed
    for _ in range(12 if fault[0] == 503 else 1):  # more often than the SDK's circuit breaker bears
        with pytest.raises(RetryLater) as refusal:
            await far.send(delivery)
    machine.fault = None
    await far.send(delivery)


@pytest.mark.parametrize(
    ("fault", "said"), [((403, b""), "enhanced"), ((500, b""), "got 500"), ((200, b"e30="), "token")]
)
async def test_a_pod_without_a_token_is_told_why(
    sink: Any, here: Any, pod: OciIdentity, fault: Any, said: str
) -> None:
    pod.fault = fault
    with pytest.raises(RetryLater, match=said) as refusal:
        await _send(sink, here, auth="workload_identity")
    assert refusal.value.reason == "credentials"


@pytest.mark.parametrize(
    ("region", "address"),
    [
        ("eu-frankfurt-1", "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"),
        ("FRA", "https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com"),
        ("uk-gov-london-1", "https://telemetry-ingestion.uk-gov-london-1.oraclegovcloud.uk"),
    ],
)
def test_the_address_is_that_of_the_region(
    api_key: ApiKey, tmp_path: Path, region: str, address: str
) -> None:
    file = api_key.write_config(tmp_path, region=region)
    assert open_account(AccountSettings(config_file=str(file))).ingestion == address


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        (
            "instance_principal",
            "127.0.0.1:9 failed: Connection refused .it works on a compute instance",
        ),
        ("resource_principal", "OCI_RESOURCE_PRINCIPAL_VERSION is not defined"),
        ("workload_identity", "Kubernetes service host was not provided"),
    ],
)
def test_elsewhere_it_says_what_is_missing(auth: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCI_METADATA_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(RetryLater, match=said) as refusal:
        open_account(AccountSettings(auth=auth))
    assert refusal.value.reason == "credentials"


def test_what_signs_is_not_shown(api_key: ApiKey, tmp_path: Path) -> None:
    account = open_account(AccountSettings(config_file=str(api_key.write_config(tmp_path))))
    assert api_key.fingerprint not in repr(account)
