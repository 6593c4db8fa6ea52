"""The keys of recent selections in byte order: the same list again for the same series."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from metricsmith.model.arrays import I64, U32
from metricsmith.model.series import SeriesTable
from metricsmith.model.series_keys import SeriesKeys

MOST_KEYS = 65_536
"""Keys in all lists that are kept; what is derived of a list takes several times its memory."""


class KeyLists:
    """Makes lists of keys, and keeps those used last. Safe from any thread."""

    def __init__(self, table: SeriesTable) -> None:
        self._table = table
        self._kept: OrderedDict[bytes, tuple[SeriesKeys, I64]] = OrderedDict()
        self._keys = 0
        self._lock = threading.Lock()

    def of(self, series: U32) -> tuple[SeriesKeys, I64]:
        """Return the keys of series in byte order, and the place of each series among them.

        Shapes:
            series: (S,) ids, each once.
            returns: S keys, (S,)
        """
        in_order = np.sort(series)
        name = in_order.tobytes()
        with self._lock:
            found = self._kept.get(name)
            if found is not None:
                self._kept.move_to_end(name)
        if found is None:
            found = self._made(in_order)
            self._keep(name, found)
        keys, places = found
        return keys, places if (in_order == series).all() else places[np.searchsorted(in_order, series)]

    def _made(self, series: U32) -> tuple[SeriesKeys, I64]:
        keys = [self._table.key(i) for i in series.tolist()]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        places = np.empty(len(order), np.int64)
        places[order] = np.arange(len(order))
        return SeriesKeys([keys[i] for i in order]), places

    def _keep(self, name: bytes, found: tuple[SeriesKeys, I64]) -> None:
        with self._lock:
            before = self._kept.pop(name, None)
            self._keys += len(found[0]) - (0 if before is None else len(before[0]))
            self._kept[name] = found
            while self._keys > MOST_KEYS:
                _, (keys, _) = self._kept.popitem(last=False)
                self._keys -= len(keys)
