"""What is set aside can be looked at, sent again as it was, and dropped; nothing else can be reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metricsmith.contracts import Delivery
from metricsmith.delivery.quarantine import NotInQuarantine, Quarantine
from metricsmith.errors import DeliveryError
from metricsmith.model.batch import Batch, Layout, event_batch
from metricsmith.model.events import Event
from metricsmith.model.labels import encode_labels
from metricsmith.model.series import SeriesTable
from metricsmith.testing.clock import FakeClock


def _delivery(series: SeriesTable) -> Delivery:
    layout = Layout(series.intern_many(encode_labels({"__name__": n, "l": "ü\n"}) for n in "abc"))
    values = np.array([1.5, float("inf"), 7.0])
    return Delivery([3], [Batch(layout, np.array([1, 2, 3]), values, np.array([False, False, True]))])


def _read(series: SeriesTable, delivery: Delivery) -> list[tuple[Any, ...]]:
    (batch,) = delivery.batches
    keys = [series.key(i) for i in batch.layout.ids.tolist()]
    values = ["stale" if s else v for v, s in zip(batch.value.tolist(), batch.stales().tolist(), strict=True)]
    return list(zip(keys, batch.times().tolist(), values, strict=True))


def test_samples_come_back_as_they_were_after_a_restart(tmp_path: Path) -> None:
    series = SeriesTable()
    there = Quarantine(tmp_path / "q", series, FakeClock())
    assert there.put("far", _delivery(series), "because") == 3
    again = SeriesTable()
    after = Quarantine(tmp_path / "q", again, FakeClock())
    (found,) = after.refusals()
    assert (found.sink, found.reason, found.samples) == ("far", "because", 3)
    sink, delivery = after.delivery(found.id)
    assert sink == "far"
    assert _read(again, delivery) == _read(series, _delivery(series))
    after.drop(found.id)
    assert after.refusals() == []


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    series, events = SeriesTable(), [Event(5, "opened", "shop", {"by": "Ann", "n": 1.5, "on": True})]
    quarantine = Quarantine(tmp_path, series, FakeClock())
    assert quarantine.put("far", Delivery([3], [event_batch(events, 7)]), "because") == 1
    (found,) = quarantine.refusals()
    assert (found.samples, found.events) == (0, 1)
    _, (shown,) = quarantine.samples(found.id)
    assert (shown["summary"], shown["attributes"]["by"]) == ("opened", "Ann")
    _, delivery = quarantine.delivery(found.id)
    assert [list(batch.events) for batch in delivery.batches] == [events]


def test_room_is_bounded_and_comes_back(tmp_path: Path) -> None:
    series = SeriesTable()
    full = Quarantine(tmp_path, series, FakeClock(), max_bytes=600)
    assert [full.put("far", _delivery(series), "because") for _ in range(4)] == [3, 3, 0, 0]
    full.drop(full.refusals()[0].id)
    assert full.put("far", _delivery(series), "because") == 3


def test_a_refusal_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = SeriesTable()
    quarantine = Quarantine(tmp_path, series, FakeClock())

    def power_cut(self: Path, target: Path) -> Path:
        raise OSError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", power_cut)
        assert quarantine.put("far", _delivery(series), "because") == 0
    assert quarantine.refusals() == []
    assert len(list(tmp_path.iterdir())) == 1
    assert Quarantine(tmp_path, series, FakeClock()).put("far", _delivery(series), "because") == 3
    assert len(list(tmp_path.iterdir())) == 1, "what was not finished is gone"


@pytest.mark.parametrize("id", ["", "1", "../x", "../../etc/passwd", "1-2/../../x", "²"])
def test_nothing_else_can_be_named(tmp_path: Path, id: str) -> None:
    (tmp_path / "x.json").write_text("{}")
    quarantine = Quarantine(tmp_path / "q", SeriesTable(), FakeClock())
    for use in (quarantine.samples, quarantine.delivery, quarantine.drop):
        with pytest.raises(NotInQuarantine):
            use(id)
    assert (tmp_path / "x.json").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"samples": 1}', '{"samples": []}'])
def test_a_damaged_file_hides_no_other(tmp_path: Path, text: str) -> None:
    series = SeriesTable()
    quarantine = Quarantine(tmp_path, series, FakeClock())
    quarantine.put("far", _delivery(series), "because")
    (tmp_path / "0000000000001-0000.json").write_text(text)
    assert len(quarantine.refusals()) == 1
    with pytest.raises(DeliveryError, match="cannot be read"):
        quarantine.samples("0000000000001-0000")
