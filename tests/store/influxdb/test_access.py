"""A server that wants users, with one who may do all in one database alone, as containers make them."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metricsmith.errors import RetryLater, StoreUnavailable
from metricsmith.testing import services
from metricsmith.testing.services import Server

Make = Callable[..., Any]
SETUP = [
    "CREATE USER admin WITH PASSWORD 'admin' WITH ALL PRIVILEGES",
    "CREATE DATABASE plantd_metrics WITH DURATION 100d",
    "CREATE USER plantd WITH PASSWORD 'password'",
    "GRANT ALL ON plantd_metrics TO plantd",
]
EVERY = (-(2**62), 2**62)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("guarded")
    with services.influxdb(folder) as server:
        for statement in SETUP:
            form = urllib.parse.urlencode({"q": statement}).encode()
            urllib.request.urlopen(f"{server.url}/query", form, timeout=60).close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INFLUXDB_HTTP_AUTH_ENABLED", "true")
        with services.influxdb(folder) as server:
            yield server


def test_a_user_of_one_database(kept: Make, guarded: Server, now_ms: int) -> None:
    made = kept(url=guarded.url, database="plantd_metrics", username="plantd", password="password")
    made.write([({"__name__": "a", "service": "s"}, now_ms, 1.0)])
    assert len(made.store.select([], *EVERY).keys) == 1
    assert made.store.label_names([], *EVERY) == ["__name__", "service"]
    status = made.store.status()
    assert (status.status, status.detail, status.series) == ("connected", "", 1)
    assert status.retention_ms == 100 * 86_400_000
    assert status.disk_usage_bytes is None  # administrators only
    assert made.telemetry.value("metricsmith_store_server_failures_total", reason="access") == 0


def test_a_policy_that_may_not_be_changed(kept: Make, guarded: Server, now_ms: int) -> None:
    settings = {"database": "plantd_metrics", "username": "plantd", "password": "password"}
    made = kept(url=guarded.url, retention="30d", **settings)
    made.write([({"__name__": "a"}, now_ms, 2.0)])  # is there all the same
    assert made.telemetry.value("metricsmith_influxdb_statements_refused_total", sink="storage") == 1
    assert made.store.status().retention_ms == 100 * 86_400_000


def test_a_database_that_may_not_be_created(kept: Make, guarded: Server, now_ms: int) -> None:
    made = kept(url=guarded.url, database="other", username="plantd", password="password")
    with pytest.raises(
        RetryLater, match=r"no database other; the server refused to create.*authoriz"
    ) as caught:
        made.write([({"__name__": "a"}, now_ms, 1.0)])
    assert caught.value.reason == "database"
    with pytest.raises(StoreUnavailable, match="authoriz"):
        made.store.select([], *EVERY)


def test_a_wrong_password(kept: Make, guarded: Server, now_ms: int) -> None:
    made = kept(url=guarded.url, database="plantd_metrics", username="plantd", password="hunter2")
    with pytest.raises(RetryLater, match=r"401.*check the credentials") as caught:
        made.write([({"__name__": "a"}, now_ms, 1.0)])
    with pytest.raises(StoreUnavailable, match="authorization failed") as refused:
        made.store.select([], *EVERY)
    assert refused.value.reason == "access"
    status = made.store.status()
    assert (status.status, "authorization failed" in status.detail) == ("error", True)
    assert "hunter2" not in f"{caught.value} {refused.value} {status} {made.store.written_by()}"
