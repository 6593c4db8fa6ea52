"""Keys that do not fit: both sides say so at once, and why, and what is mended goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from metricsmith.contracts import Delivery
from metricsmith.errors import RetryLater
from metricsmith.net.bus_keys import write_keys
from metricsmith.net.handshakes import COUNTER
from metricsmith.testing.programs import LIMIT_S

Ends = tuple[Any, Any]
NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("ours", "server_key", "reason", "at_the_edge", "at_the_centre"),
    [
        (None, None, "curve", "it wants keys", "refused somebody without keys"),
        ("stranger", "centre", "key", "our public key .* is not among", "not among curve.authorized_keys"),
        ("edge", "stranger", "server_key", "server_key is not its public key", "is not our public key"),
    ],
)
async def test_who_has_not_the_right_keys_gets_nothing_in_and_both_sides_say_why(
    ends: Ends,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    ours: str | None,
    server_key: str,
    reason: str,
    at_the_edge: str,
    at_the_centre: str,
) -> None:
    edge, centre = ends
    keys = {name: write_keys(tmp_path / f"{name}.key") for name in ("edge", "centre", "stranger")}
    curve = {"secret_key_file": str(tmp_path / "centre.key"), "authorized_keys": [keys["edge"]]}
    centre.settings["curve"] = curve
    centre.receive()
    if ours is not None:
        file = str(tmp_path / f"{ours}.key")
        edge.settings["curve"] = {"secret_key_file": file, "server_key": keys[server_key]}
    sink = edge.sender()
    began = time.monotonic()
    with monkeypatch.context() as patch, pytest.raises(RetryLater, match=at_the_edge):
        patch.setattr("metricsmith.sinks.transfer.ANSWER_LIMIT_S", 1000.0)
        await sink.send(Delivery([0], [edge.batch(0)]))
    assert time.monotonic() - began < 500, "told, and not found out by waiting"
    labels = {"component": "centre", "reason": reason}
    # Which side is the first to see that only one has keys is chance.
    while not centre.telemetry.value(COUNTER, **labels):
        assert time.monotonic() - began < LIMIT_S
        with pytest.raises(RetryLater):
            await sink.send(Delivery([0], [edge.batch(0)]))
    assert any(at_the_centre in line for line in caplog.messages)
    assert not centre.samples()
    await edge.close()
    edge.settings["curve"] = {"secret_key_file": str(tmp_path / "edge.key"), "server_key": keys["centre"]}
    await edge.sender().send(Delivery([0], [edge.batch(0)]))
    assert len(centre.samples()) == 2


async def test_a_centre_without_keys_says_that_somebody_has_some(ends: Ends, tmp_path: Path) -> None:
    edge, centre = ends
    centre.receive()
    key = write_keys(tmp_path / "edge.key")
    edge.settings["curve"] = {"secret_key_file": str(tmp_path / "edge.key"), "server_key": key}
    sink, began = edge.sender(), time.monotonic()
    labels = {"component": "centre", "reason": "curve"}
    while not centre.telemetry.value(COUNTER, **labels):
        assert time.monotonic() - began < LIMIT_S
        with pytest.raises(RetryLater, match="it has no keys"):
            await sink.send(Delivery([0], [edge.batch(0)]))


async def test_a_publisher_that_is_not_known_says_so_and_gets_through_once_it_is(
    publish: Callable[..., Any],
    receive: Callable[..., Any],
    endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("metricsmith.sinks.bus.AGAIN_S", 0.1)
    monkeypatch.setattr("metricsmith.net.door.RETRY_S", 0.05)
    keys = {name: write_keys(tmp_path / name) for name in ("centre", "edge", "other")}

    def centre(known: str) -> Any:
        curve = {"secret_key_file": str(tmp_path / "centre"), "authorized_keys": [keys[known]]}
        return receive(endpoint=endpoint, curve=curve, max_age="10000d")

    strict = centre("other")
    curve = {"secret_key_file": str(tmp_path / "edge"), "server_key": keys["centre"]}
    side, sink = publish(endpoint=endpoint, curve=curve)
    async with asyncio.timeout(LIMIT_S):
        while "is not among its curve.authorized_keys" not in sink.remark():
            await sink.send(side.delivery(0, {"a": 1.0}, NOW, service="s"))
            await asyncio.sleep(0.01)
    assert "messages lost" in sink.remark()
    labels = {"component": "side", "reason": "key"}
    assert strict.telemetry.value(COUNTER, **labels) > 0 and not strict.samples()
    await receive.stop()
    open_minded = centre("edge")
    async with asyncio.timeout(LIMIT_S):
        while not open_minded.samples():
            await sink.send(side.delivery(1, {"a": 1.0}, NOW, service="s"))
            await asyncio.sleep(0.01)
    await sink.send(side.delivery(2, {"a": 1.0}, NOW, service="s"))
    assert sink.remark() == ""
