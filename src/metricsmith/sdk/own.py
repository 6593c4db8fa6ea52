"""What the SDK tells of itself: label sets folded and expired, and findings, each only where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from metricsmith.sdk.reading import Reading, Sample

if TYPE_CHECKING:
    from metricsmith.sdk.findings import Findings
    from metricsmith.sdk.instrument import Instrument

FOLDED = "metricsmith_sdk_label_sets_folded"
EXPIRED = "metricsmith_sdk_label_sets_expired"
FINDINGS = "metricsmith_sdk_findings"
_HELP = {
    FOLDED: "Look-ups of label sets beyond the limit of a metric, which went to __overflow__.",
    EXPIRED: "Label sets that disappeared because nothing touched them.",
    FINDINGS: "What is wrong with a metric, by kind, each time that it was met.",
}


def own_readings(findings: Findings, instruments: Iterable[Instrument]) -> Iterator[Reading]:
    """Yield the counters that are not zero."""
    folded, expired = [], []
    for family in (instrument._family for instrument in instruments):
        labels = {"metric": family.name}
        if family.guard.folded:
            folded.append(Sample(f"{FOLDED}_total", labels, float(family.guard.folded)))
        if family.expiry and family.expiry.expired:
            expired.append(Sample(f"{EXPIRED}_total", labels, float(family.expiry.expired)))
    found = [
        Sample(f"{FINDINGS}_total", {"metric": finding.metric, "kind": finding.kind}, float(finding.count))
        for finding in findings.all()
    ]
    for name, samples in ((FOLDED, folded), (EXPIRED, expired), (FINDINGS, found)):
        if samples:
            yield Reading(name, "counter", _HELP[name], "", samples)
