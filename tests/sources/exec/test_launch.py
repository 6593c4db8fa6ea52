"""What an integration is given: arguments, environment, configuration; and when it runs."""

from __future__ import annotations

import getpass
import json
import os
from pathlib import Path

import pytest

from metricsmith.sources.exec.launch import conditions_hold
from metricsmith.sources.exec.masking import hidden_values
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


async def test_a_configuration_is_readable_by_its_user_only(telling, script, monkeypatch):
    if os.getuid() != 0:
        pytest.skip("needs root")
    script('#!/bin/sh\nshift 5\nexec "$@"\n', "sudo")
    monkeypatch.setenv("PATH", f"{Path(script('', 'unused')).parent}:{os.environ['PATH']}")
    told = await telling(
        "stat -c '%U %a' $CONFIG_PATH $(dirname $CONFIG_PATH) | tr '\\n' ' '",
        integration_user="nobody",
        config_of_it={"password": "s3cret"},
    )
    assert told.split() == ["nobody", "600", "nobody", "700"]


@pytest.mark.parametrize("user", ["nobody", "nobody-of-that-name"])
async def test_a_configuration_that_others_could_read_is_refused(execute, monkeypatch, user):
    def not_permitted(path, user, group):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", not_permitted)
    entry = {"name": "test", "exec": "true", "integration_user": user, "config": {"password": "s3cret"}}
    async with execute(config={"integrations": [entry]}) as source:
        await source.first()
        (status,) = source.source.targets().active
        assert source.failures("not_started") == 1
    assert "integration_user" in status.last.error and "s3cret" not in status.last.error


@pytest.mark.parametrize("output", ["echo got $TOKEN >&2", "echo $TOKEN", f"echo {'x' * 40}$TOKEN"])
async def test_secrets_are_not_in_the_log_nor_in_the_status(execute, tmp_path, caplog, output):
    caplog.set_level("INFO")
    secret = "hunter2-" + "correct-horse" * 3
    (tmp_path / "token").write_text(secret)
    entry = {
        "name": "test",
        "exec": ["sh", "-c", f"{output}; cat $CONFIG_PATH; cat $CONFIG_PATH >&2; echo true >&2"],
        "env": {"TOKEN": f"file:{tmp_path}/token", "debug": "true"},
        "config": {"key": "other-secret"},
    }
    async with execute(config={"integrations": [entry]}) as source:
        await source.first()
        (status,) = source.source.targets().active
    told = caplog.text + status.last.error
    assert "***" in told and "test: true" in told
    assert "hunter" not in told and "other-secret" not in told


@pytest.mark.parametrize(
    ("name", "value", "is_hidden"),
    [
        ("BROKERS", "localhost:9092", False),
        ("url", "https://db.example.com:8443/", False),
        ("url", "https://me:hunter2@db.example.com/", True),
        ("PORT", "9092", False),
        ("LOG", "/var/log/x.log", False),
        ("PASSWORD", "9092", True),
        ("API_KEY", "db.example.com", True),
        ("X", "correct horse", True),
        ("X", "dG9rZW4", True),
    ],
)
def test_values_are_hidden_unless_they_are_plainly_none(name, value, is_hidden):
    assert list(hidden_values("", {"a": [{name: value}]})) == ([value] if is_hidden else [])


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
