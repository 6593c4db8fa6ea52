"""Numbers as Go's strconv and fmt write them."""

from __future__ import annotations

import math
from decimal import Decimal

MAX_PRECISION = 1000


def shortest(value: float, form: str = "g") -> str:
    """Return a float with as few digits as tell it apart, in the form e, f or g.

    Source:
        Go `strconv.FormatFloat(v, form, -1, 64)`: in the form g, exponents from
        1e6 on and below 1e-4.

    >>> shortest(123456.0), shortest(1234567.0), shortest(0.00001), shortest(2.0, "e")
    ('123456', '1.234567e+06', '1e-05', '2e+00')
    """
    if not math.isfinite(value):
        return _special(value)
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    exponent += len(text) - 1
    text = text.rstrip("0") or "0"
    if text == "0":
        exponent = 0
    minus = "-" if sign else ""
    if form == "e" or (form == "g" and (exponent < -4 or exponent >= 6)):
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        return f"{minus}{mantissa}e{exponent:+03d}"
    if exponent < 0:
        return f"{minus}0.{'0' * (-exponent - 1)}{text}" if text != "0" else f"{minus}0"
    whole = text[: exponent + 1].ljust(exponent + 1, "0")
    rest = text[exponent + 1 :]
    return f"{minus}{whole}.{rest}" if rest else minus + whole


def fixed(value: float, precision: int, form: str, point: bool = False) -> str:
    """Return a float in the form e, E, f, F, g or G with a precision, as C writes it and Go does.

    With `point`, a decimal point and the zeros behind it always stand.

    >>> fixed(1234567.0, 4, "g"), fixed(0.5, 0, "f")
    ('1.235e+06', '0')
    """
    if not math.isfinite(value):
        return _special(value)
    return f"{value:{'#' if point else ''}.{min(precision, MAX_PRECISION)}{form}}"


def hexadecimal(value: float) -> str:
    """Return a float exactly, with a power of two.

    >>> hexadecimal(1.5), hexadecimal(0.0)
    ('0x1.8p+00', '0x0p+00')
    """
    if not math.isfinite(value):
        return _special(value)
    mantissa, exponent = value.hex().split("p")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}p{int(exponent):+03d}"


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def parse_float(text: str) -> float:
    """Return the float that a text is.

    Raises:
        ValueError: it is none, in Go's words.
    """
    plain = text.strip() == text and "_" not in text and text.isascii()
    try:
        if plain:
            return float(text)
    except ValueError:
        pass
    raise ValueError(f'strconv.ParseFloat: parsing "{text[:60]}": invalid syntax')
