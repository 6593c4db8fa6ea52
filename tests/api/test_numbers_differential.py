"""Any float64 and any time, sent to the real Prometheus and to us, comes back as the same text."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import settings

NOW_MS = 1_700_000_000_000
STALE_BITS = 0x7FF0000000000002


def odd_values(random: np.random.Generator, count: int) -> list[float]:
    """Values of all magnitudes: random bits, powers of ten and their neighbours, whole and plain numbers."""
    bits = random.integers(0, 2**64, count, dtype=np.uint64)
    bits = bits[bits != STALE_BITS]
    powers = np.array([float(f"{sign}1e{e}") for e in range(-30, 31) for sign in ("", "-")])
    edges = [*powers, *np.nextafter(powers, np.inf), *np.nextafter(powers, -np.inf)]
    digits = random.integers(1, 2**53, count // 4).astype(np.float64)
    whole = digits * 2.0 ** random.integers(-10, 20, count // 4)
    plain = np.round(random.normal(0, 1e4, count // 4), 3)
    rest = [0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 1.7976931348623157e308, 2.0**53, 2.0**63, 0.1 + 0.2]
    return [*bits.view(np.float64).tolist(), *edges, *whole.tolist(), *plain.tolist(), *rest]


def by_number(body: bytes) -> dict[str, Any]:
    """Return the series of an answer by their label `i`, times as the text that they were."""
    document = json.loads(body, parse_float=str, parse_int=str)
    assert document["status"] == "success", document
    return {series["metric"]["i"]: series for series in document["data"]["result"]}


async def same_texts(api: Any, peer: Any, path: str, **parameters: Any) -> int:
    status, _, theirs = peer.send("GET", f"/api/v1/{path}?{urlencode(parameters)}")
    assert status == 200, theirs
    ours = by_number((await api.get(f"/api/v1/{path}", **parameters)).body)
    wanted = by_number(theirs)
    assert ours.keys() == wanted.keys()
    different = [(ours[i], wanted[i]) for i in wanted if ours[i] != wanted[i]]
    assert not different, different[:5]
    return len(wanted)


def budget() -> int:
    return 100_000 if settings.get_current_profile_name() == "soak" else 1500


async def test_values_have_the_same_text(api: Any, peer: Any) -> None:
    values = odd_values(np.random.default_rng(20_261_121), budget())
    series = {f"number_text|i={i}": [(10.0, value)] for i, value in enumerate(values)}
    api.write(series)
    peer.write(series)
    time = NOW_MS // 1000
    assert await same_texts(api, peer, "query", query="number_text", time=time) == len(values)
    await same_texts(api, peer, "query", query="number_text[1m]", time=time)
    await same_texts(api, peer, "query_range", query="number_text", start=time - 60, end=time, step=7)


async def test_times_have_the_same_text(api: Any, peer: Any) -> None:
    random = np.random.default_rng(3)
    millis = np.unique(random.integers(0, 60_000, 200)).tolist()
    series = {"time_text|i=0": [(ms / 1000, ms) for ms in reversed([*millis, 60_000, 60_100, 60_010])]}
    series = {name: sorted(samples, reverse=True) for name, samples in series.items()}
    api.write(series)
    peer.write(series)
    now = NOW_MS / 1000
    await same_texts(api, peer, "query", query="time_text[5m]", time=now)
    for step in ("0.001", "0.01", "0.1", "1", "1.5", "0.999"):
        end = now - 50
        await same_texts(api, peer, "query_range", query="time_text", start=end - 0.4321, end=end, step=step)
    # Beyond 292 years from 1970, Debian's server computes with an overflow.
    for at in ("-9223372036", "-0.001", "0", "0.5", "1.05", "1e3", "1700000000.999", "9223372036.001"):
        await same_answer(api, peer, f"vector({at})", at)


async def same_answer(api: Any, peer: Any, query: str, time: str) -> None:
    parameters = {"query": query, "time": time}
    _, _, theirs = peer.send("GET", f"/api/v1/query?{urlencode(parameters)}")
    ours = (await api.get("/api/v1/query", **parameters)).body
    # The time of a scalar is 0.500 here and 0.5 there, as that of vectors is 0.500 in both.
    assert json.loads(ours, parse_float=Decimal) == json.loads(theirs, parse_float=Decimal)


@pytest.mark.parametrize(
    "literal",
    [
        "1e-7",
        "1e-6",
        "-0",
        "1e21",
        "123456789e13",
        "Inf",
        "-Inf",
        "NaN",
        "5e-324",
        "1e308",
        ".1",
        "07",
    ],
)
async def test_literals_have_the_same_text(api: Any, peer: Any, literal: str) -> None:
    for query in (literal, f"vector({literal})"):
        await same_answer(api, peer, query, "5.5")
