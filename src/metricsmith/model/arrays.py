"""Names for array types. Shape letters, fixed project-wide: S series, P samples, T steps, W windows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
U8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]


def distinct(ids: U32) -> U32:
    """Return ids sorted, each once.

    `np.unique` gathers them in a hash table: of a million that takes 100 times as long as sorting.
    """
    ordered = np.sort(ids)
    kept = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=kept[1:])
    return ordered[kept]
