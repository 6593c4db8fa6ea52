"""The double of OCI Monitoring refuses what the service documents that it refuses."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
from oci._vendor import requests
from oci.auth.signers import SecurityTokenSigner

from metricsmith.testing.oci_rules import Refused, points_of, read_call
from metricsmith.testing.oci_signature import ApiKey, NotSigned, check_signature

NOW_MS = 1_700_000_000_000
PATH, BODY = "/20180401/metrics", b'{"metricData":[]}'
Changed = Mapping[str, Any]


@pytest.fixture(scope="module")
def signed() -> dict[str, str]:
    """Headers of a call as the SDK signs it."""
    request = requests.Request("POST", f"http://127.0.0.1{PATH}", data=BODY).prepare()
    SecurityTokenSigner("token", KEY.private)(request)
    return {name.lower(): value for name, value in request.headers.items()}


KEY = ApiKey.make()


def _check(headers: Changed, method: str = "POST", path: str = PATH, body: bytes = BODY) -> None:
    keys = {"ST$token": KEY.private.public_key()}
    check_signature(method, path, dict(headers), body, keys, time.time())


def test_what_the_sdk_signs_is_taken(signed: dict[str, str]) -> None:
    _check(signed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"authorization": ""}, "no Authorization"),
        ({"date": formatdate(0, usegmt=True)}, "clock skew"),
        ({"date": "yesterday"}, "no date"),
        ({"host": "elsewhere"}, "does not fit"),
        ({"content-type": "text/plain"}, "does not fit"),
        (
            {"x-content-sha256": base64.b64encode(hashlib.sha256(b"").digest()).decode()},
            "not that of the body",
        ),
    ],
)
def test_changed_headers_are_noticed(signed: dict[str, str], change: Changed, said: str) -> None:
    with pytest.raises(NotSigned, match=said):
        _check({**signed, **change})


def test_a_changed_request_is_noticed(signed: dict[str, str]) -> None:
    with pytest.raises(NotSigned, match="not that of the body"):
        _check(signed, body=BODY + b" ")
    with pytest.raises(NotSigned, match="does not fit"):
        _check(signed, path=PATH + "?x=1")
    unsigned = signed["authorization"].replace("x-content-sha256", "")
    with pytest.raises(NotSigned, match="not signed: x-content-sha256"):
        _check({**signed, "authorization": unsigned})
    stranger = signed["authorization"].replace("ST$token", "ST$other")
    with pytest.raises(NotSigned, match="key is not known"):
        _check({**signed, "authorization": stranger})


def _metric(**changed: Any) -> dict[str, Any]:
    points = [{"timestamp": "2023-11-14T22:13:20.000Z", "value": 1.5}]
    return {
        "namespace": "shop",
        "compartmentId": "c",
        "name": "a",
        "dimensions": {"b": "1"},
        "datapoints": points,
    } | changed


def _at(time: str, value: Any = 1) -> dict[str, Any]:
    return {"datapoints": [{"timestamp": time, "value": value}]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"namespace": "my.shop"}, "namespace"),
        ({"namespace": "oci_shop"}, "namespace"),
        ({"name": "a:b"}, "metric name"),
        ({"name": "_a"}, "metric name"),
        ({"name": "a.b-c$d"}, None),
        ({"resourceGroup": "a b"}, "resource group"),
        ({"dimensions": {}}, "0 dimensions"),
        ({"dimensions": {str(n): "x" for n in range(21)}}, "21 dimensions"),
        ({"dimensions": {"a b": "x"}}, "dimension key"),
        ({"dimensions": {"é": "x"}}, "dimension key"),
        ({"dimensions": {"a": ""}}, "value of dimension"),
        ({"dimensions": {"a": "x" * 513}}, "value of dimension"),
        ({"datapoints": []}, "no datapoints"),
        (_at("2023-11-14T20:13:19.999Z"), "not near"),
        (_at("2023-11-14T20:13:20.001Z"), None),
        (_at("2023-11-14T22:23:20.001Z"), "not near"),
        (_at("2023-11-14T22:23:19.999Z"), None),
        (_at("2023-11-14 22:13:20"), "not near"),
        (_at("2023-11-14T22:13:20Z", "1"), "invalid value"),
        ({"value": 1}, "unknown field"),
    ],
)
def test_metrics_that_the_service_refuses(change: Changed, said: str | None) -> None:
    found = points_of(_metric(**change), NOW_MS)
    assert (said is None) == (not isinstance(found, str)), found
    if said is not None:
        assert said in found


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "CannotParseRequest"),
        (b'{"metricData":[]}', 400, "InvalidParameter"),
        (b'{"metricData":[{}]}', 400, "CannotParseRequest"),
        (json.dumps({"metricData": [_metric(value=float("nan"))]}).encode(), 400, "CannotParseRequest"),
        (
            json.dumps({"metricData": [_metric(name=f"a{n}") for n in range(51)]}).encode(),
            400,
            "InvalidParameter",
        ),
        (b" " * 1_048_577, 413, "RequestEntityTooLarge"),
    ],
)
def test_calls_that_the_service_refuses(body: bytes, status: int, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        read_call(body)
    assert (refusal.value.status, refusal.value.code) == (status, code)


def test_fifty_streams_are_taken_with_several_points_each() -> None:
    metrics = [_metric(name=f"a{n % 50}") for n in range(100)]
    assert len(read_call(json.dumps({"metricData": metrics}).encode())) == 100
