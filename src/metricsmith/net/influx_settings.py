"""Settings of who talks to InfluxDB: where it is, which database, as whom, and how series are named there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from metricsmith.model.settings_types import Secret
from metricsmith.net.addresses import HttpUrl
from metricsmith.net.settings import Access, Authorization, BasicAuth
from metricsmith.wire.line_protocol_places import DEFAULT_TEMPLATE, check_template

MAX_NAME = 200
Precision = Literal["ns", "us", "ms", "s"]


def _check_name(name: str) -> str:
    if not name.isprintable():
        raise ValueError("got control characters, wanted a name")
    return name


InfluxName = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_check_name)]
MeasurementTemplate = Annotated[str, AfterValidator(check_template)]


class InfluxSettings(Access):
    """What the sink and the store share."""

    url: HttpUrl = Field("http://127.0.0.1:8086", description="Address of the server.")
    retention_policy: InfluxName | None = Field(
        None, description="Retention policy of the database; default the database's own default."
    )
    username: str | None = Field(None, max_length=200, description="User; short for `basic_auth`.")
    password: Secret | None = Field(None, description="Password; `${ENV}` and `file:PATH` are understood.")
    token: Secret | None = Field(
        None, description="Token of InfluxDB 2; `${ENV}` and `file:PATH` are understood."
    )
    precision: Precision = Field("s", description="Unit of the times that are written.")
    measurement: MeasurementTemplate = Field(
        DEFAULT_TEMPLATE,
        description="Measurement of a series; `{LABEL}` is the value of a label, which then is no tag, and"
        " `{name}` the metric, whose field then is `value`.",
    )

    @model_validator(mode="after")
    def _one_way_in(self) -> InfluxSettings:
        ways = ("username", "token", "basic_auth", "authorization")
        if len(got := [way for way in ways if getattr(self, way) is not None]) > 1:
            raise ValueError(f"got {' and '.join(got)}, wanted at most one of them")
        if self.password is not None and self.username is None:
            raise ValueError("got a password without username, wanted both or none")
        return self

    def access(self) -> Access:
        """Return how requests are made."""
        basic, other = self.basic_auth, self.authorization
        if self.username is not None:
            basic = BasicAuth(username=self.username, password=self.password)
        if self.token is not None:
            other = Authorization(type="Token", credentials=self.token)
        return Access(basic_auth=basic, authorization=other, tls=self.tls)

    def address(self) -> str:
        """Return the address that paths are added to."""
        return self.url.partition("?")[0].rstrip("/")
