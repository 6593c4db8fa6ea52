"""Settings of the store that is an InfluxDB."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from metricsmith.net.influx_settings import InfluxName, InfluxSettings
from metricsmith.net.settings import Access
from metricsmith.store_contracts import StoreConfig


class InfluxdbConfig(StoreConfig, InfluxSettings):
    """Where the database is, and how series are kept in it."""

    database: InfluxName = Field("metricsmith", description="Database; created where it is not there.")

    def sink(self) -> dict[str, Any]:
        """Return the settings of the sink that writes what the store reads.

        A database that is created keeps points for `retention`. One that was
        there is only changed when the retention was set on purpose: a shorter
        one deletes.
        """
        shared = {name: getattr(self, name) for name in InfluxSettings.model_fields}
        return {
            **shared,
            **{name: getattr(self, name) for name in Access.model_fields},
            "database": self.database,
            "retention": self.retention,
            "create": True,
            "alter": "retention" in self.model_fields_set,
            "ends": True,
        }
