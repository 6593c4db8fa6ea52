"""What a collection gives as a text that is kept and compared: stable order, no times."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from metricsmith.integration.contract import family_of
from metricsmith.integration.declaration import Declaration
from metricsmith.integration.observing import Observation, Sample, shown

MASK = "*"
MAX_SHOWN = 40
"""Lines of a difference."""
MAX_BYTES = 64 << 20
HEADER = "# What a collection gives; `metricsmith integration test --update-golden` writes this file.\n"


def render(declaration: Declaration, observation: Observation) -> str:
    """Return the golden text of a collection.

    Families by name, in each its samples by labels. `*` stands for the value
    of a metric that is declared volatile, and for the time of a sample that has one.
    """
    families: dict[str, list[Sample]] = {}
    for sample in observation.samples:
        metric = declaration.metric_of(sample.name)
        name = metric.name if metric is not None else family_of(sample.name, observation.metadata)
        families.setdefault(name, []).append(sample)
    lines = [HEADER]
    for name, samples in sorted(families.items()):
        known = observation.metadata.get(name)
        lines.append(f"# {name} {known.type.value if known is not None else 'unknown'}\n")
        lines += [_line(declaration, sample) for sample in sorted(samples, key=_order)]
    return "".join(lines)


def write(path: Path, text: str) -> bool:
    """Keep a golden text; return whether it is another than before."""
    if _read(path) == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def differences(path: Path, text: str) -> Iterator[str]:
    """Yield a finding when the golden file holds something else: the lines that differ."""
    kept = _read(path)
    if kept is None:
        yield f"{path} cannot be read as text"
    elif kept != text:
        lines = list(
            difflib.unified_diff(kept.splitlines(), text.splitlines(), "golden", "now", "", "", 0, "")
        )
        told = [line for line in lines[2:] if not line.startswith("@@")]
        more = f"\n… and {len(told) - MAX_SHOWN} more lines" if len(told) > MAX_SHOWN else ""
        hint = "`--update-golden` takes what is now"
        yield f"{path.name} differs ({hint}):\n" + "\n".join(told[:MAX_SHOWN]) + more


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None


def _line(declaration: Declaration, sample: Sample) -> str:
    metric = declaration.metric_of(sample.name)
    volatile = (metric is not None and metric.volatile) or sample.name.endswith("_created")
    value = MASK if volatile else _value(sample.value)
    time = "" if sample.time_ms is None else f" {MASK}"
    return f"{shown(sample.series)} {value}{time}\n"


def _value(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _order(sample: Sample) -> tuple[object, ...]:
    bounds = tuple(_bound(text) for label, text in sample.series[1] if label in ("le", "quantile"))
    others = tuple(pair for pair in sample.series[1] if pair[0] not in ("le", "quantile"))
    return sample.name, others, bounds, sample.time_ms or 0


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
