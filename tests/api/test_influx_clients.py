"""InfluxDB's own client libraries deliver: 1.x and 2.x, as their documentation uses them."""

from __future__ import annotations

import asyncio
import urllib.parse
from datetime import UTC, datetime
from typing import Any

import pytest

NOW_S = 1_700_000_000


async def values(api: Any, query: str) -> dict[str, str]:
    found = (await api.get("/api/v1/query", query=query, time=str(NOW_S))).data["result"]
    return {
        ",".join(f"{k}={v}" for k, v in sorted(each["metric"].items())): each["value"][1] for each in found
    }


@pytest.mark.parametrize("compressed", [False, True])
async def test_client_library_of_1(api, compressed):
    from influxdb import InfluxDBClient  # tests of it only

    def write(url: str) -> None:
        address = urllib.parse.urlsplit(url)
        client = InfluxDBClient(address.hostname, address.port, "user", "secret", "plant", gzip=compressed)
        assert client.ping()
        client.create_database("plant")
        assert client.get_list_database() == []
        point = {
            "measurement": "kettle",
            "tags": {"line": "a b", "site": "x,y"},
            "fields": {"temperature": 65.5, "level": 3, "on": True, "state": 'boi"ling'},
        }
        times = [datetime.fromtimestamp(NOW_S - ago, UTC) for ago in (15, 0)]
        assert client.write_points([{**point, "time": time} for time in times])
        assert client.write_points([{**point, "time": NOW_S}], time_precision="s")
        client.close()

    async with api.served() as url:
        await asyncio.to_thread(write, url)
    labels = "db=plant,line=a b,site=x,y"
    assert await values(api, '{__name__=~"kettle_.*"}') == {
        f"__name__=kettle_level,{labels}": "3",
        f"__name__=kettle_on,{labels}": "1",
        f"__name__=kettle_temperature,{labels}": "65.5",
    }
    assert api.state["accepted"] == 9


@pytest.mark.parametrize("compressed", [False, True])
async def test_client_library_of_2(api, compressed):
    from influxdb_client import InfluxDBClient, Point, WritePrecision
    from influxdb_client.client.exceptions import InfluxDBError
    from influxdb_client.client.write_api import SYNCHRONOUS

    def write(url: str) -> str:
        with InfluxDBClient(url, token="secret", org="us", enable_gzip=compressed) as client:
            assert client.ping()
            with client.write_api(write_options=SYNCHRONOUS) as writer:
                point = Point("cpu").tag("host", "a").field("usage", 1.5).field("value", 2)
                writer.write("metrics", record=point.time(NOW_S, WritePrecision.S))
                try:
                    writer.write("metrics", record="no line at all")
                except InfluxDBError as error:
                    return str(error.message)
        return ""

    async with api.served() as url:
        assert "invalid field format (line 1)" in await asyncio.to_thread(write, url)
    assert await values(api, '{__name__=~"cpu.*"}') == {
        "__name__=cpu,db=metrics,host=a": "2",
        "__name__=cpu_usage,db=metrics,host=a": "1.5",
    }
