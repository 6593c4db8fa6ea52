"""The `transfer` source: batches of other agents by ZeroMQ, each acknowledged once it is in our journal."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import zmq
from pydantic import Field

from metricsmith.contracts import Context, Emit
from metricsmith.errors import DiskFull, JournalError, OutOfOrder
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import SizeBytes
from metricsmith.model.targets import PoolStatus
from metricsmith.net.bus_settings import Endpoint, SocketSettings
from metricsmith.net.door import Door
from metricsmith.net.threads import in_thread_until
from metricsmith.sources.transfer.sessions import Sessions, Taken

log = logging.getLogger(__name__)

POLL_MS = 100
MAX_ROUND_BYTES = 16 << 20
"""So much is taken before it is committed; more waits at the senders."""


class TransferConfig(SocketSettings):
    """Settings of a `transfer` source: takes what `transfer` sinks send. Nothing is lost or double."""

    endpoint: Endpoint = Field("tcp://localhost:11002", description="Address: tcp://HOST:PORT or ipc://PATH.")
    bind: bool = Field(True, description="Listen at the address; false connects to one producer.")
    high_water_mark: int = Field(
        16,
        ge=1,
        le=10_000,
        description="Messages of a producer that wait in memory, of a megabyte each.",
    )
    max_message: SizeBytes = Field(80 << 20, ge=1 << 20, le=1 << 30, description="Largest message accepted.")


class TransferSource:
    """Receives in a thread of its own; what has come is committed at once, and then acknowledged."""

    Config: ClassVar[type[TransferConfig]] = TransferConfig

    @classmethod
    async def examine(cls, config: TransferConfig, context: Context, findings: Findings) -> None:
        """Look at the keys and the address."""
        from metricsmith.net.bus_examination import examine_socket

        await examine_socket(config, findings)

    def __init__(self, config: TransferConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._door = Door(zmq.ROUTER, config, context)
        self._sessions = Sessions(context, config.max_message * 4 // 5)

    def targets(self) -> PoolStatus:
        """Return how the socket is, and each producer with the time when it was last heard."""
        return PoolStatus(self._context.name, (self._door.target(), *self._sessions.heard.targets()))

    async def run(self, emit: Emit, stop: asyncio.Event) -> None:
        """Receive until `stop` is set."""
        loop = asyncio.get_running_loop()
        await in_thread_until(self._context.name, lambda ending: self._receive(emit, loop, ending), stop)

    # What follows runs in the thread.

    def _receive(self, emit: Emit, loop: asyncio.AbstractEventLoop, ending: threading.Event) -> None:
        opened = self._door.open(ending)
        if opened is None:
            return
        try:
            while not ending.is_set():
                if opened.socket.poll(POLL_MS):
                    self._round(opened.socket, emit, loop)
        finally:
            opened.close()

    def _round(self, socket: zmq.Socket[bytes], emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
        """Take what is there, commit it, answer."""
        sessions, size = self._sessions, 0
        with suppress(zmq.Again):
            while size < MAX_ROUND_BYTES:
                peer, *frames = socket.recv_multipart(zmq.NOBLOCK)
                size += sum(map(len, frames))
                if frames and frames[0][:1] == b"H":
                    self._commit(emit, loop)  # a new session begins where the last one has come to
                sessions.hear(peer, frames or [b""])
        self._commit(emit, loop)
        for peer, answer in sessions.answers:
            with suppress(zmq.Again):  # who does not take answers asks again
                socket.send_multipart([peer, *answer], zmq.NOBLOCK)
        sessions.answers.clear()

    def _commit(self, emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
        taken = list(self._sessions.taken)
        self._sessions.taken.clear()
        if not taken:
            return

        async def hand_on() -> Sequence[BaseException | None]:
            # Side by side: the journal takes them in this order, and commits many at once.
            return await asyncio.gather(*(emit(each.batch) for each in taken), return_exceptions=True)

        outcomes = asyncio.run_coroutine_threadsafe(hand_on(), loop).result()
        accepted = sum(len(t.batch) for t, o in zip(taken, outcomes, strict=True) if o is None)
        self._context.telemetry.count("metricsmith_push_samples_total", accepted, protocol="transfer")
        self._answer(taken, outcomes)

    def _answer(self, taken: Sequence[Taken], outcomes: Sequence[BaseException | None]) -> None:
        ended: dict[bytes, None] = {}
        for each, outcome in zip(taken, outcomes, strict=True):
            if outcome is None or each.peer in ended:
                continue
            ended[each.peer] = None
            reason, text = self._why(each, outcome)
            self._sessions.refused(each.peer, each.session, reason, text)
        for peer, session in {each.peer: each.session for each in taken if each.peer not in ended}.items():
            self._sessions.committed(peer, session)

    def _why(self, each: Taken, outcome: BaseException) -> tuple[str, str]:
        """Return why a batch was not committed, counted."""
        match outcome:
            case DiskFull():
                reason = "disk_full"
            case JournalError():
                reason = "journal_error"
            case OutOfOrder():
                reason = "order"
            case Exception():
                reason = "defect"
                self._sessions.failed(each, outcome)
            case _:
                raise outcome
        self._context.telemetry.problem(
            log,
            "metricsmith_source_failures_total",
            f"{self._context.name}: not accepted from {each.session.name}, comes again: {outcome}",
            source=self._context.name,
            reason=reason,
        )
        return reason, str(outcome)
