"""State that lasts as long as the process: for one-shot commands, where nothing is to be remembered."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping


class MemoryState:
    """`contracts.State` in a dictionary."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def items(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """Return what is kept under keys that begin with `prefix`, in key order."""
        with self._lock:
            return sorted((key, value) for key, value in self._kept.items() if key.startswith(prefix))

    def commit(self, put: Mapping[str, bytes], delete: Iterable[str] = ()) -> None:
        """Forget, then keep values, all or nothing."""
        with self._lock:
            for key in delete:
                self._kept.pop(key, None)
            self._kept.update(put)
