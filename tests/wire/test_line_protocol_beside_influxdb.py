"""The same lines into ours and into a real InfluxDB: the same points come back, the same lines are refused.

Where we differ on purpose: lines may end with a carriage return, unsigned integers are read (both as in
InfluxDB 2), names are UTF-8 without control characters, and a field may change between float and integer.
"""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from metricsmith.model.series import SeriesTable
from metricsmith.testing.services import Server
from metricsmith.wire.line_protocol import LineDecoder

NOW_MS = 1_700_000_000_000
PIECES = [
    "m",
    "cpu",
    ",",
    ",",
    "=",
    "=",
    " ",
    " ",
    '"',
    "\\",
    "#",
    "a",
    "b",
    "1",
    "2.5",
    "-",
    ".5",
    "1e9",
    "e400",
]
PIECES += ["NaN", "t", "0", "ü", "5", "==", ",,", "m,a=b c=", "m c=1", " 1", "x=1,", ".", "True"]


class Influx:
    """A database of its own in the real server."""

    def __init__(self, server: Server, database: str) -> None:
        self._url, self._database = server.url, database
        self.ask(f'CREATE DATABASE "{database}"')

    def ask(self, statement: str) -> Any:
        form = urllib.parse.urlencode({"q": statement, "db": self._database, "epoch": "ns"}).encode()
        with urllib.request.urlopen(f"{self._url}/query", form, timeout=60) as answer:
            return json.load(answer)["results"][0]

    def write(self, body: bytes, precision: str = "ns") -> str:
        """Return what the server says against a body, nothing when it took it."""
        query = urllib.parse.urlencode({"db": self._database, "precision": precision})
        try:
            with urllib.request.urlopen(f"{self._url}/write?{query}", body, timeout=60):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return str(json.load(error)["error"])

    def points(self) -> list[tuple[str, dict[str, str], str, int, float]]:
        """Return measurement, tags, field, nanoseconds and value of each number that it keeps."""
        found = []
        for series in self.ask("SELECT * FROM /.*/ GROUP BY *").get("series", ()):
            for row in series["values"]:
                time, *values = row
                found += [
                    (
                        series["name"],
                        {k: v for k, v in series["tags"].items() if v},
                        field,
                        time,
                        float(value),
                    )
                    for field, value in zip(series["columns"][1:], values, strict=True)
                    if isinstance(value, int | float)
                ]
        return found


def ours(body: bytes, precision: str = "ns") -> tuple[list[tuple[str, dict[str, str], int, float]], int]:
    """Return metric, tags, milliseconds and value of each sample, and the number of refused lines."""
    series = SeriesTable()
    found = LineDecoder(series).decode(body, now_ms=NOW_MS, precision=precision)
    batch, samples = found.batch, []
    rows = zip(batch.layout.ids.tolist(), batch.times().tolist(), batch.value.tolist(), strict=True)
    for each, time_ms, value in rows:
        labels = series.labels(each)
        samples.append((labels.pop("__name__"), labels, time_ms, value))
    return samples, found.bad_lines


def metric(measurement: str, field: str) -> str:
    return measurement if field == "value" else f"{measurement}_{field}"


def as_sorted(samples: list[Any]) -> list[str]:
    return sorted(json.dumps(each, sort_keys=True) for each in samples)


@pytest.mark.parametrize("precision", ["ns", "u", "ms", "s", "m", "h"])
def test_the_same_points_come_back(influxdb, precision):
    unit_ns = {"ns": 1, "u": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}[precision]
    first, chance = 1_700_000_000 * 10**9 // unit_ns, random.Random(7)
    step = max(1, 1_000_000 // unit_ns)
    lines = []
    for i in range(200):
        host = chance.choice(["a", "b\\ c", "d\\,e\\=f", "größe", "back\\slash", 'quo"te'])
        name = chance.choice(["cpu", "my\\ cpu", "com\\,ma", "eq=ual"])
        fields = [f"usage={chance.uniform(-1e3, 1e3)!r}", f"value={chance.uniform(0, 1e-9)!r}"]
        fields += [f"count={chance.randrange(-(2**53), 2**53)}i", f"odd\\ key={chance.random():.3e}"]
        fields += [f'text="a, b=c {i} \\" \\\\ #"'] if i % 3 == 0 else []
        chance.shuffle(fields)
        lines.append(f"{name},host={host},n={i % 5} {','.join(fields)} {first + i * step}")
    body = "\n".join(["# a comment", *lines, ""]).encode()
    influx = Influx(influxdb, f"same_{precision}")
    assert influx.write(body, precision) == ""
    theirs = [(metric(m, f), tags, ns // 1_000_000, value) for m, tags, f, ns, value in influx.points()]
    samples, bad = ours(body, precision)
    assert bad == 0
    assert as_sorted(samples) == as_sorted(theirs)


def test_the_same_lines_are_refused(influxdb):
    influx, chance = Influx(influxdb, "refused"), random.Random(11)
    lines = ["".join(chance.choices(PIECES, k=chance.randrange(1, 9))) for _ in range(800)]
    # A name with a time in it is refused elsewhere in InfluxDB; a field may not change its type there.
    differ = [
        (line, verdict, bad)
        for line in sorted(set(lines))
        if (verdict := influx.write(line.encode())) is not None
        and bool(bad := ours(line.encode())[1]) != ("unable to parse" in verdict)
    ]
    assert differ == []
