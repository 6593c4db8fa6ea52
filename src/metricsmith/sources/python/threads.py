"""Threads for code that nobody can stop: few while all is well, one more for each call that takes long.

A call that never returns keeps its thread, and none of the others waits for it for longer than PATIENCE_S.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

PATIENCE_S = 0.1
"""A call that runs for longer no longer counts as one of the quick ones."""
_Work: TypeAlias = "tuple[Callable[[], Any], asyncio.Future[Any]]"


class Threads:
    """Runs calls in daemon threads; `quick` bounds those that run at once, slow calls apart.

    For one event loop. Who submits one call at a time for each of N things has
    at most N threads that are slow.
    """

    def __init__(self, name: str, quick: int = 4) -> None:
        self._name, self._quick = name, quick
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._running: dict[int, float] = {}
        self._count = 0
        self._growing = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of threads."""
        return self._count

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Return what becomes the result of a call, or the exception that it raises, whatever it is."""
        result = asyncio.get_running_loop().create_future()
        self._work.put((call, result))
        self._grow()
        return result

    def close(self) -> None:
        """Let threads end as soon as they return from what they do. Nothing waits for them."""
        for _ in range(self._count):
            self._work.put(None)

    def _grow(self) -> None:
        """Start threads while work waits that none will take soon; look again as long as it waits."""
        now = time.monotonic()
        with self._lock:
            waiting = self._work.qsize()
            slow = sum(now - since > PATIENCE_S for since in self._running.values())
            idle = self._count - len(self._running)
            while waiting > idle and self._count - slow < self._quick:
                self._count, idle = self._count + 1, idle + 1
                threading.Thread(target=self._serve, name=f"{self._name} {self._count}", daemon=True).start()
        if waiting and not self._growing:
            self._growing = True
            asyncio.get_running_loop().call_later(PATIENCE_S, self._grow_again)

    def _grow_again(self) -> None:
        self._growing = False
        self._grow()

    def _serve(self) -> None:
        me = threading.get_ident()
        while (work := self._work.get()) is not None:
            call, result = work
            del work
            self._running[me] = time.monotonic()
            value: Any = None
            failure: BaseException | None = None
            try:
                value = call()
            except BaseException as error:  # SystemExit, too, is nobody else's business
                failure = error
            with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
                result.get_loop().call_soon_threadsafe(_settle, result, value, failure)
            del call, result, value, failure
            with self._lock:
                self._running.pop(me, None)
                if self._count - len(self._running) > self._quick:  # it was one more while others were slow
                    self._count -= 1
                    return
        with self._lock:
            self._count -= 1


def _settle(result: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if result.done():
        return
    if failure is None:
        result.set_result(value)
    elif isinstance(failure, Exception) and not isinstance(failure, StopIteration):
        result.set_exception(failure)
    else:  # a future refuses StopIteration, and SystemExit would end the event loop
        told = RuntimeError(f"{type(failure).__name__}: {failure}")
        result.set_exception(told.with_traceback(failure.__traceback__))
