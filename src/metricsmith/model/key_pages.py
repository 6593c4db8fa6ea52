"""The keys of series by number, in pages: those of series that are gone take a tenth of the memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from metricsmith.model.arrays import Bool

PAGE_KEYS = 4096
_KEY_END = b"\xfd"
"""Is in no key."""
_LEVEL = 1


class _Packed:
    """A page of which few keys are needed still; the others are there, compressed."""

    __slots__ = ("_all", "_last", "needed")

    def __init__(self, keys: Sequence[bytes], needed: dict[int, bytes], last: _LastUnpacked) -> None:
        self._all = zlib.compress(_KEY_END.join(keys), _LEVEL)
        self._last, self.needed = last, needed

    def __getitem__(self, place: int) -> bytes:
        found = self.needed.get(place)
        return self.keys()[place] if found is None else found

    def keys(self) -> list[bytes]:
        page, keys = self._last.unpacked
        if page is not self:
            keys = zlib.decompress(self._all).split(_KEY_END)
            self._last.unpacked = self, keys
        return keys


class _LastUnpacked:
    """The keys of one page: a batch of series that come back asks for thousands of one page."""

    __slots__ = ("unpacked",)

    def __init__(self) -> None:
        self.unpacked: tuple[_Packed | None, list[bytes]] = (None, [])


class KeyPages:
    """A list of keys that only grows at its end. One thread at a time appends or packs, any reads."""

    def __init__(self) -> None:
        self.pages: list[list[bytes] | _Packed] = []
        """For who looks up often: a key is at `pages[number // PAGE_KEYS][number % PAGE_KEYS]`."""
        self._size = 0
        self._last = _LastUnpacked()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, number: int) -> bytes:
        return self.pages[number // PAGE_KEYS][number % PAGE_KEYS]

    def append(self, key: bytes) -> None:
        """Add a key, whose number is the length before."""
        place = self._size % PAGE_KEYS
        if place == 0:
            self.pages.append([])
        page = self.pages[-1]
        assert isinstance(page, list)  # the last page is not packed
        page.append(key)
        self._size += 1

    def between(self, start: int, stop: int | None) -> list[bytes]:
        """Return the keys with numbers from `start`, below `stop`."""
        return list(self._from(start, self._size if stop is None else min(stop, self._size)))

    def _from(self, start: int, stop: int) -> Iterator[bytes]:
        while start < stop:
            page, first = self.pages[start // PAGE_KEYS], start % PAGE_KEYS
            count = min(PAGE_KEYS - first, stop - start)
            yield from (page.keys() if isinstance(page, _Packed) else page)[first : first + count]
            start += count

    def pack(self, gone: Bool) -> None:
        """Pack pages of which half of the keys, or more, are of series that are gone.

        Shapes:
            gone: (N,) of the first N keys.
        """
        for number in range(min(len(gone), self._size - 1) // PAGE_KEYS):
            page = self.pages[number]
            own = gone[number * PAGE_KEYS : (number + 1) * PAGE_KEYS]
            if isinstance(page, _Packed):
                needed = {place: key for place, key in page.needed.items() if not own[place]}
                if len(needed) < len(page.needed):
                    page.needed = needed
            elif 2 * np.count_nonzero(own) >= PAGE_KEYS:
                kept = {n: key for n, key in enumerate(page) if not own[n]}
                self.pages[number] = _Packed(page, kept, self._last)
