"""Golden files: the same for the same samples, whatever their order and time."""

from __future__ import annotations

import math
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from metricsmith.integration import golden
from metricsmith.integration.observing import Observation, Sample
from metricsmith.integration.project import read_declaration
from metricsmith.model.metadata import Metadata, MetricType

DECLARED, _ = read_declaration("""
integration: {name: jobs, kind: python, collector: jobs.py}
metrics:
  - {name: job_age_seconds, type: gauge, help: Age., volatile: true}
  - {name: job_seconds, type: histogram, help: Time., labels: {kind: }}
  - {name: job_count, type: gauge, help: Jobs., labels: {kind: }}
""")
METADATA = {
    "job_age_seconds": Metadata(MetricType.GAUGE),
    "job_seconds": Metadata(MetricType.HISTOGRAM),
    "job_count": Metadata(MetricType.GAUGE),
}
SAMPLES = [
    Sample(("job_age_seconds", ()), 12.5),
    Sample(("job_count", (("kind", 'a"\n'),)), 2.0),
    Sample(("job_count", (("kind", "b"),)), math.nan, 1_700_000_000_000),
    Sample(("job_seconds_bucket", (("kind", "a"), ("le", "2"))), 1.0),
    Sample(("job_seconds_bucket", (("kind", "a"), ("le", "10"))), 3.0),
    Sample(("job_seconds_bucket", (("kind", "a"), ("le", "+Inf"))), 3.0),
    Sample(("job_seconds_created", (("kind", "a"),)), 1.7e9),
    Sample(("job_seconds_sum", (("kind", "a"),)), 0.1),
]
TEXT = (
    golden.HEADER
    + """# job_age_seconds gauge
job_age_seconds *
# job_count gauge
job_count{kind="a\\"\\n"} 2
job_count{kind="b"} nan *
# job_seconds histogram
job_seconds_bucket{kind="a", le="2"} 1
job_seconds_bucket{kind="a", le="10"} 3
job_seconds_bucket{kind="a", le="+Inf"} 3
job_seconds_created{kind="a"} *
job_seconds_sum{kind="a"} 0.1
"""
)


@given(st.integers())
def test_order_and_time_make_no_difference(seed: int) -> None:
    samples = list(SAMPLES)
    random.Random(seed).shuffle(samples)
    assert golden.render(DECLARED, Observation(samples, METADATA)) == TEXT


def test_differences_are_told_up_to_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "golden" / "metrics.prom"
    assert golden.write(path, TEXT) and not golden.write(path, TEXT)
    assert not list(golden.differences(path, TEXT))
    (finding,) = golden.differences(path, TEXT.replace('b"} nan', 'b"} 3') + "more 1\n" * 100)
    assert '-job_count{kind="b"} nan *\n+job_count{kind="b"} 3 *\n+more 1\n' in finding
    assert finding.endswith("… and 62 more lines")
    path.write_bytes(b"\xff")
    (finding,) = golden.differences(path, TEXT)
    assert "cannot be read as text" in finding
