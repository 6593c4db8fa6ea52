"""pyarrow without pandas: where that is installed, it is imported at the first array handed out."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

import pyarrow as pa

PANDAS = "pandas"


class _Absent:
    """An import hook that finds no pandas."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name == PANDAS:
            raise ModuleNotFoundError(name, name=name)
        return None


def spare_pandas() -> None:
    """Have pyarrow take pandas for absent until somebody asks it for a data frame.

    The agent has no use for it; the import costs 0.15 s of CPU and 30 MB. pyarrow looks for it once,
    here; `to_pandas` looks again, so collectors of users may have both.
    """
    if PANDAS in sys.modules:
        return
    hook = _Absent()
    sys.meta_path.insert(0, hook)
    try:
        pa.array([0]).to_numpy()
    finally:
        sys.meta_path.remove(hook)
