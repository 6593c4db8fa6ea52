"""Questions to brokers: many at once, each on its own, all with a time limit.

kafka-python's admin calls fail whole when one broker is away, so its lower layer is used:
docs/decisions/0004-kafka-client.md. Its loop runs only while an answer is waited for, in the thread
that asks: nothing is left behind between rounds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from metricsmith.errors import MissingExtra, SourceError
from metricsmith.net.kafka_login import login_options
from metricsmith.net.kafka_settings import Connection
from metricsmith.sources.kafka.reach import why_not_in

try:
    import kafka.errors as kafka_errors
    from kafka.net import KafkaConnectionManager, NetworkSelector
except ImportError as error:
    raise MissingExtra(
        f"the kafka source needs kafka-python 3, which is not installed ({error});"
        " install it with: pip install 'metricsmith[kafka]'"
    ) from error

MAX_ANSWER_BYTES = 100 << 20
_MOVED = {3, 5, 6, 74, 75, 100, 103}
_COORDINATOR = {14, 15, 16}
_DENIED = {29, 30, 31, 53}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a question has no answer; `reason` is a short constant for counters, the message for people."""

    reason: str
    message: str


class KafkaUnavailable(SourceError):
    """No broker of the cluster answers."""


def reason_of(code: int) -> str:
    """Return the counter's reason for an error code of Kafka's protocol."""
    if code in _MOVED:
        return "moved"
    if code in _COORDINATOR:
        return "coordinator"
    return "not_authorized" if code in _DENIED else "broker_error"


def error_text(code: int) -> str:
    """Return the name of an error code, for people."""
    return str(getattr(kafka_errors.for_code(code), "__name__", code))


class Traffic:
    """Bytes over all connections of a client, as they are on the wire (in TLS: inside it).

    Stands where the library takes its own metrics, whose windows and averages cost more than the counting.
    """

    def __init__(self) -> None:
        self.bytes_in = self.bytes_out = 0

    def get_sensor(self, name: str) -> Traffic:
        """Return something: all sensors are there."""
        return self

    def sensor(self, name: str) -> _Sensor:
        """Return what counts bytes in or out, or nothing."""
        counts = {"bytes-received": self._received, "bytes-sent": self._sent}
        return _Sensor(counts.get(name.rpartition(".")[2], lambda value: None))

    def metric_name(self, *words: str) -> None:
        """Give no name: nothing is looked up by it."""

    def add_metric(self, *parts: Any) -> None:
        """Take no other metric."""

    def _received(self, count: float) -> None:
        self.bytes_in += int(count)

    def _sent(self, count: float) -> None:
        self.bytes_out += int(count)


class _Sensor:
    def __init__(self, record: Callable[[float], None]) -> None:
        self._record = record

    def add(self, *parts: Any) -> None:
        """Take no rate or average."""

    def record(self, value: float = 1.0) -> None:
        self._record(value)


class Client:
    """A connection to one cluster; for one thread at a time.

    `requests` counts what was sent, `traffic` its bytes and those of the answers.
    A broker that let the time run out is not asked again until `begin_round`, so
    that it costs a round one time-out.
    """

    def __init__(self, settings: Connection) -> None:
        logging.getLogger("kafka").setLevel(logging.CRITICAL)  # an error per lost connection: counted here
        self._settings, self._away = settings, set[int]()
        self.requests, self.traffic = 0, Traffic()
        self._net = NetworkSelector()
        self._manager = KafkaConnectionManager(self._net, **_options(settings), metrics=self.traffic)
        try:
            self._manager.bootstrap(settings.timeout)
        except Exception as error:
            self.close()
            why = "" if isinstance(error, kafka_errors.KafkaTimeoutError) else f": {_words(error)}"
            raise KafkaUnavailable(
                f"no broker at {', '.join(settings.bootstrap_servers)} let us in within"
                f" {settings.timeout / 1000:g} s by {settings.protocol()}{why} ({why_not_in(settings)})"
            ) from None

    def begin_round(self) -> None:
        """Give brokers that were away another chance."""
        self._away.clear()

    def brokers(self) -> list[int]:
        """Return the ids of the brokers that the cluster named last."""
        return sorted(broker.node_id for broker in self._manager.cluster.brokers())

    def heard(self, metadata: Any) -> None:
        """Take over the brokers' addresses from an answer to a MetadataRequest."""
        self._manager.cluster.update_metadata(metadata)

    def ask(self, questions: Sequence[tuple[int | None, Any]]) -> list[Any]:
        """Return an answer or a `Failure` per question (broker id or None for any, request), in order.

        All are under way together; none waits longer than the settings' timeout.
        """
        answers: list[Any] = self._manager.run(self._ask, questions)
        return answers

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Have the loop run in a thread of its own: answers to `begin` come while others are worked on."""
        self._net.start()
        try:
            yield
        finally:
            self._net.stop()

    def begin(self, node: int, request: Any, limit_ms: int, done: Callable[[Any], None]) -> None:
        """Have `done` called, in the thread of the loop, with the answer or a `Failure`."""

        async def ask() -> None:
            try:
                answer = await self._manager.send(request, node_id=node, request_timeout_ms=limit_ms)
            except Exception as error:
                answer = _failure(node, error)
            done(answer)

        self.requests += 1
        self._manager.call_soon(ask)

    def close(self) -> None:
        """Close all connections."""
        self._manager.close()
        self._net.close()

    async def _ask(self, questions: Sequence[tuple[int | None, Any]]) -> list[Any]:
        deadline = time.monotonic() + self._settings.timeout / 1000
        sent = [self._send(node, request) for node, request in questions]
        return [
            future if isinstance(future, Failure) else await self._answer(node, future, deadline)
            for (node, _), future in zip(questions, sent, strict=True)
        ]

    def _send(self, node: int | None, request: Any) -> Any:
        if node in self._away:
            return Failure("unreachable", f"broker {node} did not answer a moment ago")
        self.requests += 1
        try:
            return self._manager.send(request, node_id=node, request_timeout_ms=self._settings.timeout)
        except Exception as error:  # unknown broker, refused credentials
            return _failure(node, error)

    async def _answer(self, node: int | None, future: Any, deadline: float) -> Any:
        try:
            return await self._manager.wait_for(future, max(0.0, deadline - time.monotonic()) * 1000)
        except Exception as error:
            failure = _failure(node, error)
            if failure.reason == "timeout" and node is not None:
                self._away.add(node)
            return failure


def _failure(node: int | None, error: Exception) -> Failure:
    message = f"broker {'(any)' if node is None else node}: {_words(error)}"
    if isinstance(error, kafka_errors.KafkaTimeoutError | kafka_errors.RequestTimedOutError):
        return Failure("timeout", message)
    if isinstance(error, kafka_errors.NodeNotReadyError) and "throttle" in str(error):
        return Failure("throttled", f"{message}: a quota is used up")
    if isinstance(error, kafka_errors.IncompatibleBrokerVersion | kafka_errors.UnsupportedVersionError):
        return Failure("unsupported", message)
    if isinstance(error, kafka_errors.SaslAuthenticationFailedError):
        return Failure("not_authorized", message)
    return Failure("unreachable", message)


def _words(error: Exception) -> str:
    """What went wrong, after the kind of error; those of the library mostly begin with it themselves."""
    kind, text = type(error).__name__, str(error)
    return text if kind in text else f"{kind}: {text}" if text else kind


def _options(settings: Connection) -> Mapping[str, Any]:
    limits = dict.fromkeys(
        ("socket_connection_setup_timeout_ms", "socket_connection_setup_timeout_max_ms"), settings.timeout
    )
    return {**login_options(settings), **limits, "receive_message_max_bytes": MAX_ANSWER_BYTES}
