"""`print`, `println` and `printf` as Go's fmt writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from metricsmith.rules.templates.numbers import fixed, hexadecimal, shortest
from metricsmith.rules.templates.times import Duration, Time
from metricsmith.rules.templates.values import AlertData, Sample, Value, kind

MAX_WIDTH = 1000
"""Of one verb; Go allows a million."""
_VERB = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<width>\*|[0-9]{1,9})?(?:\.(?P<precision>\*|[0-9]{0,9}))?"
    r"(?:\[(?P<index>[0-9]{1,4})\])?(?P<verb>.)?",
    re.DOTALL,
)
_BASES = {"d": 10, "b": 2, "o": 8, "O": 8, "x": 16, "X": 16}
_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}
_PREFIX = {"b": "0b", "o": "0", "O": "0", "x": "0x", "X": "0X"}


class _Spec(NamedTuple):
    flags: str
    width: int
    precision: int | None

    def pad(self, text: str, number: bool = False) -> str:
        if "-" in self.flags:
            return text.ljust(self.width)
        if "0" not in self.flags:
            return text.rjust(self.width)
        if number and text[:1] in ("+", "-", " "):
            return text[0] + text[1:].rjust(self.width - 1, "0")
        return text.rjust(self.width, "0")

    def padded_with_blanks(self, text: str) -> str:
        return text.ljust(self.width) if "-" in self.flags else text.rjust(self.width)


def show(value: Value) -> str:
    """Return a value as `{{ value }}` puts it into the text.

    >>> show(1234567.0), show(None), show({"b": "2", "a": "1"})
    ('1.234567e+06', '<no value>', 'map[a:1 b:2]')
    """
    return "<no value>" if value is None else plain(value)


def plain(value: Value) -> str:
    """Return a value as `%v` writes it."""
    match value:
        case str():
            return value
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case float():
            return shortest(value)
        case Sample():
            return f"{{{plain(value.labels)} {plain(value.value)}}}"
        case AlertData():
            parts = (value.labels, value.external_labels, value.external_url, value.value)
            return f"{{{' '.join(map(plain, parts))}}}"
        case Mapping():
            return f"map[{' '.join(f'{key}:{plain(inner)}' for key, inner in sorted(value.items()))}]"
        case Sequence():
            return f"[{' '.join(map(plain, value))}]"
    return str(value)


def sprint(values: Sequence[Value]) -> str:
    """Return values side by side; a space stands between two that are both no text."""
    done = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            done += " "
        done += plain(value)
    return done


def sprintln(values: Sequence[Value]) -> str:
    """Return values with spaces between them and a new line after them."""
    return " ".join(map(plain, values)) + "\n"


def sprintf(layout: str, values: Sequence[Value]) -> str:
    """Return the layout with its verbs replaced by values; what does not fit is told in the text, as in Go.

    >>> sprintf("%.2f%% of %s, %5d|%-5d|%05d", [12.345, "x", 42, 42, -42])
    '12.35% of x,    42|42   |-0042'
    >>> sprintf("%d %s", [1.5])
    '%!d(float64=1.5) %!s(MISSING)'
    """
    arguments = _Arguments(values)
    done = _VERB.sub(lambda match: _verb(match, arguments), layout)
    if arguments.reordered or arguments.next >= len(values):
        return done
    extra = ", ".join(f"{kind(v)}={plain(v)}" if v is not None else "<nil>" for v in values[arguments.next :])
    return f"{done}%!(EXTRA {extra})"


class _Arguments:
    def __init__(self, values: Sequence[Value]) -> None:
        self.values = values
        self.next = 0
        self.reordered = False

    def take(self) -> tuple[bool, Value]:
        self.next += 1
        if self.next > len(self.values):
            return False, None
        return True, self.values[self.next - 1]

    def number(self, text: str | None) -> int | None:
        """Return a width or precision, which `*` takes from the arguments."""
        if text == "*":
            there, value = self.take()
            fits = there and isinstance(value, int) and not isinstance(value, bool)
            return min(value, MAX_WIDTH) if fits else None
        return None if text is None else min(int(text or "0"), MAX_WIDTH)


def _verb(match: re.Match[str], arguments: _Arguments) -> str:
    verb, flags = match["verb"], match["flags"]
    width = arguments.number(match["width"]) or 0
    if width < 0:
        flags, width = flags + "-", -width
    precision = arguments.number(match["precision"])
    if verb == "v":
        flags = flags.replace("+", "")  # there it asks for field names, not for a sign
    if precision is not None and precision < 0:
        precision = None
    spec = _Spec(flags.replace("0", "") if "-" in flags else flags, min(width, MAX_WIDTH), precision)
    if verb is None:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    if match["index"]:
        arguments.reordered = True
        if not 0 < int(match["index"]) <= len(arguments.values):
            return f"%!{verb}(BADINDEX)"
        arguments.next = int(match["index"]) - 1
    there, value = arguments.take()
    if not there:
        return f"%!{verb}(MISSING)"
    return format_value(verb, value, spec)


def format_value(verb: str, value: Value, spec: _Spec) -> str:
    """Return one value as a verb writes it."""
    if verb == "T":
        return _text("s", "<nil>" if value is None else kind(value), spec)
    if value is None:
        return spec.pad("<nil>") if verb == "v" else f"%!{verb}(<nil>)"
    if isinstance(value, Time | Duration) and verb in "vsqxX":
        return format_value(verb, str(value), spec)
    if isinstance(value, Duration):
        value = value.ns
    if isinstance(value, bool):
        if verb in "tv":
            return spec.pad("true" if value else "false")
    elif isinstance(value, Mapping):
        inner = " ".join(
            f"{format_value(verb, key, spec)}:{format_value(verb, below, spec)}"
            for key, below in sorted(value.items())
        )
        return f"map[{inner}]"
    elif isinstance(value, Sample):
        parts = (format_value(verb, part, spec) for part in (value.labels, value.value))
        return f"&{{{' '.join(parts)}}}"
    elif isinstance(value, list | tuple):
        return f"[{' '.join(format_value(verb, below, spec) for below in value)}]"
    else:
        for types, verbs, write in _WRITERS:
            if isinstance(value, types) and verb in verbs:
                return write(verb, value, spec)
    if verb == "v":
        return spec.pad(plain(value))
    plainly = "s" if isinstance(value, str) else "g" if isinstance(value, float) else "v"
    return f"%!{verb}({kind(value)}={format_value(plainly, value, spec)})"


def _text(verb: str, value: str, spec: _Spec) -> str:
    if verb in "xX":
        return spec.pad(_bytes(verb, value.encode()[: spec.precision], spec))
    if spec.precision is not None:
        value = value[: spec.precision]
    match verb:
        case "q":
            raw = "#" in spec.flags and "`" not in value and value.isprintable()
            return spec.pad(f"`{value}`" if raw else quote(value, "+" in spec.flags))
        case "v" if "#" in spec.flags:
            return spec.pad(quote(value, False))
    return spec.pad(value)


def _bytes(verb: str, value: bytes, spec: _Spec) -> str:
    digits = value.hex(" ") if " " in spec.flags else value.hex()
    if "#" in spec.flags and value:
        digits = "0x" + digits.replace(" ", " 0x")
    return digits if verb == "x" else digits.upper()


def quote(value: str, ascii_only: bool) -> str:
    """Return a text as a Go literal in double quotes.

    >>> print(quote('a"b\\tc\\x01', False))
    "a\\"b\\tc\\x01"
    """
    return f'"{"".join([_quoted(character, ascii_only) for character in value])}"'


def _quoted(character: str, ascii_only: bool) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    if code < 32 or code == 127:
        return f"\\x{code:02x}"
    if character.isprintable() and (code < 127 or not ascii_only):
        return character
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _whole(verb: str, value: int, spec: _Spec) -> str:
    match verb:
        case "c":
            return spec.pad(_rune(value))
        case "q":
            literal = quote(_rune(value), "+" in spec.flags)[1:-1].replace('\\"', '"').replace("'", "\\'")
            return spec.pad(f"'{literal}'")
        case "U":
            shown = (
                f" '{_rune(value)}'"
                if "#" in spec.flags and value >= 0 and _rune(value).isprintable()
                else ""
            )
            return spec.padded_with_blanks(f"U+{value % 2**64:04X}{shown}")
    if spec.precision == 0 and value == 0:
        return " " * spec.width
    digits = _digits(abs(value), _BASES.get(verb, 10))
    if verb == "X":
        digits = digits.upper()
    if spec.precision is not None:
        digits = digits.rjust(spec.precision, "0")
    prefix = _PREFIX.get(verb, "") if "#" in spec.flags else ""
    if prefix == "0" and digits.startswith("0"):
        prefix = ""
    if verb == "O":
        prefix = "0o" + prefix
    sign = _sign(value < 0, spec)
    if "0" in spec.flags and spec.precision is None:
        digits = digits.rjust(spec.width - len(sign), "0")
        return sign + prefix + digits
    return spec.padded_with_blanks(sign + prefix + digits)


def _rune(code: int) -> str:
    return chr(code) if 0 <= code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd"


def _digits(value: int, base: int) -> str:
    return format(value, {10: "d", 2: "b", 8: "o", 16: "x"}[base])


def _sign(negative: bool, spec: _Spec) -> str:
    return "-" if negative else "+" if "+" in spec.flags else " " if " " in spec.flags else ""


def _float(verb: str, value: float, spec: _Spec) -> str:
    form = "g" if verb == "v" else verb
    if form in "xX":
        text = hexadecimal(abs(value))
    elif spec.precision is None and form in "gG":
        text = shortest(abs(value))
        if "#" in spec.flags and verb != "v" and sum(map(str.isdigit, text.split("e")[0])) <= 6:
            text = fixed(abs(value), 6, "g", point=True)
    else:
        precision = 6 if spec.precision is None else spec.precision
        text = fixed(abs(value), precision, form, point="#" in spec.flags and verb != "v")
    if form.isupper() and math.isfinite(value):
        text = text.upper()
    text = text.lstrip("+")
    sign = _sign(math.copysign(1.0, value) < 0 and not math.isnan(value), spec)
    if math.isinf(value) and not sign:
        sign = "+"
    if not math.isfinite(value):
        return spec.padded_with_blanks(sign + text)
    return spec.pad(sign + text, number=True)


_WRITERS: tuple[tuple[type, str, Callable[[str, Value, _Spec], str]], ...] = (
    (str, "svqxX", _text),
    (int, "dvboOxXcqU", _whole),
    (float, "veEfFgGxX", _float),
)
