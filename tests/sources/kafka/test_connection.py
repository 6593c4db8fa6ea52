"""Ways into a cluster, and settings that cannot work."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from kafka.net import KafkaConnectionManager
from kafka.protocol.metadata import ApiVersionsRequest
from pydantic import ValidationError

from metricsmith.sources.kafka.client import Client, KafkaUnavailable
from metricsmith.sources.kafka.settings import Connection, KafkaConfig
from metricsmith.testing import kafka as real


@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT", "SSL"])
def test_ways_to_connect(kafka: real.Cluster, protocol: real.Protocol) -> None:
    assert kafka.certificates is not None
    sasl = {"mechanism": "SCRAM-SHA-512", "username": real.USER, "password": real.PASSWORD}
    tls = {
        "ca_file": str(kafka.certificates.authority),
        "cert_file": str(kafka.certificates.client),
        "key_file": str(kafka.certificates.client_key),
    }
    settings = {
        "bootstrap_servers": kafka.bootstrap(protocol),
        **({"tls": tls} if "SSL" in protocol.split("_") else {}),
        **({"sasl": sasl} if "SASL" in protocol else {}),
    }
    config = Connection.model_validate(settings)
    assert real.PASSWORD not in repr(config)
    client = Client(config)
    assert client.brokers() == [1]
    client.close()


def test_a_token_is_read_from_its_file(kafka: real.Cluster, tmp_path: Path) -> None:
    parts = ({"alg": "none"}, {"sub": real.USER, "iat": time.time(), "exp": time.time() + 3600})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
    (tmp_path / "token").write_text(".".join(texts) + ".\n")
    sasl = {"mechanism": "OAUTHBEARER", "token": f"file:{tmp_path / 'token'}"}
    settings = {"bootstrap_servers": kafka.bootstrap("SASL_PLAINTEXT"), "sasl": sasl}
    client = Client(Connection.model_validate(settings))
    assert client.brokers() == [1]
    client.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients give up soon, and then have all the time that they need to find out why."""
    bootstrap = KafkaConnectionManager.bootstrap
    monkeypatch.setattr(KafkaConnectionManager, "bootstrap", lambda self, timeout: bootstrap(self, 500))
    monkeypatch.setattr("metricsmith.sources.kafka.reach.LIMIT_S", 60.0)


@pytest.mark.usefixtures("hasty")
def test_a_wrong_password_is_told_without_it(kafka: real.Cluster) -> None:
    sasl = {"mechanism": "PLAIN", "username": real.USER, "password": "wrong-secret"}
    settings = {"bootstrap_servers": kafka.bootstrap("SASL_PLAINTEXT"), "sasl": sasl}
    with pytest.raises(KafkaUnavailable, match="does not take the user, password") as caught:
        Client(Connection.model_validate(settings))
    told = str(caught.value)
    assert "wrong-secret" not in told


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("listener", "settings", "why"),
    [
        ("no-such-host.invalid:9092", {}, "the name is not known"),
        ("127.0.0.1:1", {}, "no connection to port 1 (Connection refused)"),
        ("[::1]:1", {}, "no connection to port 1 ("),
        ("PLAINTEXT", {"tls": {}}, "the port is open, but"),
        ("SSL", {}, "wants TLS"),
        ("SASL_SSL", {"tls": {}}, "its certificate is not trusted"),
        ("SASL_PLAINTEXT", {}, "lets nobody in without a login"),
    ],
)
def test_why_nobody_lets_us_in_is_told(
    kafka: real.Cluster, listener: Any, settings: dict[str, Any], why: str
) -> None:
    server = listener if ":" in listener else kafka.bootstrap(listener)
    with pytest.raises(KafkaUnavailable) as caught:
        Client(Connection.model_validate({"bootstrap_servers": server, **settings}))
    assert why in str(caught.value)


def test_a_failure_is_told_once(kafka: real.Cluster) -> None:
    settings = Connection.model_validate({"bootstrap_servers": kafka.bootstrap()})
    client = Client(settings)
    client._settings = settings.model_copy(update={"timeout": 1000})
    try:
        [away] = client.ask([(99, ApiVersionsRequest())])
        os.kill(kafka.broker(1).pid, signal.SIGSTOP)
        os.waitpid(kafka.broker(1).pid, os.WUNTRACED)  # all its threads have stopped
        try:
            [silent] = client.ask([(1, ApiVersionsRequest())])
        finally:
            os.kill(kafka.broker(1).pid, signal.SIGCONT)
    finally:
        client.close()
    assert (away.reason, silent.reason) == ("unreachable", "timeout")
    for failure, broker in ((away, 99), (silent, 1)):
        words = failure.message.removeprefix(f"broker {broker}: ").split(": ")
        assert len(set(words)) == len(words), failure.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"sasl": {"mechanism": "PLAIN", "username": "u"}},
        {"sasl": {"mechanism": "OAUTHBEARER", "username": "u", "password": "p"}},
        {"topics": {"include": "("}},
        {"topics": {"include": "(?=a)"}},
        {"bootstrap_servers": ""},
        {"bootstrap_servers": "http://kafka:9092"},
        {"tls": {"server_name": "kafka"}},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KafkaConfig.model_validate(wrong)
