"""Settings of the `influxdb` sink."""

from __future__ import annotations

from urllib.parse import urlencode

from pydantic import Field, model_validator

from metricsmith.contracts import Compressing, SinkConfig
from metricsmith.model.settings_types import DurationMs
from metricsmith.net.influx_settings import InfluxName, InfluxSettings


class InfluxdbSinkConfig(SinkConfig, Compressing, InfluxSettings):
    """Settings of an `influxdb` sink: a `database` of InfluxDB 1, or a `bucket` of InfluxDB 2."""

    database: InfluxName | None = Field(None, description="Database of InfluxDB 1.")
    bucket: InfluxName | None = Field(None, description="Bucket of InfluxDB 2, instead of `database`.")
    org: InfluxName | None = Field(None, description="Organisation of the bucket.")
    create: bool = Field(False, description="Create the database and its policy where they are not there.")
    retention: DurationMs | None = Field(
        None,
        ge=3_600_000,
        description="How long a policy that is created keeps points, default for ever; older samples are not"
        " sent, and counted.",
    )
    alter: bool = Field(False, description="Give a policy that is there the `retention`, too.")
    timeout: DurationMs = Field(30_000, ge=100, le=600_000, description="Longest wait for an answer.")
    ends: bool = Field(
        False,
        description="Write where series end, in a text field `metricsmith_ended`; the store reads it.",
    )

    @model_validator(mode="after")
    def _one_target(self) -> InfluxdbSinkConfig:
        if (self.database is None) == (self.bucket is None):
            raise ValueError("exactly one of database (InfluxDB 1) and bucket (InfluxDB 2)")
        if self.bucket is not None:
            for name in ("create", "alter", "retention_policy"):
                if getattr(self, name):
                    raise ValueError(f"got {name} with a bucket, wanted it with a database only")
        elif self.org is not None:
            raise ValueError("got org without bucket, wanted it with a bucket only")
        if self.alter and self.retention is None:
            raise ValueError("got alter without retention, wanted how long the policy is to keep points")
        return self

    def write_url(self) -> str:
        """Return where points are posted."""
        if self.bucket is not None:
            query = {"bucket": self.bucket, "precision": self.precision}
            if self.org is not None:
                query["org"] = self.org
            return f"{self.address()}/api/v2/write?{urlencode(query)}"
        assert self.database is not None
        # The microsecond has another name in InfluxDB 1.
        query = {"db": self.database, "precision": "u" if self.precision == "us" else self.precision}
        if self.retention_policy is not None:
            query["rp"] = self.retention_policy
        return f"{self.address()}/write?{urlencode(query)}"
