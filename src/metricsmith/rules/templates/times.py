"""Go's times and durations, as far as templates show them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_SECONDS = 253_402_300_799  # the end of the year 9999
SECOND_NS = 1_000_000_000
_UNITS = (("h", 3600 * SECOND_NS), ("m", 60 * SECOND_NS))
_LAYOUT = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00|-07:00|-0700|-07|Z0700"
    r"|[.,]0+|[.,]9+|002|01|02|03|04|05|06|15|PM|pm|_2|1|2|3|4|5"
)
_FIELDS: dict[str, Callable[[datetime], str]] = {
    "January": lambda t: t.strftime("%B"),
    "Jan": lambda t: t.strftime("%b"),
    "Monday": lambda t: t.strftime("%A"),
    "Mon": lambda t: t.strftime("%a"),
    "MST": lambda t: "UTC",
    "2006": lambda t: f"{t.year:04d}",
    "06": lambda t: f"{t.year % 100:02d}",
    "01": lambda t: f"{t.month:02d}",
    "1": lambda t: str(t.month),
    "02": lambda t: f"{t.day:02d}",
    "_2": lambda t: f"{t.day:2d}",
    "2": lambda t: str(t.day),
    "002": lambda t: f"{t.timetuple().tm_yday:03d}",
    "15": lambda t: f"{t.hour:02d}",
    "03": lambda t: f"{(t.hour + 11) % 12 + 1:02d}",
    "3": lambda t: str((t.hour + 11) % 12 + 1),
    "04": lambda t: f"{t.minute:02d}",
    "4": lambda t: str(t.minute),
    "05": lambda t: f"{t.second:02d}",
    "5": lambda t: str(t.second),
    "PM": lambda t: "AM" if t.hour < 12 else "PM",
    "pm": lambda t: "am" if t.hour < 12 else "pm",
    "-0700": lambda t: "+0000",
    "-07:00": lambda t: "+00:00",
    "-07": lambda t: "+00",
    "Z07:00": lambda t: "Z",
    "Z0700": lambda t: "Z",
}
_TIME_METHODS: dict[str, Callable[[datetime], Any]] = {
    "Year": lambda t: t.year,
    "Month": lambda t: t.strftime("%B"),
    "Day": lambda t: t.day,
    "Hour": lambda t: t.hour,
    "Minute": lambda t: t.minute,
    "Second": lambda t: t.second,
    "Weekday": lambda t: t.strftime("%A"),
    "YearDay": lambda t: t.timetuple().tm_yday,
}


@dataclass(frozen=True, slots=True)
class Time:
    """A `time.Time` in UTC, of whole milliseconds since 1970."""

    ms: int

    @classmethod
    def of(cls, seconds: float) -> Time:
        """Return the time of a Unix timestamp, cut to milliseconds as Prometheus keeps them.

        Raises:
            ValueError: it is not finite, or beyond what a time can be.
        """
        if not abs(seconds) * SECOND_NS < 2**63:
            raise ValueError(f"{seconds} cannot be represented as a nanoseconds timestamp")
        ns = int(seconds * SECOND_NS)
        ms = -(-ns // 1_000_000) if ns < 0 else ns // 1_000_000  # Go cuts towards zero
        return cls(ms)

    def __str__(self) -> str:
        return self.format("2006-01-02 15:04:05.999999999 -0700 MST")

    def format(self, layout: str) -> str:
        """Return the time written as Go's reference time is in the layout.

        >>> Time(1_435_065_584_128).format("Mon, 02 Jan 2006 15:04:05 MST")
        'Tue, 23 Jun 2015 13:19:44 UTC'
        """
        when = self._datetime()
        return _LAYOUT.sub(lambda match: self._written(match[0], when), layout)

    def _written(self, code: str, when: datetime) -> str:
        if code[0] not in ".,":
            return _FIELDS[code](when)
        fraction = f"{when.microsecond * 1000:09d}"[: len(code) - 1]
        if code[1] == "9":
            fraction = fraction.rstrip("0")
        return code[0] + fraction if fraction else ""

    def method(self, name: str, arguments: Sequence[Any]) -> Any:
        """Return what a method of a time returns.

        Raises:
            ValueError: no such method here, or wrong arguments.
        """
        if name == "Format" and len(arguments) == 1 and isinstance(arguments[0], str):
            return self.format(arguments[0])
        if not arguments:
            if name == "Unix":
                return self.ms // 1000
            if name == "UnixMilli":
                return self.ms
            if name == "UTC":
                return self
            if name == "String":
                return str(self)
            if name in _TIME_METHODS:
                return _TIME_METHODS[name](self._datetime())
        raise ValueError(f"can't evaluate method {name} with {len(arguments)} arguments in type *time.Time")

    def _datetime(self) -> datetime:
        try:
            return _EPOCH + timedelta(milliseconds=self.ms)
        except OverflowError:
            raise ValueError(f"{self.ms} ms is beyond the years that can be shown") from None


@dataclass(frozen=True, slots=True)
class Duration:
    """A `time.Duration`, in nanoseconds."""

    ns: int

    @classmethod
    def of(cls, seconds: float) -> Duration:
        """Return the duration of so many seconds.

        Raises:
            ValueError: it is not finite, or beyond what a duration can be.
        """
        if not abs(seconds) * SECOND_NS < 2**63:
            raise ValueError(f"{seconds} cannot be represented as a nanoseconds duration")
        return cls(int(seconds * SECOND_NS))

    def __str__(self) -> str:
        """Return it as Go does: 1h30m0s, 1.5s, 20ms.

        >>> str(Duration.of(5400)), str(Duration.of(0.02))
        ('1h30m0s', '20ms')
        """
        sign, rest = ("-", -self.ns) if self.ns < 0 else ("", self.ns)
        if rest == 0:
            return "0s"
        if rest < SECOND_NS:
            size, unit = next((s, u) for s, u in ((1_000_000, "ms"), (1000, "µs"), (1, "ns")) if rest >= s)
            return f"{sign}{_decimal(rest, size)}{unit}"
        text = ""
        for unit, size in _UNITS:
            count, rest = divmod(rest, size)
            if count or text:
                text += f"{count}{unit}"
        return f"{sign}{text}{_decimal(rest, SECOND_NS)}s"

    def method(self, name: str, arguments: Sequence[Any]) -> Any:
        """Return what a method of a duration returns.

        Raises:
            ValueError: no such method here, or wrong arguments.
        """
        sizes = {"Hours": 3600.0, "Minutes": 60.0, "Seconds": 1.0}
        if not arguments:
            if name in sizes:
                return self.ns / SECOND_NS / sizes[name]
            if name in ("Milliseconds", "Microseconds", "Nanoseconds"):
                size = {"Milliseconds": 1_000_000, "Microseconds": 1000, "Nanoseconds": 1}[name]
                return int(self.ns / size)
            if name == "String":
                return str(self)
        raise ValueError(
            f"can't evaluate method {name} with {len(arguments)} arguments in type time.Duration"
        )


def _decimal(number: int, size: int) -> str:
    whole, fraction = divmod(number, size)
    digits = f"{fraction:0{len(str(size)) - 1}d}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
