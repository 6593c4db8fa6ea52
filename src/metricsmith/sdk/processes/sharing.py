"""The side of the worker: a thread that pushes what was counted, and nothing is lost or counted twice."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.processes.address import check_address, connect
from metricsmith.sdk.processes.cells import Cells
from metricsmith.sdk.processes.frames import VERSION, BadFrame, FrameReader, encode_frame
from metricsmith.sdk.processes.push import Encoder, Push, in_pushes, too_large
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.registry import Registry

EXIT_S = 2.0
"""How long the end of a process may wait for its last push."""
ANSWER_S = 5.0
_PIECE = 65_536
_FOR_GOOD = frozenset(("malformed", "too_large"))
_FORKING = ("multiprocessing", "billiard")
"""Packages whose processes end without Python's own exit; billiard is Celery's."""
FORK_WAIT_S = 0.1
AGAIN_S = 0.05


class Refused(BadFrame):
    """A push would be refused again and again; it is given up, so that others can follow."""


class Sharing:
    """Pushes a registry's changes to the collecting process until the process ends.

    A push that was not acknowledged is kept and sent again in the next connection, under its number;
    further changes stay in the metrics until then. So memory is that of one push, whatever the other side
    does, and each change counts once. A forked child has a session of its own, with nothing to tell at first.
    """

    def __init__(
        self,
        registry: Registry,
        address: str,
        *,
        interval_s: float,
        service: str,
        instance: str,
        enabled: bool = True,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Where it is not `enabled`, nothing is done, and there is nothing to lose."""
        self.registry, self.address = registry, check_address(address)
        self.interval_s, self.enabled, self.clock = interval_s, enabled, clock
        self.problems = Problems()
        self.reconnects = 0
        self._identity = {"service": service, "instance": instance}
        self._started = False
        self._begin()

    def _begin(self) -> None:
        """Begin a session: that of a process which has not told of anything."""
        self._lock = threading.Lock()
        self._session = os.urandom(16).hex()
        self._cells = Cells(self.registry)
        self._waiting: deque[Push] = deque()
        self._number = 0
        self._socket: socket.socket | None = None
        self._frames, self._encoder = FrameReader(), Encoder()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Push from now on, in a daemon thread, and once more at the end of the process."""
        if self._started or not self.enabled:
            return
        self._started = True
        with suppress(ValueError):  # a name of ours is taken: by a Sharing before this one
            self.registry.register(self)
        _LIVE.add(self)
        atexit.register(self.stop)
        self._begin_here()

    def _begin_here(self, skipped: threading.Event | None = None) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, skipped), name="metricsmith-processes", daemon=True
        )
        self._thread.start()
        for name in _FORKING:
            stop_at_exit_of_children(self, name)
        stop_at_exit_of_celery(self)

    def flush(self, timeout_s: float = EXIT_S) -> bool:
        """Push all that was counted until now; return whether it is with the collecting process.

        For what must not be lost to a `kill -9`: called before a response is sent, it makes the response mean
        that it was counted. Takes some 0.1 ms, or a commit of the agent's disk, and `timeout_s` at most.
        """
        if not self.enabled:
            return True
        until_s = self.clock.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s):
            return False
        try:
            self._send_waiting(until_s)
            self._take()
            self._send_waiting(until_s)
        except (OSError, BadFrame) as error:
            self._failed(error)
            return False
        except Exception as error:
            self._disconnect()
            self.problems.note("processes", f"{type(error).__name__}: {error}", trace=True)
            return False
        finally:
            self._lock.release()
        return True

    def stop(self, timeout_s: float = EXIT_S) -> None:
        """Push once more, within a time, and say good-bye."""
        if not self._started:
            return
        self._started = False
        atexit.unregister(self.stop)
        _LIVE.discard(self)
        self._stop.set()
        until_s = self.clock.monotonic() + timeout_s
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        done = self.flush(max(0.1, until_s - self.clock.monotonic()))
        # Who has collected may be about to come back; who never did is not waited for.
        while not done and self.reconnects and self.clock.monotonic() < until_s:
            time.sleep(AGAIN_S)
            done = self.flush(max(0.1, until_s - self.clock.monotonic()))
        with suppress(OSError):
            if done and self._socket is not None:
                self._socket.sendall(encode_frame({"bye": 1}))
        self._disconnect()
        with suppress(KeyError):
            self.registry.unregister(self)

    def read(self) -> Iterator[Reading]:
        """Yield what sharing tells of itself, which is shared like all else."""
        yield self.problems.read()
        for name, help, value in (
            ("reconnects", "Connections to the collecting process.", self.reconnects),
            ("not_finite", "Changes that were left out: they are no finite numbers.", self._cells.not_finite),
        ):
            full = f"metricsmith_sdk_processes_{name}"
            yield Reading(full, "counter", help, "", [Sample(f"{full}_total", {}, float(value))])

    def describe(self) -> tuple[()]:
        """Return nothing: a registry need not read everything to learn the names."""
        return ()

    def _run(self, stop: threading.Event, skipped: threading.Event | None) -> None:
        if skipped is not None:
            self._skip_collectors(skipped)
        while not stop.is_set():
            self.flush(ANSWER_S)
            stop.wait(self.interval_s)

    def _take(self) -> None:
        """Let the changes since the last time wait to be sent."""
        if self._waiting:
            return
        changes = self._cells.changes()
        if large := [change for change in changes if too_large(change)]:
            self.problems.note(
                "label_set_too_large", f"{large[0].cell.shape.name}: labels are too long", len(large)
            )
            changes = [change for change in changes if not too_large(change)]
        self._waiting.extend(in_pushes(changes, self._number + 1))
        self._number += len(self._waiting)

    def _send_waiting(self, until_s: float) -> None:
        self._connect(until_s)
        while self._waiting:
            push = self._waiting[0]
            try:
                applied = self._ask(self._encoder.message(push), until_s)
            except Refused:
                self._waiting.popleft()
                raise
            if applied < push.number:
                raise BadFrame("answer", f"got an answer to push {applied}, wanted {push.number}")
            self._waiting.popleft()

    def _connect(self, until_s: float) -> None:
        """Have a connection in which the other side knows this session."""
        if self._socket is not None:
            if not self._ended(self._socket):
                return
            self._disconnect()
        self._socket = connect(self.address, max(0.01, min(1.0, until_s - self.clock.monotonic())))
        self._frames, self._encoder = FrameReader(), Encoder()
        self.reconnects += 1
        hello = {"hello": VERSION, "session": self._session, "pid": os.getpid(), **self._identity}
        applied = self._ask(hello, until_s)
        while self._waiting and self._waiting[0].number <= applied:
            self._waiting.popleft()  # its acknowledgement was lost
        self._cells.announce()

    @staticmethod
    def _ended(connected: socket.socket) -> bool:
        """Return whether the other side has closed: nothing else comes while nothing is asked."""
        connected.setblocking(False)
        try:
            connected.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    def _ask(self, message: dict[str, Any], until_s: float) -> int:
        """Send a message and return how many pushes the other side says to have."""
        connected = self._socket
        assert connected is not None
        connected.settimeout(max(0.01, until_s - self.clock.monotonic()))
        connected.sendall(encode_frame(message))
        while True:
            connected.settimeout(max(0.01, until_s - self.clock.monotonic()))
            piece = connected.recv(_PIECE)
            if not piece:
                raise ConnectionError("the collecting process has closed the connection")
            for answer in self._frames.feed(piece):
                if answer.get("refused") in _FOR_GOOD:
                    raise Refused("refused", f"a push was refused: {str(answer.get('because'))[:300]}")
                applied = answer.get("applied")
                if type(applied) is not int:
                    raise BadFrame("answer", f"got {str(answer)[:200]}, wanted a number of pushes")
                return applied

    def _failed(self, error: Exception) -> None:
        self._disconnect()
        away = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        text = "nobody collects there; what is counted waits" if away else f"{type(error).__name__}: {error}"
        kind = "processes_away" if away else error.reason if isinstance(error, Refused) else "processes"
        self.problems.note(kind, f"{self.address}: {text}")

    def _disconnect(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    def _forked(self) -> None:
        """In a child: begin a session; the parent's connection goes on without this copy of it."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
        self._begin()
        self._cells.skip_metrics()
        # Collectors may want a lock that another thread held at the fork, which nobody frees here. Then the
        # thread waits for ever, but not the application: who flushes gives up when his time is over.
        self._lock.acquire()
        skipped = threading.Event()
        self._begin_here(skipped)
        skipped.wait(FORK_WAIT_S)

    def _skip_collectors(self, skipped: threading.Event) -> None:
        try:
            self._cells.skip_collectors()
        finally:
            self._lock.release()
            skipped.set()


def stop_at_exit_of_celery(sharing: Sharing) -> None:
    """Stop sharing where a process of Celery's pool ends: it leaves without its package's finalizers, too."""
    if "celery" in sys.modules:
        from celery.signals import worker_process_shutdown

        # Under a name, so that a child which inherits the connection does not make another.
        worker_process_shutdown.connect(
            lambda **_: sharing.stop(), weak=False, dispatch_uid=f"metricsmith {id(sharing)}"
        )


def stop_at_exit_of_children(sharing: Sharing, package: str) -> None:
    """Stop sharing where a child of this package ends: it leaves without Python's `atexit`."""
    util, process = sys.modules.get(f"{package}.util"), sys.modules.get(f"{package}.process")
    if util is None or process is None:
        return
    # Where such a child begins, finalizers are cleared; what follows runs after that.
    util.register_after_fork(sharing, lambda each: util.Finalize(None, each.stop, exitpriority=0))
    if type(process.current_process()).__name__ != "_MainProcess":
        util.Finalize(None, sharing.stop, exitpriority=0)


_LIVE: weakref.WeakSet[Sharing] = weakref.WeakSet()
_frozen: list[threading.Lock] = []


def _before_fork() -> None:
    # Nobody else in this module may be reading collectors now, whose locks the child would find taken.
    locks = [sharing._lock for sharing in list(_LIVE)]
    _frozen.extend(lock for lock in locks if lock.acquire(timeout=FORK_WAIT_S))


def _after_fork_in_parent() -> None:
    while _frozen:
        _frozen.pop().release()


def _after_fork_in_child() -> None:
    _frozen.clear()
    for sharing in list(_LIVE):
        try:
            sharing._forked()
        except Exception as error:  # the child must go on
            sharing.problems.note("processes", f"after a fork: {type(error).__name__}: {error}", trace=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
