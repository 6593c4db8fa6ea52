"""Threads for code that nobody can stop: few while all is well, one more for each call that takes long.

A call that never returns keeps its thread, and none of the others waits for it for longer than PATIENCE_S.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias

PATIENCE_S = 0.1
"""A call that runs for longer no longer counts as one of the quick ones."""
_Work: TypeAlias = "tuple[Callable[[], Any], asyncio.Future[Any]]"


class Interrupted(BaseException):
    """Raised in a call that is long over its time, wherever it is in Python code."""


class Threads:
    """Runs calls in daemon threads; `quick` bounds those that run at once, slow calls apart.

    For one event loop. Who submits one call at a time for each of N things has
    at most N threads that are slow.
    """

    def __init__(self, name: str, quick: int = 4) -> None:
        self._name, self._quick = name, quick
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._running: dict[int, tuple[float, asyncio.Future[Any]]] = {}
        self._growing = False
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of threads."""
        return len(self._threads)

    def submit(self, call: Callable[[], Any]) -> asyncio.Future[Any]:
        """Return what becomes the result of a call, or the exception that it raises, whatever it is."""
        result = asyncio.get_running_loop().create_future()
        self._work.put((call, result))
        self._grow()
        return result

    def interrupt(self, result: asyncio.Future[Any]) -> None:
        """Raise `Interrupted` in a call that still runs; one that waits in C notices when that returns."""
        with self._lock:
            for thread, (_, running) in self._running.items():
                if running is result:
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(thread), ctypes.py_object(Interrupted)
                    )

    def close(self) -> None:
        """Let threads end as soon as they return from what they do. Nothing waits for them."""
        for _ in range(len(self._threads)):
            self._work.put(None)

    def _grow(self) -> None:
        """Start threads while work waits that none will take soon; look again as long as it waits."""
        now = time.monotonic()
        with self._lock:
            waiting = self._work.qsize()
            slow = sum(now - since > PATIENCE_S for since, _ in self._running.values())
            idle = len(self._threads) - len(self._running)
            while waiting > idle and len(self._threads) - slow < self._quick and self._start():
                idle += 1
        if waiting and not self._growing:
            self._growing = True
            asyncio.get_running_loop().call_later(PATIENCE_S, self._grow_again)

    def _grow_again(self) -> None:
        self._growing = False
        self._grow()

    def _start(self) -> bool:
        thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left: who waits is told by a time-out
            self._threads.discard(thread)
            return False
        return True

    def _serve(self) -> None:
        me = threading.get_ident()
        try:
            while (work := self._work.get()) is not None:
                self._run(me, *work)
                del work
                if self._is_needless(me):
                    return
        except Interrupted:
            pass  # it came when the call had returned
        finally:
            self._end(me)

    def _run(self, me: int, call: Callable[[], Any], result: asyncio.Future[Any]) -> None:
        with self._lock:
            self._running[me] = (time.monotonic(), result)
        try:
            value = call()
        except BaseException as error:  # SystemExit, too, is nobody else's business
            _tell(result, None, error)
        else:
            _tell(result, value, None)

    def _is_needless(self, me: int) -> bool:
        """Note that a call has returned; return whether its thread is one more than are needed."""
        with self._lock:
            del self._running[me]
            return len(self._threads) - len(self._running) > self._quick

    def _end(self, me: int) -> None:
        """Note that a thread ends, be it because an interruption came when its call had returned."""
        with self._lock:
            self._threads.discard(threading.current_thread())
            _, result = self._running.pop(me, (0.0, None))
        if result is not None:
            _tell(result, None, TimeoutError("was interrupted"))


def _tell(result: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
        result.get_loop().call_soon_threadsafe(_settle, result, value, failure)


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
