"""The Compose file is of the format, its containers may do little, and find one another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.config import load_text
from metricsmith.errors import ConfigError
from metricsmith.integration.generate.compose import MAIN, SECRETS, compose
from metricsmith.integration.generate.configured import Configured
from metricsmith.integration.generate.files import Generated, Outcome, write
from metricsmith.integration.generate.image import DEFAULT
from metricsmith.testing.compose_schema import ComposeFile

Configure = Callable[..., Configured]
CONSUMER = """
service: {type: consumer}
bus: {endpoint: "tcp://localhost:11001"}
storage: {type: influxdb, url: "http://localhost:8086/x", database: m, username: plantd, password: "hunt$er2"}
sinks: [{type: newrelic, name: nr, api_key: "${NR_KEY}", region: eu}]
rules: {packs: [agent], files: [mine.yml]}
"""
RULES = "groups: [{name: mine, rules: [{alert: A, expr: b > 1, annotations: {summary: '{{ $value }}'}}]}]\n"


@pytest.fixture
def made(configure: Configure, tmp_path: Path) -> Generated:
    (tmp_path / "mine.yml").write_text(RULES)
    return compose(configure(CONSUMER), DEFAULT)


def read(generated: Generated) -> ComposeFile:
    return ComposeFile.model_validate(yaml.safe_load(generated.files[MAIN]))


def test_it_is_of_the_format_and_what_it_names_is_there(made: Generated) -> None:
    found = read(made)
    assert list(found.services) == ["metricsmith", "metricsmith-producer", "influxdb"]
    for service in found.services.values():
        assert set(service.depends_on) <= found.services.keys()
        for volume in service.volumes:
            source = volume.partition(":")[0]
            folder = source.removeprefix("./")
            assert source[0] == "/" or source in found.volumes or f"{folder}/metricsmith.yaml" in made.files
    assert "latest" not in made.files[MAIN]


def test_containers_may_do_little(made: Generated) -> None:
    for name, service in read(made).services.items():
        assert service.cap_drop == ["ALL"] and service.security_opt == ["no-new-privileges:true"], name
        if name != "influxdb":
            assert service.read_only and service.user == "10001:10001" and service.mem_limit
            written = [v for v in service.volumes if ":ro" not in v]
            assert written == [f"{name}-data:/var/lib/metricsmith"]


def test_only_the_consumer_is_reached_from_outside_and_from_this_machine_alone(made: Generated) -> None:
    ports = {name: service.ports for name, service in read(made).services.items() if service.ports}
    assert ports == {"metricsmith": ["127.0.0.1:9480:9480"]}


def test_agents_find_one_another_and_the_store(made: Generated) -> None:
    given = {"NR_KEY": "k" * 40, "SECRET_STORAGE_PASSWORD": "p", "NODE_NAME": "here"}
    consumer = load_text(made.files["metricsmith/metricsmith.yaml"], "c.yaml", given)
    producer = load_text(made.files["metricsmith-producer/metricsmith.yaml"], "p.yaml", given)
    store: Any = consumer.store.config
    assert store.url == "http://influxdb:8086"
    assert consumer.settings.bus is not None and producer.settings.bus is not None
    assert consumer.settings.bus.endpoint == "tcp://0.0.0.0:11001"
    assert producer.settings.bus.endpoint == "tcp://metricsmith:11001"
    assert RULES in made.files["metricsmith/mine.yml"]
    assert "metricsmith-producer/mine.yml" not in made.files


def test_secrets_are_in_a_file_of_their_own_as_they_are(made: Generated, tmp_path: Path) -> None:
    lines = made.files[SECRETS].splitlines()[1:]
    assert lines == ["NR_KEY=", "SECRET_STORAGE_PASSWORD=hunt$er2"]
    assert not [name for name, text in made.files.items() if "hunt" in text and name != SECRETS]
    write(made, tmp_path / "out")
    assert (tmp_path / "out" / SECRETS).stat().st_mode & 0o777 == 0o600
    assert set(write(made, tmp_path / "out").values()) == {Outcome.UNCHANGED}
    (service,) = [s for s in read(made).services.values() if s.env_file]
    assert service.env_file[0].path == SECRETS


def test_the_user_of_the_container_can_read_what_is_mounted(made: Generated, tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        write(made, tmp_path / "out")
    finally:
        os.umask(former)
    for path in (tmp_path / "out" / "metricsmith").iterdir():
        assert path.stat().st_mode & 0o777 == 0o644
        assert path.parent.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / SECRETS).stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_a_secret_of_several_lines_is_told(configure: Configure) -> None:
    text = 'storage: {type: influxdb, url: "http://i:1", database: d, token: "a\\nb"}'
    with pytest.raises(ConfigError, match="SECRET_STORAGE_TOKEN: got several lines"):
        compose(configure(text), DEFAULT)


@pytest.mark.parametrize("url", ["http://localhost:18086", "https://[::1]/pre?token=abc", "${STORE}"])
def test_the_container_of_a_store_is_reached_at_its_own_port(url: str, configure: Configure) -> None:
    text = f'storage: {{type: influxdb, url: "{url}", database: d}}'
    done = compose(configure(text, STORE="http://127.0.0.1:8086"), DEFAULT)
    config = load_text(done.files["metricsmith/metricsmith.yaml"], "c.yaml", {}).store.config
    assert config.url == "http://influxdb:8086"  # type: ignore[attr-defined]
    assert SECRETS not in done.files, "nothing of the other address is needed"


def test_a_store_elsewhere_stays_there(configure: Configure) -> None:
    found = read(compose(configure("storage: {type: prometheus, url: 'http://prom.example:9090'}"), DEFAULT))
    assert list(found.services) == ["metricsmith"]
    here = read(compose(configure("storage: {type: prometheus, url: 'http://127.0.0.1:9090'}"), DEFAULT))
    assert "--web.enable-remote-write-receiver" in here.services["prometheus"].command
