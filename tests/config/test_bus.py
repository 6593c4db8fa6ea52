"""Mistakes in the settings of the bus are told before anything runs, in words that help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metricsmith.net.bus_keys import write_keys

Problems = Callable[..., list[str]]
KEY = "k" * 40
BUS = "bus: {ack_endpoint: 'tcp://h:1', curve: {secret_key_file: 'FILE'KEYS}}\nservice: {type: MODE}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "holds no keys"),
        (b"\xff\x00junk\n" * 100, "holds no keys"),
        (b'public-key = "' + b"k" * 40 + b'"', "holds no secret key"),
        (f'public-key = "{KEY}"\nsecret-key = "{KEY}"'.encode(), "does not belong to its secret key"),
    ],
)
def test_a_file_without_keys_is_named(
    problems: Problems, tmp_path: Path, content: bytes | None, said: str
) -> None:
    file = tmp_path / "bus.key"
    if content is not None:
        file.write_bytes(content)
    text = (
        BUS.replace("FILE", str(file)).replace("KEYS", f", server_key: '{KEY}'").replace("MODE", "producer")
    )
    (problem,) = problems(text)
    assert problem.startswith("m.yaml:1: bus.curve.secret_key_file: ")
    assert str(file) in problem and said in problem and "`metricsmith bus keys FILE` makes one" in problem


@pytest.mark.parametrize(
    ("mode", "keys", "said"),
    [
        ("consumer", f", server_key: '{KEY}'", "bus.curve.authorized_keys: got none"),
        ("producer", f", authorized_keys: ['{KEY}']", "bus.curve.server_key: got none"),
        ("producer", ", server_key: abc", "wanted 40 characters, as `metricsmith bus keys` prints them"),
    ],
)
def test_keys_that_a_mode_needs_are_wanted(
    problems: Problems, tmp_path: Path, mode: str, keys: str, said: str
) -> None:
    write_keys(tmp_path / "bus.key")
    text = BUS.replace("FILE", str(tmp_path / "bus.key")).replace("KEYS", keys).replace("MODE", mode)
    (problem,) = problems(text)
    assert said in problem


def test_an_address_is_shown_by_an_example(problems: Problems) -> None:
    (problem,) = problems("bus: {ack_endpoint: '127.0.0.1:21102'}")
    wanted = 'got "127.0.0.1:21102", wanted an address such as tcp://HOST:11002'
    assert problem == f"m.yaml:1: bus.ack_endpoint: {wanted}"
