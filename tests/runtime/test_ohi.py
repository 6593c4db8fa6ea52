"""What checks and collections become in documents, without a program around them."""

from __future__ import annotations

import pytest

from metricsmith.runtime.ohi import tombstones
from metricsmith.sources.kafka.tombstone_counts import TombstoneCount


def counted(topic: str, partition: int | None, ratio: float | None) -> TombstoneCount:
    return TombstoneCount(topic, partition, "sampled", 4, 1, 0, ratio, 1.0, None, None, 1)


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_topic_of_which_nothing_could_be_read_has_no_ratio(protocol: int) -> None:
    counts = [counted("read", None, 25.0), counted("read", 0, 25.0), counted("unread", None, None)]
    (data,) = tombstones(counts, 5_000, protocol).datasets
    told = (
        {(s.fields["topic.name"], field) for s in data.samples for field in s.fields}
        if protocol == 3
        else {(m.attributes["topic.name"], m.name) for m in data.metrics}
    )
    assert ("read", "topic.tombstoneRatio") in told
    assert ("unread", "topic.totalMessages") in told
    assert ("unread", "topic.tombstoneRatio") not in told
