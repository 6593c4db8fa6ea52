"""Large answers are compressed for those who ask, once, and read back the same."""

from __future__ import annotations

import gzip
import io
import threading
from typing import Any

import cramjam
import pytest

from metricsmith.api.compression import INLINE_BYTES, LEAST_BYTES, preferred


def plain(encoding: str | None, body: bytes) -> bytes:
    match encoding:
        case "gzip":
            return gzip.GzipFile(fileobj=io.BytesIO(body)).read()
        case "zstd":
            return bytes(cramjam.zstd.decompress(body))
    return body


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", None),
        ("gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip;q=0.9", "gzip"),
        ("zstd;q=0, gzip", "gzip"),
        ("gzip;q=0", None),
        ("*", "zstd"),
        ("*;q=0.1, zstd;q=0", "gzip"),
        ("br, deflate", None),
        ("identity", None),
        ("gzip;q=x", None),
        ("gzip;q=nan", None),
        ("zstd;q=nan, gzip", "gzip"),
        (";,;=,gzip;level=9", None),
        (" gzip ; q=1.0 ", "gzip"),
    ],
)
def test_the_encoding_that_a_client_prefers(accept: str, wanted: str | None) -> None:
    assert preferred(accept) == wanted


@pytest.mark.parametrize("accept", ["gzip", "zstd", "gzip;q=0"])
@pytest.mark.parametrize("series", [1, 60, 3000], ids=["small", "inline", "thread"])
async def test_answers_read_back_the_same(api: Any, accept: str, series: int) -> None:
    api.write({f"x|i={i}|text={i * 7919:0100d}": [(10, i / 7)] for i in range(series)})
    whole = await api.get("/api/v1/query", query="x")
    answer = await api.get("/api/v1/query", {"Accept-Encoding": accept}, query="x")
    size = len(whole.body)
    assert (series == 1) == (size < LEAST_BYTES)
    assert (series == 3000) == (size > INLINE_BYTES)
    encoding = answer.headers.get("content-encoding")
    assert encoding == (None if series == 1 or accept == "gzip;q=0" else accept)
    assert plain(encoding, answer.body) == whole.body
    assert answer.headers["content-type"] == whole.headers["content-type"] == "application/json"
    if series > 1:
        assert answer.headers["vary"] == whole.headers["vary"] == "Accept-Encoding"
    if encoding:
        assert int(answer.headers["content-length"]) == len(answer.body) < size / 2
        head = await api.call("HEAD", "/api/v1/query", headers={"Accept-Encoding": accept}, query=b"query=x")
        assert head.headers == answer.headers


async def test_pages_of_text_are_compressed_too(api: Any) -> None:
    answer = await api.get("/metrics", {"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert b"metricsmith_queries_running" in plain("gzip", answer.body)


async def test_refusals_are_readable(api: Any) -> None:
    answer = await api.get("/api/v1/query", {"Accept-Encoding": "gzip"}, query="(" * 90_000)
    assert answer.status == 400
    assert b"parse error" in plain(answer.headers.get("content-encoding"), answer.body)


async def test_the_event_loop_goes_on_meanwhile(api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import metricsmith.api.compression as module

    began: list[int] = []
    compressed = module.compressed

    def noting(pieces: Any, encoding: str) -> Any:
        began.append(threading.get_ident())
        return compressed(pieces, encoding)

    monkeypatch.setattr(module, "compressed", noting)
    api.write({f"x|text={i:0300d}": [(10, 1)] for i in range(400)})
    await api.get("/api/v1/series", {"Accept-Encoding": "gzip"}, **{"match[]": "x"})
    assert began != [threading.get_ident()] * len(began)
