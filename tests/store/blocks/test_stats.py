"""Counts of a history are of series that are read right, or not given."""

from __future__ import annotations

import errno

import pytest

from metricsmith.errors import BlockCorrupt, StoreError
from metricsmith.store import block_files
from metricsmith.store.history_files import read_history
from metricsmith.store.stats import history_stats


@pytest.fixture
def history(open_store, tools):
    one = open_store()
    one.write({tools.key(n): {n: 1.0, 1000 + n: 1.0} for n in range(4)})
    one.store.close()
    return read_history(one.folder)


def test_each_file_of_series_is_read_once(history, monkeypatch):
    reads = []
    read_part = block_files.read_part
    monkeypatch.setattr(block_files, "read_part", lambda *args: reads.append(args) or read_part(*args))
    found = history_stats(history, 10, lambda _: None)
    assert (found.blocks, found.series, found.samples, len(reads)) == (2, 4, 8, 2)
    assert sum(count for _, count in found.samples_by_metric) == 8


def test_wrong_bytes_are_damage_and_a_file_that_cannot_be_read_now_is_none(history, monkeypatch):
    path = history.blocks[0].series

    def denied(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.open", denied)
        with pytest.raises(StoreError, match="Permission denied") as raised:
            history_stats(history, 10, lambda _: None)
    assert not isinstance(raised.value, BlockCorrupt)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BlockCorrupt, match="checksum"):
        history_stats(history, 10, lambda _: None)
