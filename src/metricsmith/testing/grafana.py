"""The JSON model of Grafana's dashboards, as its manual describes it, for what is used here.

A field that is not there is a mistake: Grafana drops what it does not know without a word.

Source:
    Grafana manual, "Dashboard JSON model", "Panel editor", "Variables"; versions 11 and 12.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class DataSource(_Model):
    """Which data source is asked."""

    type: Literal["prometheus", "influxdb"]
    uid: Literal["${datasource}"]


class GridPos(_Model):
    """Place on a grid of 24 columns."""

    h: int = Field(ge=1, le=40)
    w: int = Field(ge=1, le=24)
    x: int = Field(ge=0, le=23)
    y: int = Field(ge=0)


class PrometheusTarget(_Model):
    """A query in PromQL."""

    datasource: DataSource
    expr: str = Field(min_length=1)
    ref_id: str = Field(pattern="^[A-Z]$")
    legend_format: str = ""
    instant: bool = False
    range: bool = True
    format: Literal["time_series", "table", "heatmap"] = "time_series"
    interval: str = ""
    editor_mode: Literal["code", "builder"] = "code"
    exemplar: bool = False


class InfluxTarget(_Model):
    """A query in InfluxQL, as text."""

    datasource: DataSource
    query: str = Field(min_length=1)
    raw_query: Literal[True]
    result_format: Literal["time_series", "table"]
    ref_id: str = Field(pattern="^[A-Z]$")
    alias: str = ""


class FieldDefaults(BaseModel):
    """How values are shown; panels of other kinds have more under `custom`."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    unit: str = ""
    min: float | None = None
    max: float | None = None
    decimals: int | None = None
    color: dict[str, Any] = Field(default_factory=dict)
    custom: dict[str, Any] = Field(default_factory=dict)
    mappings: list[dict[str, Any]] = Field(default_factory=list)
    thresholds: dict[str, Any] = Field(default_factory=dict)
    display_name: str = ""
    no_value: str = ""
    links: list[dict[str, Any]] = Field(default_factory=list)


class FieldConfig(_Model):
    """How values are shown, and where some differ."""

    defaults: FieldDefaults
    overrides: list[dict[str, Any]]


class RowPanel(_Model):
    """A heading."""

    type: Literal["row"]
    id: int
    title: str
    grid_pos: GridPos
    collapsed: bool
    panels: list[Any] = Field(max_length=0)


class QueryPanel(_Model):
    """A panel with queries. `graph`, which Grafana 11 removed, is none."""

    type: Literal["timeseries", "stat", "table", "bargauge", "gauge", "barchart", "heatmap", "state-timeline"]
    id: int
    title: str = Field(min_length=1)
    description: str = Field(min_length=1)
    datasource: DataSource
    grid_pos: GridPos
    field_config: FieldConfig
    options: dict[str, Any]
    targets: list[PrometheusTarget | InfluxTarget] = Field(min_length=1, max_length=26)
    transformations: list[dict[str, Any]] = Field(default_factory=list)
    plugin_version: str = ""


class DataSourceVariable(_Model):
    """The choice of a data source."""

    type: Literal["datasource"]
    name: Literal["datasource"]
    query: Literal["prometheus", "influxdb"]
    label: str
    current: dict[str, Any] = Field(default_factory=dict)
    hide: int = 0
    include_all: bool = False
    multi: bool = False
    options: list[Any] = Field(default_factory=list)
    refresh: int = 1
    regex: str = ""


class QueryVariable(_Model):
    """The choice of values that a query gives."""

    type: Literal["query"]
    name: str = Field(pattern=r"^\w+$")
    label: str
    datasource: DataSource
    query: dict[str, Any] | str
    definition: str = ""
    refresh: Literal[1, 2]
    include_all: bool = False
    multi: bool = False
    all_value: str | None = None
    current: dict[str, Any] = Field(default_factory=dict)
    hide: int = 0
    options: list[Any] = Field(default_factory=list)
    regex: str = ""
    sort: int = 0


class CustomVariable(_Model):
    """The choice among fixed values."""

    type: Literal["custom"]
    name: str = Field(pattern=r"^\w+$")
    label: str
    query: str
    current: dict[str, Any] = Field(default_factory=dict)
    hide: int = 0
    include_all: bool = False
    multi: bool = False
    options: list[Any] = Field(default_factory=list)


class Templating(_Model):
    """The variables."""

    list: list[Annotated[DataSourceVariable | QueryVariable | CustomVariable, Field(discriminator="type")]]


class TimeRange(_Model):
    """What is shown at first."""

    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)

    start: str = Field(alias="from")
    to: str


class Dashboard(_Model):
    """A dashboard as it is imported: without the `id` that each Grafana gives."""

    uid: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,40}$")
    title: str = Field(min_length=1)
    description: str
    tags: list[str]
    timezone: str
    editable: bool
    fiscal_year_start_month: int = Field(0, ge=0, le=11)
    graph_tooltip: Literal[0, 1, 2]
    time: TimeRange
    refresh: str
    schema_version: int = Field(ge=36, le=41)
    panels: list[Annotated[RowPanel | QueryPanel, Field(discriminator="type")]]
    templating: Templating
    annotations: dict[str, Any]
    links: list[dict[str, Any]]
    timepicker: dict[str, Any] = Field(default_factory=dict)
    preload: bool = False
    version: int = 1
