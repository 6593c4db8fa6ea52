"""Each kind of credentials signs as the service wants it, or says what is missing."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from metricsmith.errors import RetryLater
from metricsmith.sinks.oci.account import open_account
from metricsmith.sinks.oci.settings import AccountSettings
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


@pytest.fixture
def token(oci: OciServer, api_key: ApiKey) -> str:
    """A security token for the user's key, good for an hour."""
    now_s = int(time.time())
    claims = {"exp": now_s + 3600, "iat": now_s, "res_tenant": api_key.tenancy, "res_compartment": "c"}
    made = f"{_part({'alg': 'none'})}.{_part(claims)}.{_part('signed')}"
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
        ("instance_principal", "no credentials from instance_principal: ConnectionError on the way"),
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
