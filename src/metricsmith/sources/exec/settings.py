"""The typed settings of the `exec` source, and of one integration as the infrastructure agent writes it."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from metricsmith.contracts import PartConfig
from metricsmith.model.duration import format_duration
from metricsmith.model.matchers import compile_anchored
from metricsmith.model.settings_types import DurationMs, FilePathText, FilePattern, Secret, SizeBytes

DAY_MS = 86_400_000
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNIT_MS = {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}
MIN_TIMEOUT_MS = 100


def go_duration(value: Any) -> int:
    """Return milliseconds of a duration as Go writes it; a bare number is seconds, as in older files.

    Raises:
        ValueError: not a duration.

    >>> go_duration("1m30s"), go_duration("1.5h"), go_duration("300")
    (90000, 5400000, 300000)
    """
    text = str(value).strip()
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    if rest.isascii() and rest.isdigit() and len(rest) < 12:
        return sign * int(rest) * 1000
    parts = _PART.findall(rest)
    if isinstance(value, bool) or not parts or "".join(n + u for n, u in parts) != rest:
        raise ValueError("a duration such as 30s or 1m30s")
    return sign * round(sum(float(n) * _UNIT_MS[u] for n, u in parts))


def _words(value: Any) -> Any:
    return shlex.split(value) if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _texts(value: Any) -> Any:
    # YAML reads `1000` and `true` as a number and a boolean; to a process and in a label they are text.
    if not isinstance(value, dict):
        return value
    return {str(k): v if isinstance(v, dict | list) else _text(v) for k, v in value.items()}


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _pattern(value: str) -> str:
    compile_anchored(value)
    return value


GoDurationMs = Annotated[
    int, BeforeValidator(go_duration), PlainSerializer(format_duration, when_used="json")
]
Words = Annotated[tuple[str, ...], BeforeValidator(_words), Field(max_length=1000)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts), Field(max_length=200)]
Secrets = Annotated[dict[str, Secret], BeforeValidator(_texts), Field(max_length=1000)]
Patterns = Annotated[tuple[FilePattern, ...], BeforeValidator(_one_or_more), Field(max_length=1000)]
Paths = Annotated[tuple[FilePathText, ...], BeforeValidator(_one_or_more), Field(max_length=1000)]


class When(PartConfig):
    """Conditions of an integration; all must hold each time that it is due."""

    feature: str = Field("", max_length=200, description="A name in `features` of the source.")
    file_exists: FilePathText = Field("", max_length=4096, description="A path that exists.")
    env_exists: Texts = Field(
        default_factory=dict, description="Variables of the agent that have these values."
    )


class Integration(PartConfig):
    """One integration, as the infrastructure agent's files have it."""

    name: str = Field(min_length=1, max_length=200, description="Its name: the label `integration`.")
    exec: Words = Field((), description="Command line, as text or a list; no shell is involved.")
    cli_args: Words = Field((), description="Arguments of the executable called `name` in `binaries`.")
    env: Secrets = Field(
        default_factory=dict, description="Variables for it; names are put in upper case, values are secret."
    )
    interval: GoDurationMs = Field(
        30_000, ge=0, le=DAY_MS, description="Time between runs; `0` runs it once."
    )
    timeout: GoDurationMs = Field(
        120_000, le=DAY_MS, description="Longest time without a document or heartbeat; 0 or less is none."
    )
    integration_user: str = Field(
        "", pattern=r"^([A-Za-z_][A-Za-z0-9_.-]{0,63})?$", description="User that it runs as, by `sudo -n`."
    )
    working_dir: FilePathText = Field("", max_length=4096, description="Directory that it runs in.")
    labels: Texts = Field(default_factory=dict, description="Become labels `label_…`.")
    tags: Texts = Field(default_factory=dict, description="Become labels `tags_…`.")
    inventory_source: str = Field("", max_length=200, description="`category/term` of its inventory.")
    when: When = Field(default_factory=When, description="Conditions.")
    config: str | dict[str, Any] | None = Field(
        None,
        repr=False,
        exclude=True,
        description="Written to a file whose path replaces `${config.path}`; never shown.",
    )
    config_template_path: FilePathText = Field("", max_length=4096, description="A file to use as `config`.")
    logs_queue_size: int = Field(0, ge=0, description="Accepted and not used.")

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Integration:
        if self.exec and self.cli_args:
            raise ValueError("got exec and cli_args, wanted one of them")
        if self.config is not None and self.config_template_path:
            raise ValueError("got config and config_template_path, wanted one of them")
        return self

    @property
    def timeout_ms(self) -> int | None:
        """Longest silence, None for any."""
        return max(self.timeout, MIN_TIMEOUT_MS) if self.timeout > 0 else None


class ExecConfig(PartConfig):
    """Settings of the `exec` source."""

    integrations: tuple[Integration, ...] = Field(
        (), max_length=1000, description="Integrations, as in the infrastructure agent's files."
    )
    files: Patterns = Field(
        (), description="Integration files of the infrastructure agent; globs are allowed."
    )
    definitions: Patterns = Field((), description="Legacy definition files; globs are allowed.")
    binaries: Paths = Field(
        (
            "/var/db/newrelic-infra/custom-integrations",
            "/var/db/newrelic-infra/newrelic-integrations/bin",
            "/opt/newrelic-infra/custom-integrations",
            "/opt/newrelic-infra/newrelic-integrations/bin",
        ),
        description="Directories of executables that are given by name only.",
    )
    refresh: DurationMs = Field(30_000, ge=100, le=DAY_MS, description="How often files are looked at.")
    repeat: DurationMs = Field(
        60_000,
        le=DAY_MS,
        description="Between runs, values are told again that often, as queries look back five minutes; `0`:"
        " never.",
    )
    min_interval: DurationMs = Field(
        15_000, ge=10, le=DAY_MS, description="Shorter intervals of integrations are raised to it."
    )
    features: tuple[str, ...] = Field((), max_length=1000, description="What `when: {feature: …}` may name.")
    passthrough_environment: tuple[Annotated[str, AfterValidator(_pattern)], ...] = Field(
        (),
        max_length=100,
        description="Variables of the agent that integrations get (RE2, whole names), besides `PATH`, `HOME`,"
        " `LANG`, `LC_…`, `TZ`, `TMPDIR` and `USER`.",
    )
    not_labels: Annotated[str, AfterValidator(_pattern)] = Field(
        ".*(Time|Time[Ss]tamp|Date)|(.*[._-])?(time|timestamp|date)",
        max_length=10_000,
        description="Text attributes that do not become labels (RE2, whole names), as each value is a new"
        " series; one that holds a number becomes a gauge.",
    )
    max_line: SizeBytes = Field(8 << 20, ge=1024, le=256 << 20, description="Largest document.")
    max_output: SizeBytes = Field(
        64 << 20, ge=1024, description="Most output within an interval, stderr included; then it is killed."
    )
    max_lines: int = Field(
        10_000, ge=1, description="Most lines within an interval, stderr included; then it is killed."
    )
    max_metrics: int = Field(100_000, ge=1, description="Most metrics, samples and events in a document.")
    max_series: int = Field(
        50_000, ge=1, description="Most different series of an integration within an hour."
    )
    max_labels: int = Field(64, ge=1, le=1000, description="Most labels of a series.")
    max_label_length: int = Field(1024, ge=1, le=65_536, description="Longest value of a label, in bytes.")
