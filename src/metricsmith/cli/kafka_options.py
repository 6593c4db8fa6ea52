"""What all `metricsmith kafka` commands are told: the cluster, which topics, how to show them."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand

from metricsmith.model.duration import parse_duration

if TYPE_CHECKING:
    from metricsmith.sources.kafka.settings import KafkaConfig

SERVERS_VARIABLE, SAMPLE_VARIABLE = "BOOTSTRAP_SERVERS", "SAMPLE_SIZE"
USER_VARIABLE, PASSWORD_VARIABLE = "KAFKA_USERNAME", "KAFKA_PASSWORD"
DEFAULT_WATCH = "5s"
_ABOVE_0 = {"--watch": DEFAULT_WATCH, "--limit": "10m"}
HISTORY_MS = 150_000
"""How far a command looks back, at least: so that `stalled_after` passes while it watches."""
_SECURITY = "Security"
_CLUSTER = "Cluster"


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that all commands share, read and checked."""

    config: KafkaConfig
    as_json: bool
    watch_s: float | None


class KafkaCommand(TyperCommand):
    """A command whose `--watch` may stand without an interval."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Return the arguments that are left over, as TyperCommand does."""
        filled = []
        for number, arg in enumerate(args):
            following = args[number + 1 : number + 2]
            alone = arg == "--watch" and (not following or not following[0][:1].isdigit())
            filled.append(f"--watch={DEFAULT_WATCH}" if alone else arg)
        return super().parse_args(ctx, filled)


def asked(
    bootstrap: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT,...",
            help=f"Some brokers; else ${SERVERS_VARIABLE}, else localhost:9092.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Take the settings of a kafka source in this file.", rich_help_panel=_CLUSTER
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Its name, where the file has several.", rich_help_panel=_CLUSTER),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Topics to look at; matches the whole name.")
    ] = None,
    internal: Annotated[
        bool, typer.Option("--internal", metavar="", help="Topics such as __consumer_offsets too.")
    ] = False,
    isolation_level: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="read_committed leaves out open and aborted transactions.  [read_uncommitted]",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Longest wait for a broker.  [10s]", rich_help_panel=_CLUSTER),
    ] = None,
    tls: Annotated[
        bool, typer.Option("--tls", metavar="", help="Use TLS.", rich_help_panel=_SECURITY)
    ] = False,
    ca_file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Authorities to trust instead.", rich_help_panel=_SECURITY),
    ] = None,
    cert_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Client certificate.", rich_help_panel=_SECURITY)
    ] = None,
    key_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Its key.", rich_help_panel=_SECURITY)
    ] = None,
    mechanism: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.  [SCRAM-SHA-512]",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"SASL user; else ${USER_VARIABLE}.", rich_help_panel=_SECURITY),
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help=f"Holds the password, or the token; else ${PASSWORD_VARIABLE} is it.",
            rich_help_panel=_SECURITY,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON, with --watch a line per reading.")
    ] = False,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="[INTERVAL]", help=f"Read again and again, each {DEFAULT_WATCH} by default, until Ctrl-C."
        ),
    ] = None,
) -> Asked:
    """Return the shared options."""
    watch_s = None if watch is None else seconds(watch, "--watch")
    given: dict[str, Any] = {}
    if topic is not None:
        given["topics"] = {"include": topic}
    if internal:
        given["internal_topics"] = True
    if isolation_level is not None:
        given["isolation_level"] = isolation_level
    if timeout is not None:
        given["timeout"] = timeout
    if tls or ca_file or cert_file or key_file:
        given["tls"] = {"ca_file": ca_file, "cert_file": cert_file, "key_file": key_file}
    if (sasl := _sasl(mechanism, username, password_file, config is None)) is not None:
        given["sasl"] = sasl
    if bootstrap is not None:
        given["bootstrap_servers"] = bootstrap
    if config is None and source is not None:
        raise typer.BadParameter("--source: got a name without a file, wanted --config FILE too")
    if config is None and bootstrap is None and os.environ.get(SERVERS_VARIABLE):
        given["bootstrap_servers"] = os.environ[SERVERS_VARIABLE]
    given["history_window"] = f"{max(HISTORY_MS, int(12_000 * (watch_s or 0)))}ms"
    made = _checked(given)
    if config is not None:
        update = {name: getattr(made, name) for name in given}
        made = _configured(config, source).model_copy(update=update)
    return Asked(_with_tombstones(made, given), as_json, watch_s)


def with_shared(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that takes the shared options besides its own, and gets them as first argument."""
    shared = inspect.signature(asked).parameters
    [_, *own] = inspect.signature(command).parameters.values()

    @wraps(command)
    def run(**given: Any) -> None:
        request = asked(**{name: given.pop(name) for name in shared})
        need_client()
        command(request, **given)

    hints = get_type_hints(asked, include_extras=True) | get_type_hints(command, include_extras=True)
    parameters = [each.replace(annotation=hints[each.name]) for each in (*own, *shared.values())]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def need_client() -> None:
    """Return when the client of Kafka is installed.

    Raises:
        MissingExtra: it is not; says what to install.
    """
    import metricsmith.sources.kafka.client  # noqa: F401


def with_groups(config: KafkaConfig, include: str | None) -> KafkaConfig:
    """Return the settings with the groups of an option, which wins over a file's; "" is none."""
    if include is None:
        return config
    groups = _checked({"groups": {"include": include}}).groups
    return config.model_copy(update={"groups": groups})


def watching(config: KafkaConfig, span_s: float) -> KafkaConfig:
    """Return the settings with a history that holds so long a look."""
    window_ms = max(config.history_window, int(1200 * span_s))
    return config.model_copy(update={"history_window": window_ms})


def seconds(text: str, option: str) -> float:
    """Return the seconds of a duration option.

    Raises:
        typer.BadParameter: not a duration, or 0 where nothing would be done in no time.
    """
    try:
        duration_ms = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None
    if not duration_ms and (such := _ABOVE_0.get(option)):
        raise typer.BadParameter(f'{option}: got "{text}", wanted a time above 0, such as {such}')
    return duration_ms / 1000


def _sasl(
    mechanism: str | None, username: str | None, password_file: str | None, from_environment: bool
) -> dict[str, str] | None:
    """The settings of `sasl`; variables tell who we are only where no file does."""
    user = username or os.environ.get(USER_VARIABLE)
    if not (mechanism or username or password_file) and not (from_environment and user):
        return None
    secret = f"file:{password_file}" if password_file else os.environ.get(PASSWORD_VARIABLE)
    if not secret:
        wanted = f"wanted --password-file FILE, or the variable {PASSWORD_VARIABLE}"
        raise typer.BadParameter(f"got a SASL mechanism or user without password or token, {wanted}")
    named = {"mechanism": mechanism.upper()} if mechanism else {}
    if named.get("mechanism") == "OAUTHBEARER":
        return named | {"token": secret}
    if not user:
        raise typer.BadParameter(f"got a password without user, wanted --username or {USER_VARIABLE}")
    return named | {"username": user, "password": secret}


def _with_tombstones(config: KafkaConfig, given: Mapping[str, Any]) -> KafkaConfig:
    """Return the settings with options that are about checks of tombstones too, and win there as well."""
    update: dict[str, Any] = {}
    if "topics" in given:
        update["topics"] = type(config.topics)()
    if "isolation_level" in given:
        update["isolation_level"] = given["isolation_level"]
    return config.model_copy(update={"tombstones": config.tombstones.model_copy(update=update)})


def _configured(file: Path, name: str | None) -> KafkaConfig:
    from metricsmith.config import load_file
    from metricsmith.model.wording import nearest, one_of
    from metricsmith.sources.kafka.settings import KafkaConfig

    known = {part.name: part for part in load_file(file).of("sources") if part.type == "kafka"}
    if not known:
        raise typer.BadParameter(f"--config: {file}: got no source of type kafka, wanted one")
    if name is None and len(known) > 1:
        raise typer.BadParameter(f"--source: {file} has several, wanted {one_of(sorted(known))}")
    if name is not None and name not in known:
        hint = nearest(name, sorted(known))
        wanted = f"--source: got {name!r}, wanted {one_of(sorted(known))} of {file}"
        raise typer.BadParameter(f"{wanted} ({hint})" if hint else wanted)
    part = known[name] if name is not None else next(iter(known.values()))
    assert isinstance(part.config, KafkaConfig)
    return part.config


def _checked(values: dict[str, Any]) -> KafkaConfig:
    from pydantic import ValidationError

    from metricsmith.model.wording import mistakes
    from metricsmith.sources.kafka.settings import KafkaConfig

    try:
        return KafkaConfig.model_validate(values)
    except ValidationError as error:
        told = (_told(values, *mistake) for mistake in mistakes(KafkaConfig, values, (), error))
        raise typer.BadParameter("; ".join(dict.fromkeys(told))) from None


def _told(values: dict[str, Any], path: tuple[str | int, ...], message: str, hint: str) -> str:
    """A mistake in the words of the command line."""
    first = str(path[0]) if path else ""
    if first == "bootstrap_servers":
        got = str(values[first])[:100]
        return f'--bootstrap: got "{got}", wanted brokers such as kafka-0:9092,kafka-1:9092'
    option = _OPTIONS.get(first, ".".join(map(str, path)))
    return f"{option}: {message}" + (f" ({hint})" if hint else "")


_OPTIONS = {
    "topics": "--topic",
    "groups": "--group",
    "isolation_level": "--isolation-level",
    "timeout": "--timeout",
    "tls": "--tls",
}
