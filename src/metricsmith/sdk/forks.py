"""Locks after a fork: what another thread of the parent held, nobody would free in the child."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol
from weakref import WeakSet


class LockHolder(Protocol):
    """What has a lock that is renewed."""

    lock: RLock


_HOLDERS: WeakSet[LockHolder] = WeakSet()


def renew_lock_after_fork(holder: LockHolder) -> None:
    """Give the holder a new lock in each child process, as long as it lives."""
    _HOLDERS.add(holder)


def _after_fork() -> None:
    for holder in list(_HOLDERS):
        holder.lock = RLock()


if hasattr(os, "register_at_fork"):  # where processes can fork
    os.register_at_fork(after_in_child=_after_fork)
