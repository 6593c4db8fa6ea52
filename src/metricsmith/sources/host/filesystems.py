"""How full file systems are, without ever waiting for one that hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

END = ""
"""In place of a path: nothing more is asked of the worker."""


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes and files of a file system; `available_bytes` is what ordinary users can still write."""

    size_bytes: int
    free_bytes: int
    available_bytes: int
    files: int
    files_free: int


@dataclass(slots=True)
class _Worker:
    """A thread that asks one file system after another, and what it asks now."""

    jobs: SimpleQueue[str]
    at: str = ""


class FileSystems:
    """Asks file systems in a thread. One that hangs keeps its thread and is not asked again meanwhile."""

    def __init__(self) -> None:
        self._hung: dict[str, _Worker] = {}
        self._answers: SimpleQueue[tuple[_Worker, str, Space | OSError]] = SimpleQueue()

    def read(self, paths: Iterable[str], timeout_s: float) -> dict[str, Space | OSError | None]:
        """Return the space of each path, the error that it gave, or None where no answer came in time.

        Takes at most twice the time-out, however many hang.
        """
        self._collect_late()
        found: dict[str, Space | OSError | None] = dict.fromkeys(paths)
        open_ = [path for path in found if path not in self._hung]
        deadline, last = time.monotonic() + timeout_s, time.monotonic() + 2 * timeout_s
        while open_ and time.monotonic() < last:
            worker = self._start(open_)
            answered = self._wait(worker, len(open_), deadline)
            found.update(answered)
            if len(answered) == len(open_):
                break
            stuck = worker.at or open_[len(answered)]
            self._hung[stuck] = worker
            _drain(worker.jobs)
            open_ = [path for path in open_ if path not in answered and path != stuck]
            if time.monotonic() >= deadline:
                deadline = time.monotonic() + timeout_s / 10  # those behind the one that hangs get a moment
        return found

    def _wait(self, worker: _Worker, count: int, deadline: float) -> dict[str, Space | OSError]:
        found: dict[str, Space | OSError] = {}
        while len(found) < count:
            try:
                who, path, answer = self._answers.get(timeout=max(deadline - time.monotonic(), 0.001))
            except Empty:
                break
            if who is worker:
                found[path] = answer
            else:
                self._came_back(who)
        return found

    def _collect_late(self) -> None:
        while True:
            try:
                who, _, _ = self._answers.get_nowait()
            except Empty:
                return
            self._came_back(who)

    def _came_back(self, worker: _Worker) -> None:
        """A file system that hung has answered: it is asked again, its thread ends."""
        for path in [path for path, who in self._hung.items() if who is worker]:
            del self._hung[path]
            worker.jobs.put(END)

    def _start(self, paths: list[str]) -> _Worker:
        worker = _Worker(SimpleQueue())
        for path in (*paths, END):
            worker.jobs.put(path)
        threading.Thread(target=self._work, args=(worker,), name="file systems", daemon=True).start()
        return worker

    def _work(self, worker: _Worker) -> None:
        while path := worker.jobs.get():
            worker.at = path
            answer: Space | OSError
            try:
                s = os.statvfs(path)
            except OSError as error:
                answer = error
            else:
                unit = s.f_frsize
                answer = Space(s.f_blocks * unit, s.f_bfree * unit, s.f_bavail * unit, s.f_files, s.f_ffree)
            worker.at = ""
            self._answers.put((worker, path, answer))


def _drain(jobs: SimpleQueue[str]) -> None:
    while True:
        try:
            jobs.get_nowait()
        except Empty:
            return
