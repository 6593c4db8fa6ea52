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


def look_up(ids: U32, wanted: U32) -> tuple[I64, Bool]:
    """Return the place of each wanted id in sorted ones, and whether it is there; else the place is any.

    Shapes:
        wanted, returns: (N,)
    """
    at = np.searchsorted(ids, wanted)
    at[at == len(ids)] = 0
    return at, ids[at] == wanted if len(ids) else np.zeros(len(wanted), np.bool_)


def are_in(wanted: U32, ids: U32) -> Bool:
    """Return which of the wanted ids are among sorted ones.

    `np.isin` goes over all of them: for a few in a million that takes 500 times as long as looking them up,
    for as many in a million a fifth.

    Shapes:
        wanted, returns: (N,)
    """
    if len(wanted) * 16 > len(ids):
        return np.isin(wanted, ids)
    return look_up(ids, wanted)[1]
