"""What an integration is given: arguments, environment, configuration; and when it runs."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path

import pytest

from metricsmith.sources.exec.launch import conditions_hold
from metricsmith.sources.exec.settings import ExecConfig, Integration, When, go_duration

TELL = """#!/bin/sh
printf '{"protocol_version":3,"data":[{"metrics":[{"event_type":"T","x":1,"what":"%s"}]}]}\\n' "$(SCRIPT)"
"""


@pytest.fixture
def telling(execute, script):
    """Run an integration that tells what a shell expression gives in it."""

    async def tell(expression, config=None, arguments=(), config_of_it=None, **entry):
        path = script(TELL.replace("SCRIPT", expression))
        settings = {"name": "test", "exec": [path, *arguments], "config": config_of_it, **entry}
        async with execute(config={**(config or {}), "integrations": [settings]}) as source:
            got = await source.first()
        (name,) = [name for name in got if name.startswith("t_x")]
        return name.partition('what="')[2].removesuffix('"}')

    return tell


async def test_only_what_is_named_of_the_environment_is_passed_on(telling, monkeypatch):
    monkeypatch.setenv("METRICSMITH_STORAGE_PASSWORD", "hush")
    monkeypatch.setenv("KAFKA_HOME", "/opt/kafka")
    told = await telling(
        "env | cut -d= -f1 | sort | tr '\\n' ' '", config={"passthrough_environment": ["KAFKA_.*"]}
    )
    assert "METRICSMITH" not in told
    assert {"KAFKA_HOME", "PATH", "NRI_HOST_ID", "NRI_CONFIG_INTERVAL"} <= set(told.split())


async def test_names_of_variables_are_in_upper_case_and_values_are_text(telling):
    assert await telling("echo $PORT $DEBUG", env={"port": 8080, "Debug": True}) == "8080 true"


async def test_secrets_come_from_files_and_are_never_shown(telling, tmp_path):
    (tmp_path / "password").write_text("s3cret\n")
    entry = {"env": {"PASSWORD": f"file:{tmp_path}/password"}}
    assert await telling("echo $PASSWORD", **entry) == "s3cret"
    hidden = {"env": {"PASSWORD": "s3cret"}, "config": {"users": [{"key": "s3cret"}]}}
    integration = Integration.model_validate({"name": "x", **hidden})
    assert "s3cret" not in repr(integration) + integration.model_dump_json()


async def test_a_configuration_is_a_file_whose_path_is_put_in(telling):
    told = await telling(
        "cat $1 $CONFIG_PATH | tr '\\n' ' '",
        arguments=("${config.path}",),
        config_of_it={"host": "h", "ports": [1]},
    )
    assert told.split() == ["host:", "h", "ports:", "-", "1"] * 2


async def test_another_user_is_asked_for_by_sudo_without_a_password(telling, script, monkeypatch):
    script('#!/bin/sh\nexport ASKED="$*"\nshift 5\nexec "$@"\n', "sudo")
    monkeypatch.setenv("PATH", f"{Path(script('', 'unused')).parent}:{os.environ['PATH']}")
    told = await telling("echo $ASKED $MODE", integration_user="nobody", env={"mode": "all"})
    assert told.startswith("-E -n -u nobody -- /") and told.endswith("/integration all")
    assert await telling("echo $ASKED", integration_user=getpass.getuser()) == "", "that is who runs already"


async def test_an_interval_of_zero_is_one_run(execute, printing):
    async with execute(printing(x=1), interval="0", config={"refresh": "1d"}) as source:
        assert (await source.first())['test_x{integration="test"}'] == 1
        await source.advance(3600, sleepers=1)
        assert source.recorder.waiting() == 0


async def test_the_working_directory(telling, tmp_path):
    assert await telling("pwd", working_dir=str(tmp_path)) == str(tmp_path)


async def test_an_executable_is_found_by_its_name(execute, script, tmp_path):
    script(TELL.replace("SCRIPT", "echo $1"), "nri-test")
    settings = {
        "binaries": ["/nowhere", str(tmp_path)],
        "integrations": [{"name": "nri-test", "cli_args": "-v"}],
    }
    async with execute(config=settings) as source:
        got = await source.first()
    assert any('what="-v"' in name for name in got)


async def test_the_output_of_a_json_tool_is_no_shell(execute):
    text = json.dumps({"protocol_version": 3, "data": [{"metrics": [{"event_type": "T", "x": 1}]}]})
    async with execute(f"echo '{text}'") as source:
        got = await source.first()
    assert got['t_x{integration="test"}'] == 1


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"feature": "docker"}, True),
        ({"feature": "k8s"}, False),
        ({"file_exists": "/"}, True),
        ({"file_exists": "/nowhere"}, False),
        ({"env_exists": {"A": 1}}, True),
        ({"env_exists": {"A": "2"}}, False),
        ({"env_exists": {"B": ""}}, False),
        ({"feature": "docker", "file_exists": "/nowhere"}, False),
    ],
)
def test_conditions_must_all_hold(when, holds):
    assert conditions_hold(When.model_validate(when), ("docker",), {"A": "1"}) is holds


async def test_it_runs_as_soon_as_its_conditions_hold(execute, printing, tmp_path):
    when = {"file_exists": str(tmp_path / "ready")}
    async with execute(printing(x=1), interval="15s", when=when) as source:
        await source.advance(10)
        await source.advance(15)
        assert source.recorder.waiting() == 0
        (tmp_path / "ready").touch()
        await source.advance(15)
        assert (await source.reading())['test_x{integration="test"}'] == 1


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("30s", 30_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        (30, 30_000),
        ("0", 0),
        ("-1s", -1000),
        ("150ms", 150),
    ],
)
def test_durations_are_those_of_go(text, want):
    assert go_duration(text) == want


@pytest.mark.parametrize("text", ["", "s", "1d", "30 s", "1s2", True, "1e3s", "9" * 20])
def test_other_durations_are_refused(text):
    with pytest.raises(ValueError, match="a duration such as 30s"):
        go_duration(text)


@pytest.mark.parametrize(
    "entry",
    [
        {"exec": "x", "cli_args": "y"},
        {"exec": "x", "config": "a", "config_template_path": "b"},
        {"exec": "x", "integration_user": "root; rm"},
        {"exec": "x", "interval": "1 fortnight"},
        {"exec": "'unclosed"},
        {"exec": "x", "colour": "red"},
    ],
)
def test_a_mistake_in_an_integration_is_refused(entry):
    with pytest.raises(ValueError):
        ExecConfig.model_validate({"integrations": [{"name": "x", **entry}]})
