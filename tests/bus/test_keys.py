"""With keys, only who is known gets through, and nobody else hears anything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq
from pydantic import ValidationError

from metricsmith.net.bus_keys import write_keys
from metricsmith.net.bus_settings import SocketSettings
from metricsmith.net.zmq_sockets import BusUnusable
from metricsmith.sinks.bus import BusSink

NOW = 1_700_000_000_000


async def test_a_known_key_gets_through_and_others_do_not(
    receive: Callable[..., Any],
    publish: Callable[..., Any],
    bare: Callable[..., Any],
    endpoint: str,
    tmp_path: Path,
) -> None:
    keys = {name: write_keys(tmp_path / name) for name in ("consumer", "producer", "stranger")}
    curve = {"secret_key_file": str(tmp_path / "consumer"), "authorized_keys": [keys["producer"]]}
    side = receive(endpoint=endpoint, curve=curve, max_age="10000d")

    def publisher(name: str) -> tuple[Any, BusSink]:
        ours = {"secret_key_file": str(tmp_path / name), "server_key": keys["consumer"]}
        return publish(endpoint=endpoint, curve=ours)

    in_clear = bare(zmq.XPUB, endpoint)
    (_, stranger), (known_side, known) = publisher("stranger"), publisher("producer")
    async with asyncio.timeout(60):
        while b"metrics." not in known._listened:
            await asyncio.sleep(0.01)
            known._note_subscriptions()
    assert not in_clear.poll(300) and not stranger._opened.socket.poll(0)
    await known.send(known_side.delivery(0, {"a": 1.0}, NOW, service="s"))
    await side.until(lambda: bool(side.samples()))


def test_keys_are_for_their_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    write_keys(tmp_path / "keys")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        write_keys(tmp_path / "keys")


def test_no_key_looks_like_a_variable_in_a_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = iter([(b"a${b" + b"0" * 36, b"1" * 40), (b"2" * 40, b"3" * 40)])
    monkeypatch.setattr(zmq, "curve_keypair", lambda: next(made))
    assert write_keys(tmp_path / "keys") == "2" * 40
    assert "3" * 40 in (tmp_path / "keys").read_text()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"bind": True}, "authorized_keys: got none"),
        ({"bind": False}, "server_key: got none"),
    ],
)
def test_half_a_set_of_keys_is_refused(tmp_path: Path, settings: dict[str, bool], said: str) -> None:
    write_keys(tmp_path / "keys")
    with pytest.raises(ValidationError, match=said):
        SocketSettings.model_validate({**settings, "curve": {"secret_key_file": str(tmp_path / "keys")}})


def test_a_socket_that_cannot_be_opened_says_why(tmp_path: Path, side: Callable[..., Any]) -> None:
    file = tmp_path / "keys"
    write_keys(file)
    curve = {"secret_key_file": str(file), "server_key": "a" * 40}
    config = BusSink.Config(endpoint="tcp://127.0.0.1:1", curve=curve)
    file.write_text("junk")  # after the configuration was checked
    with pytest.raises(BusUnusable, match=r"cannot connect to tcp://127\.0\.0\.1:1: .*keys.*bus keys FILE"):
        BusSink(config, side().context)
