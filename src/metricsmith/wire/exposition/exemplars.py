"""Exemplars: checked, then cut out, so that the columns never see them.

They change with every scrape, and nothing here keeps them.
"""

from __future__ import annotations

import re

import numpy as np

from metricsmith.model.arrays import U8
from metricsmith.wire.exposition.lines import HASH, malformed
from metricsmith.wire.exposition.numbers import NUMBER
from metricsmith.wire.exposition.series_text import (
    BRACES,
    LABEL,
    NAME,
    MalformedSeries,
    parse_labels,
)

MAX_CHARACTERS = 128
"""Names and values of an exemplar's labels together."""

_SAMPLE = re.compile(
    rb"(?:" + NAME + rb"(?:" + BRACES + rb")?|" + BRACES + rb") [^ ]+(?: [^ #][^ ]*)?( # (\{.*))", re.DOTALL
)
_PLAIN = re.compile(rb"(\{" + LABEL + rb'="[^"\\]*"\}) [0-9]+(?:\.[0-9]+)?(?: [0-9]+(?:\.[0-9]+)?)?')
"""The usual exemplar, of one label (a trace id); what else there is takes longer to judge."""

_EXEMPLAR = re.compile(rb"(" + BRACES + rb") ([^ ]+)(?: ([^ ]+))?", re.DOTALL)


def cut_exemplars(body: bytes, octets: U8) -> tuple[bytes, list[int]]:
    """Return the document without exemplars, and the numbers of the lines that had one.

    Raises:
        ExpositionError: an exemplar is malformed or too long.
    """
    hashes = np.flatnonzero(octets == HASH)
    hashes = hashes[(hashes > 0) & (hashes < len(octets) - 2)]
    hashes = hashes[(octets[hashes - 1] == ord(" ")) & (octets[hashes + 2] == ord("{"))]
    pieces: list[bytes] = []
    numbers: list[int] = []
    done = counted = seen = 0
    number = 1
    for at in hashes.tolist():
        if at < seen:  # one look at a line says all
            continue
        start, end = body.rfind(b"\n", 0, at) + 1, body.find(b"\n", at)
        seen = end
        line = body[start:end]
        found = _SAMPLE.fullmatch(line)
        if found is None:
            continue
        number += body.count(b"\n", counted, start)
        counted = start
        _check(found[2], number, line)
        pieces.append(body[done : start + found.start(1)])
        numbers.append(number)
        done = end
    if not numbers:
        return body, numbers
    pieces.append(body[done:])
    return b"".join(pieces), numbers


def _check(exemplar: bytes, number: int, line: bytes) -> None:
    plain = _PLAIN.fullmatch(exemplar)
    if plain is not None and len(plain[1]) <= MAX_CHARACTERS:
        return
    found = _EXEMPLAR.fullmatch(exemplar)
    problem = ""
    if found is None or not NUMBER.fullmatch(found[2]):
        problem = 'malformed exemplar, wanted # {label="value"} value'
    elif found[3] is not None and not (NUMBER.fullmatch(found[3]) and b"n" not in found[3].lower()):
        problem = "got a malformed timestamp of an exemplar, wanted seconds"
    else:
        try:
            pairs = parse_labels(found[1])
        except MalformedSeries as error:
            problem = f"malformed exemplar: {error}"
        else:
            length = sum(len(n.decode(errors="replace")) + len(v.decode(errors="replace")) for n, v in pairs)
            if len({n for n, _ in pairs}) != len(pairs):
                problem = "malformed exemplar: got a label name twice"
            elif length > MAX_CHARACTERS:
                problem = f"got {length} characters of exemplar labels, wanted at most {MAX_CHARACTERS}"
    if problem:
        raise malformed(problem, number, line)
