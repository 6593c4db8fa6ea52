"""What it takes to start an integration: its command line, its environment, its conditions."""

from __future__ import annotations

import getpass
import os
import pwd
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from metricsmith.errors import SourceError
from metricsmith.model.matchers import compile_anchored
from metricsmith.model.settings_types import file_of, reveal
from metricsmith.sources.exec.files import find_executable
from metricsmith.sources.exec.masking import hidden_values
from metricsmith.sources.exec.process import Command
from metricsmith.sources.exec.settings import ExecConfig, Integration, When

CONFIG_PATH = "${config.path}"
MAX_CONFIG_BYTES = 4 << 20
PASSED_ON = "PATH|HOME|LANG|LC_.*|TZ|TMPDIR|USER|LOGNAME"
"""Nothing else of the agent's environment: secrets of its own stand there."""


def conditions_hold(when: When, features: tuple[str, ...], environment: Mapping[str, str]) -> bool:
    """Return whether an integration is to run now."""
    return (
        (not when.feature or when.feature in features)
        and (not when.file_exists or Path(when.file_exists).exists())
        and all(environment.get(name) == value for name, value in when.env_exists.items())
    )


@contextmanager
def command_of(integration: Integration, config: ExecConfig, interval_ms: int) -> Iterator[Command]:
    """Give the command of an integration, with its configuration in a file as long as it is needed.

    Raises:
        SourceError: there is no such executable, file or secret.
    """
    with tempfile.TemporaryDirectory(prefix="metricsmith-exec-") as folder:
        try:
            path = _config_file(integration, Path(folder))
            own = {n.upper(): reveal(v).replace(CONFIG_PATH, path) for n, v in integration.env.items()}
            environment = {**_environment(config, interval_ms, path), **own}
        except (OSError, ValueError) as error:
            raise SourceError(str(error)) from None
        passed = _passed_on(config.passthrough_environment)
        from_files = [own[n.upper()] for n, v in integration.env.items() if file_of(v) is not None]
        secrets = [*from_files, *hidden_values("", {**passed, **own}), *hidden_values("", integration.config)]
        arguments = [word.replace(CONFIG_PATH, path) for word in _arguments(integration, config)]
        if integration.integration_user and integration.integration_user != _user():
            arguments = ["sudo", "-E", "-n", "-u", integration.integration_user, "--", *arguments]
            if path:
                _give_to(integration.integration_user, folder, path)
        yield Command(
            arguments,
            environment,
            integration.working_dir or None,
            integration.timeout_ms,
            max(interval_ms, config.min_interval),
            config.max_line,
            config.max_lines,
            config.max_output,
            secrets,
        )


def _arguments(integration: Integration, config: ExecConfig) -> list[str]:
    if integration.exec:
        return list(integration.exec)
    found = find_executable(integration.name, config.binaries)
    if found is None:
        raise SourceError(
            f'no executable "{integration.name}" in {", ".join(config.binaries) or "no directory"}'
        )
    return [found, *integration.cli_args]


def _give_to(user: str, *paths: str) -> None:
    """Make files another user's, who alone can read them: secrets stand there.

    Raises:
        SourceError: that cannot be done.
    """
    try:
        number = pwd.getpwnam(user).pw_uid
        for path in reversed(paths):
            os.chown(path, number, -1)
    except KeyError:
        raise SourceError(f'integration_user: got "{user}", wanted a user of this machine') from None
    except OSError as error:
        raise SourceError(
            f"integration_user: {user} alone cannot be given the file with `config` ({error.strerror}); "
            "run the agent as root, or give what is needed by `env`"
        ) from None


def _passed_on(names: Iterable[str]) -> dict[str, str]:
    patterns = [compile_anchored(name) for name in names]
    return {n: v for n, v in os.environ.items() if any(p.fullmatch(n) for p in patterns)}


def _environment(config: ExecConfig, interval_ms: int, config_path: str) -> dict[str, str]:
    passed = _passed_on((PASSED_ON, *config.passthrough_environment))
    agent = {
        "NRI_HOST_ID": socket.gethostname(),
        "NRI_CONFIG_INTERVAL": f"{interval_ms / 1000:g}s",
        "TEMP_DIR": tempfile.gettempdir(),
    }
    if config_path:
        agent["CONFIG_PATH"] = config_path
    return {**passed, **agent}


def _config_file(integration: Integration, folder: Path) -> str:
    """Write the configuration that the integration is given and return its path, empty for none."""
    content: Any = integration.config
    if integration.config_template_path:
        with Path(integration.config_template_path).open("rb") as file:
            content = file.read(MAX_CONFIG_BYTES).decode()
    if content is None:
        return ""
    text = content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    path = folder / "config.yml"
    path.touch(0o600)
    path.write_text(text)
    return str(path)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return str(os.getuid())
