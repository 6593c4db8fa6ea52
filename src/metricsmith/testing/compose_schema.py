"""The Compose file format, as its specification describes it, for what is generated.

A field that is not there is a mistake, as it is to `docker compose config`.

Source:
    Compose Specification, services and volumes top-level elements; Docker Compose 2.30 or newer.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]+$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class EnvFile(_Model):
    """A file of variables."""

    path: str
    required: bool = True
    format: Literal["raw"]


class Service(_Model):
    """A container."""

    image: str = Field(pattern=r"^[a-z0-9./_-]+:[A-Za-z0-9._-]+$")
    command: list[str] = Field(default_factory=list)
    user: Annotated[str, Field(pattern=r"^\d+:\d+$")] | None = None
    read_only: bool = False
    init: bool = False
    cap_drop: list[str]
    security_opt: list[str]
    tmpfs: list[str] = Field(default_factory=list)
    mem_limit: Annotated[str, Field(pattern=r"^\d+[kmg]$")] | None = None
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    stop_grace_period: Annotated[str, Field(pattern=r"^\d+[sm]$")] | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    env_file: list[EnvFile] = Field(default_factory=list)
    ports: list[Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$")]] = Field(default_factory=list)
    expose: list[Annotated[str, Field(pattern=r"^\d+$")]] = Field(default_factory=list)
    volumes: list[Annotated[str, Field(pattern=r"^[^:]+:/[^:]*(:ro(,rslave)?)?$")]]
    depends_on: list[_Name] = Field(default_factory=list)


class Empty(_Model):
    """A volume with nothing to say of it."""


class ComposeFile(_Model):
    """A whole file; `version`, which is obsolete, is not in it."""

    name: _Name
    services: dict[_Name, Service] = Field(min_length=1)
    volumes: dict[_Name, Empty]
