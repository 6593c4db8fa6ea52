"""PostMetricData through the SDK, and what its answers mean for a delivery."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.net.post import retry_after
from metricsmith.sinks.oci.account import Account, open_account
from metricsmith.sinks.oci.sdk import NO_TOKEN, RequestException, oci
from metricsmith.sinks.oci.settings import OciConfig
from metricsmith.sinks.oci.trouble import clock_hint, unanswered

MAX_ANSWER_BYTES = 4 << 20
"""What is refused comes back whole, so an answer may be larger than a call."""

_ABOUT_THE_DATA = frozenset({"InvalidParameter", "MissingParameter", "CannotParseRequest"})
_MENDED_BY_PEOPLE = {
    401: ("credentials", "check user, fingerprint and key_file, and that the console lists the key"),
    403: ("not_authorized", "check the policy: Allow group … to use metrics in compartment …"),
    404: (
        "not_authorized",
        "check compartment_id, the region, and the policy: Allow group … to use metrics in compartment …",
    ),
}


@dataclass(frozen=True, slots=True)
class Failed:
    """A metric that the service refused, as it names it."""

    message: str
    name: str
    dimensions: tuple[tuple[str, str], ...]


class MonitoringPost:
    """Posts bodies in the name of an account. `post` waits: it is called from threads, from several at once.

    Credentials are read at the first call, and again after a refusal: what a
    person mends or rotates is used without a restart.
    """

    def __init__(self, config: OciConfig) -> None:
        self._config = config
        self._opening = threading.Lock()
        self._client: Any = None

    def post(self, body: bytes) -> Sequence[Failed]:
        """Send a call; return the metrics that the service refused, all others are taken.

        Raises:
            RetryLater, TooLarge, Rejected: as for `Sink.send`; no series is named.
        """
        with self._opening:
            client = self._client = self._client or self._open()
        try:
            answer = client.post_metric_data(body)
        except oci.exceptions.ServiceError as error:
            if error.status in _MENDED_BY_PEOPLE:
                self.close()
            raise refused(error) from None
        except (RequestException, OSError, ValueError, RecursionError) as error:
            raise unanswered(error, client.base_client.endpoint) from None
        except NO_TOKEN as error:
            self.close()
            raise RetryLater(f"no token to sign with: {_one_line(error)}", reason="credentials") from None
        return failed_metrics(answer.data)

    def close(self) -> None:
        """Close the connections; the next call opens others, for credentials read anew."""
        client, self._client = self._client, None
        if client is not None:
            client.base_client.session.close()

    def _open(self) -> Any:
        account = open_account(self._config)
        try:
            client = self._of(account)
        except (oci.exceptions.ClientError, ValueError) as error:
            raise RetryLater(f"the SDK cannot be set up: {error}", reason="credentials") from None
        session = client.base_client.session
        session.max_redirects = 0
        session.hooks["response"].append(_bounded)
        return client

    def _of(self, account: Account) -> Any:
        return oci.monitoring.MonitoringClient(
            dict(account.settings),
            signer=account.signer,
            service_endpoint=self._config.endpoint or account.ingestion,
            timeout=(self._config.connect_timeout / 1000, self._config.timeout / 1000),
            # Both are the delivery engine's: a second layer would wait where nobody sees it.
            retry_strategy=oci.retry.NoneRetryStrategy(),
            circuit_breaker_strategy=oci.circuit_breaker.NoCircuitBreakerStrategy(),
            skip_deserialization=True,
        )


def refused(error: Any) -> RetryLater | TooLarge | Rejected:
    """Return what an answer that is none of 2xx means."""
    status, code = int(error.status), str(error.code or "")
    told = f"got {status} {code}: {_one_line(error.message)}" if code else f"got HTTP status {status}"
    if status == 413:
        return TooLarge(told)
    if status == 400 and code in _ABOUT_THE_DATA:
        return Rejected(told.removeprefix("got "))
    date = error.headers.get("Date")
    if status in _MENDED_BY_PEOPLE:
        reason, hint = _MENDED_BY_PEOPLE[status]
        wrong_clock = clock_hint(date, time.time()) if status == 401 else ""
        return RetryLater(f"{told} ({wrong_clock or hint})", reason=reason)
    after_s = retry_after(error.headers.get("Retry-After"), date)
    return RetryLater(told, after_s, "too_many_requests" if status == 429 else f"status_{status // 100}xx")


def _bounded(response: Any, **_: object) -> None:
    """Read an answer here, where it can be bounded; the SDK would read all there is."""
    parts: list[bytes] = []
    for part in response.iter_content(64 << 10):
        parts.append(part)
        if sum(map(len, parts)) > MAX_ANSWER_BYTES:
            response.close()
            raise RequestException(f"got an answer over {MAX_ANSWER_BYTES} bytes")
    response._content = b"".join(parts)


def failed_metrics(answer: Any) -> Sequence[Failed]:
    """Return what an answer of 200 says was not taken.

    Raises:
        Rejected: something, but not what.
        RetryLater: the answer is none of this service.
    """
    match answer:
        case {"failedMetricsCount": int(count)}:
            entries = answer.get("failedMetrics")
        case _:
            raise RetryLater("got an answer of another service; check the endpoint", reason="wrong_service")
    if isinstance(entries, list) and len(entries) >= count:
        return [_named(entry) for entry in entries]
    if count > 0:
        raise Rejected("refused in part, and not said what or why")
    return []


def _named(entry: Any) -> Failed:
    match entry:
        case {"metricData": {"name": str(name), "dimensions": dict(dimensions)}}:
            pairs = tuple(sorted((str(key), str(value)) for key, value in dimensions.items()))
            return Failed(_one_line(entry.get("message")), name, pairs)
    return Failed(_one_line(entry), "", ())


def _one_line(text: object) -> str:
    printable = "".join(c if c.isprintable() else " " for c in str(text or "no reason given"))
    return " ".join(printable.split())[:300]
