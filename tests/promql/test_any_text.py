"""No bytes, however strange, do anything but answer or be refused as a query: parser, printer and engine."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from metricsmith.testing.query_fuzz import QueryCheck

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
FUZZER = Path(__file__).parents[1] / "fuzz" / "fuzz_promql.py"
FUZZ_SECONDS = int(os.environ.get("METRICSMITH_FUZZ_SECONDS", "600"))

SCRAPS = [
    *(b"", b"(", b")", b"[", b"]", b"{", b"}", b"'", b'"', b"`", b"\\", b",", b":", b"@", b"-", b"^", b"#"),
    *(b"\n", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xc3\xa9"),
    *(b"[5m:1s]", b" offset -290y", b" @ 9e15", b" by (", b" on() group_left ", b" bool ", b"=~'(a*)*'"),
    *(b"Inf", b"NaN", b"1e308", b"0x7fffffffffffffff", b"290y", b"start()", b"step()", b"rate(", b"info("),
    *(b" anchored", b" smoothed", b" fill(0) ", b" and "),
]

check = QueryCheck()


@st.composite
def mutated(draw: DrawFn, texts: SearchStrategy[str]) -> bytes:
    """Draw a query with some bytes cut out, put in, doubled or changed."""
    data = draw(texts).encode()
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        new = draw(st.one_of(st.sampled_from(SCRAPS), st.binary(max_size=3), st.just(data[start:end] * 2)))
        data = data[:start] + new + data[end:]
    return data


@given(data=st.data())
def test_valid_and_mutated_queries(data: st.DataObject, queries: SearchStrategy[str]) -> None:
    for query in data.draw(st.lists(mutated(queries), min_size=3, max_size=3)):
        check(query)


@given(data=st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_a_fuzzer_once_found_interesting(file: Path) -> None:
    check(file.read_bytes())


@pytest.mark.soak
@settings(max_examples=20_000)
@given(data=st.data())
def test_many_mutated_queries(data: st.DataObject, queries: SearchStrategy[str]) -> None:
    check(data.draw(mutated(queries)))


@pytest.mark.soak
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no package for this platform")
def test_a_coverage_guided_fuzzer_finds_nothing(tmp_path: Path) -> None:
    arguments = [f"-max_total_time={FUZZ_SECONDS}", "-max_len=300", "-timeout=20", "-rss_limit_mb=4000"]
    dictionary = f"-dict={FUZZER.parent / 'promql.dict'}"
    command = [sys.executable, str(FUZZER), str(tmp_path), str(CORPUS[0].parent), *arguments, dictionary]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=FUZZ_SECONDS + 120)
    assert done.returncode == 0, done.stderr[-4000:]
