"""The collecting process: listens for workers, and tells what they have counted together."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.processes.address import Untrusted, accept, check_address, default_address, listen
from metricsmith.sdk.processes.frames import BadFrame, FrameReader, encode_frame
from metricsmith.sdk.processes.sessions import EXPIRY_S, Kept, Sessions, Speaker
from metricsmith.sdk.reading import Reading, Sample

MAX_CONNECTIONS = 1_024
PARTIAL_S = 30.0
"""How long a frame may take to come, and the first one of a connection."""
_PIECE = 1 << 18
_PATIENCE_S = 5.0


class Connection:
    """One worker."""

    def __init__(self, accepted: socket.socket, since_s: float) -> None:
        self.socket, self.frames, self.speaker = accepted, FrameReader(), Speaker()
        self.since_s = since_s

    @property
    def owes(self) -> bool:
        """Whether something is to come: its first message, or the rest of one."""
        return self.frames.waiting or self.speaker.hello is None


class Collector:
    """Collects what workers push, in a thread; register it in a registry to have it exposed or exported.

    What is acknowledged is in the totals, and on disk if `kept` is given; else totals begin at zero with each
    collecting process, which readers see as a restart of counters.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        kept: Kept | None = None,
        by_service: bool = False,
        expiry_s: float = EXPIRY_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """With `by_service`, series have the labels `job` and `instance` of their application."""
        self.address = check_address(default_address() if address is None else address)
        self.sessions = Sessions(clock, kept, by_service=by_service, expiry_s=expiry_s)
        self.problems = Problems()
        self.refused: Counter[str] = Counter()
        """Connections that were closed, by reason."""
        self._clock = clock
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._selector: selectors.BaseSelector | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False

    def start(self) -> None:
        """Listen from now on. Kept totals are taken up when no other collector listens any more.

        Raises:
            OSError: the address cannot be used.
        """
        self._listening = listen(self.address)
        try:
            self.sessions.restore()
        except BaseException:
            self._listening.close()
            raise
        self._inode = None if self._is_tcp else os.stat(self.address).st_ino  # noqa: PTH116
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        _LIVE.add(self)
        self._thread = threading.Thread(target=self._run, name="metricsmith-collector", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections and leave nothing behind; what was acknowledged can still be read."""
        if self._thread is None:
            return
        self._stopping = True
        with suppress(OSError):
            self._wake.send(b"\0")
        self._thread.join(_PATIENCE_S)
        self._thread = None
        _LIVE.discard(self)
        if self._inode is not None:
            with suppress(OSError):
                if os.stat(self.address).st_ino == self._inode:  # noqa: PTH116
                    os.unlink(self.address)  # noqa: PTH108
                    os.rmdir(os.path.dirname(self.address))  # noqa: PTH106, PTH120  if nothing else is there
        self.abandon()

    def abandon(self) -> None:
        """Close this process's copies of all sockets, and nothing else: what a forked child has to do."""
        for each in (self._listening, self._wake, self._woken, *(c.socket for c in self._connections)):
            with suppress(OSError):
                each.close()
        if self._selector is not None:
            self._selector.close()
        self._connections.clear()

    def read(self) -> Iterator[Reading]:
        """Yield what all processes have counted together, and how many there are."""
        yield from self.totals()
        name = "metricsmith_collector_processes"
        connected = [Sample(name, {}, float(self.connected))]
        yield Reading(name, "gauge", "Processes that are connected.", "", connected)
        name = "metricsmith_collector_pushes"
        pushes = [Sample(f"{name}_total", {}, float(self.sessions.pushes))]
        yield Reading(name, "counter", "Pushes that were applied.", "", pushes)
        name = "metricsmith_collector_problems"
        samples = [Sample(f"{name}_total", {"reason": r}, float(n)) for r, n in self.trouble().items()]
        yield Reading(
            name, "counter", "Connections and label sets that were not taken as they are.", "", samples
        )

    def totals(self) -> list[Reading]:
        """Return what all processes have counted together."""
        with self._lock:
            return list(self.sessions.read())

    @property
    def connected(self) -> int:
        """The number of processes that are connected."""
        with self._lock:
            return self.sessions.connected

    def trouble(self) -> dict[str, int]:
        """Return how often something was not taken as it is, by reason.

        Connections are closed for `malformed`, `version`, `too_large`, `too_many`, `replaced`, `timeout`,
        `untrusted`, `accept`, `connections` and `not_kept`; label sets were `folded` into `__overflow__`,
        metrics of other type or buckets were in `conflict`, metrics were too many (`families`).
        """
        totals = self.sessions.totals
        told = {"folded": totals.folded, "conflict": totals.conflicts, "families": totals.refused}
        return {**self.refused, **{reason: count for reason, count in told.items() if count}}

    def describe(self) -> tuple[()]:
        """Return nothing: a registry need not read everything to learn the names."""
        return ()

    @property
    def _is_tcp(self) -> bool:
        return self.address.startswith("tcp://")

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:
                self.problems.note("collector", f"{type(error).__name__}: {error}", trace=True)
                time.sleep(0.1)

    def _turn(self) -> None:
        assert self._selector is not None
        answers: list[tuple[Connection, int]] = []
        for key, _ in self._selector.select(1.0):
            if key.fileobj is self._listening:
                self._accept()
            elif isinstance(key.data, Connection):
                answers += self._hear(key.data)
        with self._lock:
            self.sessions.forget_old()
            try:
                self.sessions.keep()
            except Exception as error:
                self.refused["not_kept"] += 1
                self.problems.note("not_kept", f"totals cannot be kept: {error}")
                # Unanswered, they come again; what is in the totals by then is kept with the next.
                for connection in {connection for connection, _ in answers}:
                    self._close(connection)
                time.sleep(0.1)
                answers = []
        for connection, applied in answers:
            self._answer(connection, applied)
        self._close_slow()

    def _accept(self) -> None:
        try:
            accepted = accept(self._listening)
        except BlockingIOError:
            return
        except Untrusted as error:
            self._refuse("untrusted", str(error))
            return
        except OSError as error:
            self._refuse("accept", str(error))
            time.sleep(0.01)  # no file descriptors left must not spin
            return
        if len(self._connections) >= MAX_CONNECTIONS:
            self._refuse("connections", f"more than {MAX_CONNECTIONS} connections")
            accepted.close()
            return
        connection = Connection(accepted, self._clock.monotonic())
        self._connections.add(connection)
        assert self._selector is not None
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _hear(self, connection: Connection) -> list[tuple[Connection, int]]:
        """Apply what came; return what is to be answered."""
        answers = []
        try:
            piece = connection.socket.recv(_PIECE)
            if not connection.owes:
                connection.since_s = self._clock.monotonic()
            for message in connection.frames.feed(piece):
                connection.since_s = self._clock.monotonic()
                with self._lock:
                    applied = self.sessions.hear(connection.speaker, message)
                if applied is not None:
                    answers.append((connection, applied))
        except (BlockingIOError, InterruptedError):
            return []
        except BadFrame as error:
            self._refuse(error.reason, str(error))
            self._say(connection, {"refused": error.reason, "because": str(error)[:300]})
            piece = b""
        except OSError:
            piece = b""
        if not piece:
            self._close(connection, locked=False)
        return answers

    def _answer(self, connection: Connection, applied: int) -> None:
        if not self._say(connection, {"applied": applied}):
            self._close(connection, locked=False)

    def _say(self, connection: Connection, message: dict[str, Any]) -> bool:
        try:
            connection.socket.send(encode_frame(message))
        except OSError:  # it is gone, or does not read what it asked for
            return False
        return True

    def _close_slow(self) -> None:
        until_s = self._clock.monotonic() - PARTIAL_S
        for connection in [c for c in self._connections if c.owes and c.since_s < until_s]:
            self._refuse("timeout", f"a frame did not come within {PARTIAL_S:g} s")
            self._close(connection, locked=False)

    def _close(self, connection: Connection, *, locked: bool = True) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        assert self._selector is not None
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()
        if locked:
            self.sessions.leave(connection.speaker)
        else:
            with self._lock:
                self.sessions.leave(connection.speaker)

    def _refuse(self, reason: str, text: str) -> None:
        self.refused[reason] += 1
        self.problems.note(reason, f"{self.address}: {text}")


_LIVE: weakref.WeakSet[Collector] = weakref.WeakSet()


def _after_fork() -> None:
    for collector in list(_LIVE):
        collector._thread, collector._lock = None, threading.Lock()
        collector.abandon()
    _LIVE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
