"""Raw samples from the server: `{…}[range]` asked in pieces, series that ended marked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from typing import TypeAlias, TypeVar

import numpy as np

from metricsmith.errors import LimitExceeded, QueryLimitExceeded, QueryTimeout
from metricsmith.model.arrays import F64, I64, Bool
from metricsmith.model.clock import Clock
from metricsmith.model.labels import escape_value
from metricsmith.model.matchers import Matcher
from metricsmith.model.sample_groups import selection_of
from metricsmith.model.selection import RaggedGroup, SampleLimit, Selection
from metricsmith.store.prometheus.answers import Limits, instant_result
from metricsmith.store.prometheus.engine import milliseconds, seconds
from metricsmith.store.prometheus.server import Server, Told, malformed

PIECE_BYTES = 32 << 20
UNLIMITED = Limits(1 << 62, 1 << 62)
"""Pieces are bounded in bytes, before they are decoded."""
AHEAD_MS = 86_400_000
"""Samples of a later time are not looked for: some servers find nothing where a range ends far ahead."""
ANY = '__name__=~".+"'
T = TypeVar("T")
Samples: TypeAlias = tuple[I64, F64]
"""Times and values of one series."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def selector(matchers: Sequence[Matcher]) -> str:
    """Return the selector of some matchers; one that no server takes, as all match nothing, asks for a name.

    >>> from metricsmith.model.matchers import MatchOp
    >>> selector([Matcher("job", MatchOp.NE, "a")]), selector([Matcher("my job", MatchOp.EQ, "a")])
    ('{job!="a",__name__=~".+"}', '{"my job"="a"}')
    """
    texts = [_text(matcher) for matcher in matchers]
    if all(matcher.matches("") for matcher in matchers):
        texts.append(ANY)
    return "{" + ",".join(texts) + "}"


def bounded(start_ms: int, end_ms: int, clock: Clock) -> tuple[int, int]:
    """Return a range of times cut to what servers understand."""
    # VictoriaMetrics takes a start of 0 for none given, and looks back minutes only.
    return max(1, start_ms), min(end_ms, clock.now_ms() + AHEAD_MS)


class Reader:
    """Reads raw samples; one for each selection.

    The deadline is in the clock's monotonic time.
    """

    def __init__(self, server: Server, limit: int | None, clock: Clock, timeout_s: float) -> None:
        self._server, self._clock = server, clock
        self._counted, self._timeout_s = SampleLimit(limit), timeout_s
        self._deadline_s = clock.monotonic() + timeout_s

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """Return the samples of the matching series in the closed range, as `store_contracts.Selectable`.

        Prometheus leaves staleness markers out. A series that the server does
        not show at the end of the range, however far it looks back, has ended:
        it gets a marker right after its last sample. (Before 2.43 they look back
        five minutes whatever they are told.) VictoriaMetrics gives markers as
        NaN, and keeps no other NaN.
        """
        start_ms, end_ms = bounded(start_ms, end_ms, self._clock)
        if start_ms > end_ms:
            return Selection([], [])
        text = selector(matchers)
        samples = {key: _joined(parts) for key, parts in self._pieces(text, start_ms, end_ms).items()}
        nan_is_marker = any(np.isnan(v).any() for _, v in samples.values()) and self._server.tells_markers()
        ended = self._ended(text, samples, start_ms, end_ms)
        keys = sorted(samples)
        return selection_of([_marked(key, *samples[key], key in ended, nan_is_marker) for key in keys])

    def _pieces(self, text: str, start_ms: int, end_ms: int) -> dict[bytes, list[Samples]]:
        found: defaultdict[bytes, list[Samples]] = defaultdict(list)
        at, width_ms = start_ms, end_ms - start_ms + 1
        while at <= end_ms:
            last = min(end_ms, at + width_ms - 1)
            try:
                piece = self._range(text, at, last)
            except (LimitExceeded, QueryLimitExceeded) as error:
                if last == at:
                    raise QueryLimitExceeded(f"a selector has too many series: {error}", "series") from None
                width_ms = (last - at + 1) // 2
                continue
            for key, times, values in piece:
                self._counted.add(len(times))
                found[key].append((times, values))
            at = last + 1
        return found

    def _range(self, text: str, first_ms: int, last_ms: int) -> list[tuple[bytes, I64, F64]]:
        # Windows of Prometheus 2 hold the sample at their start, those of 3 do not: ask for more, and cut.
        # VictoriaMetrics takes 8001ms for 8000: one more.
        window_ms = last_ms - first_ms + 2
        keys, raw = self._ask(f"{text}[{window_ms}ms]", last_ms, _raw, limit_bytes=PIECE_BYTES)
        pieces = []
        for row, key in enumerate(keys):
            times = raw.times[raw.offsets[row] : raw.offsets[row + 1]]
            first, end = np.searchsorted(times, [first_ms, last_ms + 1]).tolist()
            if first < end:
                values = raw.values[raw.offsets[row] : raw.offsets[row + 1]]
                pieces.append((key, times[first:end], values[first:end]))
        return pieces

    def _ended(self, text: str, samples: Mapping[bytes, Samples], start_ms: int, end_ms: int) -> Set[bytes]:
        """Return the series that are not there at the end."""
        before = {key for key, (times, _) in samples.items() if times[-1] < end_ms}
        if not before:
            return before
        lookback = ("lookback_delta", f"{end_ms - start_ms + 1}ms")
        try:
            return before.difference(self._ask(text, end_ms, _present, lookback))
        except LimitExceeded as error:
            raise QueryLimitExceeded(f"a selector has too many series: {error}", "series") from None

    def _ask(
        self,
        query: str,
        time_ms: int,
        decode: Callable[[Told], T],
        *more: tuple[str, str],
        limit_bytes: int | None = None,
    ) -> T:
        left_s = self._deadline_s - self._clock.monotonic()
        if left_s <= 0:
            raise QueryTimeout(f"the server has not answered a selector within {self._timeout_s:g} s")
        timeout = ("timeout", milliseconds(left_s))
        form = [("query", query), ("time", seconds(time_ms)), timeout, *more]
        return self._server.ask("POST", "query", form, decode, timeout_s=left_s, limit_bytes=limit_bytes)


def _raw(told: Told) -> tuple[list[bytes], RaggedGroup]:
    found = instant_result(told, 0, UNLIMITED)
    if found.raw is None:
        raise malformed(f"resultType {found.type} of a range")
    return found.keys, found.raw


def _present(told: Told) -> list[bytes]:
    return instant_result(told, 0, UNLIMITED).keys


def _joined(parts: Sequence[Samples]) -> Samples:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([times for times, _ in parts]), np.concatenate([values for _, values in parts])


def _marked(
    key: bytes, times: I64, values: F64, ended: bool, nan_is_marker: bool
) -> tuple[bytes, I64, F64, Bool]:
    stale = np.isnan(values) if nan_is_marker else np.zeros(len(times), np.bool_)
    if ended and not stale[-1]:
        times, values = np.append(times, times[-1] + 1), np.append(values, np.nan)
        stale = np.append(stale, True)
    return key, times, values, stale


def _text(matcher: Matcher) -> str:
    name = matcher.name if _PLAIN.fullmatch(matcher.name) else f'"{escape_value(matcher.name)}"'
    return f'{name}{matcher.op.value}"{escape_value(matcher.value)}"'
