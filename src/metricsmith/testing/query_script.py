"""Query scripts: samples, queries and what they must answer, as plain text (docs/query-tests.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import NoReturn

from metricsmith.errors import QueryError
from metricsmith.model.duration import parse_duration
from metricsmith.syntax.selector import parse_selector
from metricsmith.wire.series_notation import expand

_SAMPLES = re.compile(r"samples every (\S+)(?: from (\S+))?")
_AT = re.compile(r"at (\S+): (.+)")
_RANGE = re.compile(r"from (\S+) to (\S+) every (\S+): (.+)")


class ScriptError(Exception):
    """A script is malformed; the message begins with file and line."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How queries look at time: `lookback` in ms, and whether windows leave out their start."""

    lookback: int = 300_000
    left_open: bool = True


@dataclass(slots=True)
class Row:
    """One line of samples, or of an answer.

    Values stand with their time in ms, or None for the next place of the row; a
    place that is left out has the value None.
    """

    labels: dict[str, str]
    values: list[tuple[int | None, float | None]]


@dataclass(slots=True)
class Case:
    """One query and what it must answer, on the samples that stand above it."""

    file: str
    line: int
    text: str
    expr: str
    start: int
    end: int
    step: int
    settings: Settings
    samples: list[tuple[dict[str, str], list[int], list[float]]]
    rows: list[Row] = field(default_factory=list)
    scalar: float | None = None
    string: str | None = None
    error: str | None = None
    nothing: bool = False
    in_order: bool = False
    warnings: list[str] = field(default_factory=list)
    infos: list[str] | None = None


def read_script(text: str, file: str = "script") -> list[Case]:
    """Return the cases of a script.

    Raises:
        ScriptError: it is malformed.
    """
    return _Reader(file).read(text)


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._number = 0
        self._settings = Settings()
        self._samples: list[tuple[dict[str, str], list[int], list[float]]] = []
        self._every, self._from = 0, 0
        self._case: Case | None = None
        self._cases: list[Case] = []

    def read(self, text: str) -> list[Case]:
        for self._number, line in enumerate(text.splitlines(), 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            if line[0] not in " \t":
                self._header(line.strip())
            elif self._case is not None:
                self._expectation(self._case, line.strip())
            elif self._every:
                self._add_samples(line.strip())
            else:
                self._fail(line, "`samples every …`, `at …:` or `from …:` before an indented line")
        for case in self._cases:
            self._require_one_answer(case)
        return self._cases

    def _header(self, line: str) -> None:
        self._case, self._every = None, 0
        if line == "clear":
            self._samples = []
        elif line.startswith("settings:"):
            self._settings = self._read_settings(line.removeprefix("settings:").split())
        elif match := _SAMPLES.fullmatch(line):
            self._every = self._interval(match[1])
            self._from = self._time(match[2]) if match[2] else 0
        elif match := _AT.fullmatch(line):
            time = self._time(match[1])
            self._begin(line, match[2], time, time, 0)
        elif match := _RANGE.fullmatch(line):
            start, end = self._time(match[1]), self._time(match[2])
            self._begin(line, match[4], start, end, self._interval(match[3]))
        else:
            self._fail(
                line,
                "`samples every DURATION`, `at TIME: QUERY`, `from TIME to TIME every DURATION: QUERY`, "
                "`settings: …` or `clear`",
            )

    def _begin(self, text: str, expr: str, start: int, end: int, step: int) -> None:
        self._case = Case(
            self._file, self._number, text, expr, start, end, step, self._settings, list(self._samples)
        )
        self._cases.append(self._case)

    def _read_settings(self, words: list[str]) -> Settings:
        settings = Settings()
        for word in words:
            name, _, value = word.partition("=")
            if name == "lookback":
                settings = replace(settings, lookback=self._time(value))
            elif word == "windows=closed":
                settings = replace(settings, left_open=False)
            else:
                self._fail(word, "`lookback=DURATION` or `windows=closed`")
        return settings

    def _add_samples(self, line: str) -> None:
        row = self._row(line)
        times, values, place = [], [], self._from
        for time, value in row.values:
            if value is not None:
                times.append(place if time is None else time)
                values.append(value)
            place += self._every if time is None else 0
        self._samples.append((row.labels, times, values))

    def _expectation(self, case: Case, line: str) -> None:
        word, _, rest = line.partition(" ")
        rest = rest.strip()
        if word in ("error:", "warning:", "info:") and not rest:
            self._fail(line, "a part of the text that must come")
        match word:
            case "error:":
                case.error = rest
            case "warning:":
                case.warnings.append(rest)
            case "info:":
                case.infos = [*(case.infos or []), *([] if rest == "none" else [rest])]
            case "nothing" if not rest:
                case.nothing = True
            case "scalar":
                case.scalar = self._number_of(rest)
            case "string":
                case.string = rest
            case "in" if rest == "this order":
                case.in_order = True
            case _:
                case.rows.append(self._answer_row(case, line))

    def _answer_row(self, case: Case, line: str) -> Row:
        row = self._row(line)
        steps = (case.end - case.start) // case.step + 1 if case.step else 1
        timed = [time is not None for time, _ in row.values]
        if not any(timed) and len(row.values) != steps:
            wanted = f"{steps}, one for each time asked; `_` where there is none"
            self._fail(f"{len(row.values)} values", wanted)
        return row

    def _row(self, line: str) -> Row:
        end = _selector_end(line)
        try:
            matchers = parse_selector(line[:end]).matchers if line[:end] != "{}" else ()
        except QueryError as error:
            self._fail(line[:end], f'labels such as up{{job="shop"}} ({error})')
        values = [value for word in line[end:].split() for value in self._values(word)]
        if not values:
            self._fail(line, "labels, then values such as `1`, `1+2x5`, `_`, `stale` or `1@30s`")
        return Row({matcher.name: matcher.value for matcher in matchers}, values)

    def _values(self, word: str) -> list[tuple[int | None, float | None]]:
        value, _, time = word.partition("@")
        try:
            values = expand(value)
        except ValueError as error:
            raise ScriptError(f"{self._file}:{self._number}: {error}") from None
        if time and len(values) != 1:
            self._fail(word, "a value with one time, such as `1@30s`")
        at = self._time(time) if time else None
        return [(None if each is None else at, each) for each in values]

    def _number_of(self, text: str) -> float:
        try:
            return float(text)
        except ValueError:
            self._fail(text, "a number")

    def _interval(self, text: str) -> int:
        interval = self._time(text)
        if interval <= 0:
            self._fail(text, "an interval above zero")
        return interval

    def _time(self, text: str) -> int:
        """Return milliseconds of `5m`, `-30s`, `90` (seconds) or `1.5`."""
        try:
            return round(float(text) * 1000)
        except (ValueError, OverflowError):
            pass
        sign, text = (-1, text[1:]) if text.startswith("-") else (1, text)
        try:
            return sign * parse_duration(text)
        except ValueError as error:
            self._fail(text, f"a time such as 5m or 90 (seconds): {error}")

    def _require_one_answer(self, case: Case) -> None:
        answers = [
            bool(case.rows),
            case.nothing,
            case.error is not None,
            case.scalar is not None,
            case.string is not None,
        ]
        if sum(answers) != 1:
            self._number = case.line
            self._fail(case.text, "one answer below it: series, `nothing`, `scalar`, `string` or `error:`")

    def _fail(self, got: str, wanted: str) -> NoReturn:
        raise ScriptError(f"{self._file}:{self._number}: got `{got.strip()}`, wanted {wanted}")


def _selector_end(line: str) -> int:
    """Return where the values begin: after the braces, which may hold quoted ones, or after the name."""
    match = re.match(r"""[^\s{]*(?:\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|[^"'`}])*\})?""", line)
    return match.end() if match else 0
