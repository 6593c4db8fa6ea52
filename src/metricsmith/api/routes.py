"""The form of the route table: each operation stands with its parameters, body and answers.

Routing and the OpenAPI document are made from the same objects, so they cannot part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from metricsmith.api.errors import ApiError, prometheus_error
from metricsmith.api.schemas import Schema

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer", "minimum": 0}
TIME: Schema = {"type": "string", "description": "Unix seconds, or RFC 3339."}
DURATION: Schema = {"type": "string", "description": "Such as 5m, or seconds."}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the address, or of the form of a POST."""

    name: str
    description: str
    schema: Schema = field(default_factory=lambda: TEXT)
    required: bool = False
    repeated: bool = False
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries; `also` has the schemas of other forms by their media types."""

    media_type: str
    schema: Schema
    example: Any = None
    also: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that the API does.

    `answer` is the schema of a success. `always` serves it even while the
    agent starts or stops (`AgentStatus.serving`).
    """

    path: str
    methods: tuple[str, ...]
    handler: Handler
    summary: str
    group: str
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "The answer."})
    media_type: str = "application/json"
    error: Callable[[ApiError], Response] = prometheus_error
    always: bool = False
    answer: Schema | None = None

    @property
    def form(self) -> bool:
        """Whether parameters may come as a form."""
        return self.methods == ("GET", "POST")
