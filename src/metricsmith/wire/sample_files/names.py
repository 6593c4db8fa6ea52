"""The names of files of samples: the period of their samples' times, a number, a form.

metrics-20261121-000001.json            a day
metrics-20261121T18-000001.csv.gz       an hour
metrics-000001.current.json             all times; still written
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FIRST_MS, LAST_MS = 0, 253_402_300_799_999
"""Times of samples in files: what has a year of four digits, from 1970 on."""
_NAME = re.compile(
    r"metrics-(?:(\d{8})(?:T(\d\d))?-)?(\d{6,12})(\.current)?\.(json|csv|parquet|frames)(\.gz|\.zst)?",
    re.ASCII,
)


class Rotation(StrEnum):
    """The length of the periods: samples of one file are of one period, in UTC."""

    HOURLY = "hourly"
    DAILY = "daily"
    NONE = "none"


class Form(StrEnum):
    """What a file holds; `frames` become Parquet."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    FRAMES = "frames"


@dataclass(frozen=True, slots=True)
class Period:
    """Times from `start_ms` to before `end_ms`, as they stand in a name; "" is all times."""

    text: str
    start_ms: int
    end_ms: int


ALL_TIMES = Period("", FIRST_MS, LAST_MS + 1)


def period_of(rotation: Rotation, time_ms: int) -> Period:
    """Return the period that a time is in.

    >>> period_of(Rotation.HOURLY, 1_763_748_123_456).text
    '20251121T18'
    """
    if rotation is Rotation.NONE:
        return ALL_TIMES
    width_ms = period_ms(rotation)
    start_ms = time_ms // width_ms * width_ms
    start = datetime.fromtimestamp(start_ms / 1000, UTC)
    text = f"{start:%Y%m%d}" if rotation is Rotation.DAILY else f"{start:%Y%m%dT%H}"
    return Period(text.rjust(8, "0"), start_ms, start_ms + width_ms)


def period_ms(rotation: Rotation) -> int:
    """Return the length of a period."""
    return {Rotation.HOURLY: HOUR_MS, Rotation.DAILY: DAY_MS, Rotation.NONE: LAST_MS + 1}[rotation]


@dataclass(frozen=True, slots=True)
class FileName:
    """The parts of a name. Names sort by time, then by number; a number is given once in a period."""

    period: Period
    number: int
    form: Form
    suffix: str = ""  # ".gz", ".zst"
    current: bool = False

    def __str__(self) -> str:
        period = f"{self.period.text}-" if self.period.text else ""
        state = ".current" if self.current else ""
        return f"metrics-{period}{self.number:06d}{state}.{self.form}{self.suffix}"

    @property
    def place(self) -> tuple[int, int, int]:
        """What names sort by."""
        return self.period.start_ms, self.period.end_ms, self.number

    def finished(self) -> FileName:
        """Return the name that a current file gets in the end."""
        form = Form.PARQUET if self.form is Form.FRAMES else self.form
        return replace(self, form=form, current=False)


def parse_name(text: str) -> FileName | None:
    """Return the parts of a file's name, None when it is not one of ours.

    >>> parse_name("metrics-20251121T18-000002.csv.gz").period.start_ms
    1763748000000
    >>> parse_name("metrics.json")
    """
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    day, hour, number, current, form, suffix = match.groups()
    period = ALL_TIMES
    if day is not None:
        try:
            start = datetime.strptime(f"{day}T{hour or '00'}+0000", "%Y%m%dT%H%z")
        except ValueError:
            return None
        start_ms = int(start.timestamp()) * 1000
        width_ms = HOUR_MS if hour else DAY_MS
        period = Period(day + (f"T{hour}" if hour else ""), start_ms, start_ms + width_ms)
    return FileName(period, int(number), Form(form), suffix or "", current is not None)


def list_files(folder: Path) -> list[FileName]:
    """Return the files of samples in a folder, oldest first; frames that have become Parquet are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    found = [name for path in folder.iterdir() if (name := parse_name(path.name)) is not None]
    done = {str(name) for name in found if not name.current}
    kept = [name for name in found if not (name.current and str(name.finished()) in done)]
    return sorted(kept, key=lambda name: (*name.place, str(name)))
