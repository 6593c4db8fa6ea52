"""Values of a series as tests write them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metricsmith.wire.series_notation import MAX_RUN, STALE, parse_values

NUMBERS = st.floats(-1e6, 1e6).map(lambda value: round(value, 3))


@given(
    st.lists(
        st.one_of(
            NUMBERS.map(lambda v: (repr(v), [v])),
            st.integers(0, 5).map(lambda n: (f"7x{n}", [7.0] * (n + 1))),
            st.tuples(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 5)).map(
                lambda t: (f"{t[0]}{t[1]:+d}x{t[2]}", [float(t[0] + t[1] * i) for i in range(t[2] + 1)])
            ),
            st.integers(0, 5).map(lambda n: (f"_x{n}", [None] * n)),
            st.just(("_", [None])),
        )
    )
)
def test_runs_are_written_out(words: list[tuple[str, list[float | None]]]) -> None:
    text = "  ".join(word for word, _ in words)
    assert parse_values(text) == [value for _, values in words for value in values]


def test_an_end_is_the_marker_and_no_other_nan() -> None:
    end, absent, number = parse_values("stale _ nan")
    assert absent is None
    assert end is not None and number is not None and math.isnan(number)
    assert np.float64(end).tobytes() == np.float64(STALE).tobytes() != np.float64(number).tobytes()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 two", "got `two`, wanted a value such as"),
        ("1+1", "got `1+1`"),
        ("_+1x3", "what is absent does not grow"),
        ("1..2", "wanted a number"),
        ("{{schema:1}}", "native histograms are not supported"),
        (f"1x{MAX_RUN + 1}", f"wanted at most {MAX_RUN} repetitions"),
        ("1x99999999999999999999", "repetitions"),
        ("1x50000 " * 30, "got more than 1000000 values"),
    ],
)
def test_what_is_malformed_or_too_much_is_refused(text: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=r"^got ") as caught:
        parse_values(text)
    assert wanted in str(caught.value)


@given(st.text(alphabet="0123456789.+-xeE_ stalenif\t\n{}", max_size=60))
@example("1e999-1e999x3")
@example("x" * 1000)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert all(value is None or isinstance(value, float) for value in parse_values(text))
    except ValueError as error:
        assert str(error).startswith("got ")
