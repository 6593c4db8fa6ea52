"""An Alertmanager, version 2 of its API.

Source:
    The Alertmanager's OpenAPI specification, `POST /api/v2/alerts`; what is sent is what Prometheus sends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from urllib.parse import quote

from metricsmith.errors import Rejected
from metricsmith.model.labels import encode_labels
from metricsmith.net.addresses import check_target
from metricsmith.net.post import Poster
from metricsmith.net.target_files import Found
from metricsmith.rules.alerting import RESOLVED_KEPT_MS
from metricsmith.rules.model import Notification
from metricsmith.rules.notify.destination import json_headers
from metricsmith.rules.notify.entries import Entry, digest, payload_of
from metricsmith.rules.notify.settings import AlertmanagerConfig
from metricsmith.rules.notify.texts import time_text

MAX_BATCH = 64
_ONE_MAY_BE_BAD = ("400", "413", "422")


def alerts_url(url: str, config: AlertmanagerConfig) -> str:
    """Return where an Alertmanager takes alerts."""
    return f"{url.rstrip('/')}{config.path_prefix.rstrip('/')}/api/v2/alerts"


def listed_urls(found: Found, config: AlertmanagerConfig, refuse: Callable[[str], None]) -> list[str]:
    """Return the addresses of listed Alertmanagers; `refuse` is told why one is none."""
    urls = []
    for target in dict.fromkeys(listed.target for listed in found):
        try:
            address = check_target(target)
        except ValueError as error:
            refuse(str(error))
        else:
            urls.append(address if "://" in address else f"{config.scheme}://{address}")
    return urls


class Alertmanager:
    """One Alertmanager. It is told of every alert at each resend; newer news replaces what still waits."""

    kind = "alertmanager"
    every_time = True
    batch = MAX_BATCH
    longest_wait_s = 60.0

    def __init__(
        self, url: str, config: AlertmanagerConfig, external_labels: Mapping[str, str], external_url: str
    ) -> None:
        self._url = alerts_url(url, config)
        self.name = f"{self.kind}-{digest(self._url)}"
        self.address = self._url  # it has no user in it, and no query
        self.settings = (config, dict(external_labels), external_url)
        self._external_labels, self._external_url = external_labels, external_url.rstrip("/")
        self._poster = Poster(config, config.timeout / 1000)

    def entries(self, notifications: Sequence[Notification]) -> Iterable[Entry]:
        """Return an entry for each alert; one that fires is of no use when its end has passed."""
        for told in notifications:
            labels = {k: v for k, v in {**self._external_labels, **told.labels}.items() if v}
            alert = {
                "labels": labels,
                "annotations": {name: text for name, text in told.annotations.items() if text},
                "startsAt": time_text(told.starts_at_ms),
                "endsAt": time_text(told.ends_at_ms),
                "generatorURL": self._external_url + _graph_path(told.rule.expr),
            }
            until_ms = told.ends_at_ms + (RESOLVED_KEPT_MS if told.resolved else 0)
            slot = digest(encode_labels(labels))
            yield Entry(self.name, slot, told.sent_at_ms, until_ms, 1, payload_of(alert))

    async def send(self, payloads: Sequence[bytes], idempotency_key: str) -> None:
        """Post alerts. Of a batch that is refused, those that are guilty are found by halving it.

        Raises:
            RetryLater: nobody answers, or too busily; nothing is known to be delivered.
            Rejected: of the alerts at these positions, or of all; the others are delivered.
        """
        refused: dict[int, str] = {}
        pieces = [range(len(payloads))]
        while pieces:
            piece = pieces.pop()
            body = b"[" + b",".join(payloads[i] for i in piece) + b"]"
            try:
                await self._poster.post(self._url, body, json_headers(idempotency_key))
            except Rejected as error:
                if len(piece) == len(payloads) and not error.reason.startswith(_ONE_MAY_BE_BAD):
                    raise
                if len(piece) > 1:
                    pieces += _halves(piece)
                else:
                    refused[piece[0]] = error.reason
        if refused:
            raise Rejected(next(iter(refused.values())), sorted(refused))

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


def _halves(piece: range) -> Iterator[range]:
    middle = piece.start + len(piece) // 2
    yield range(middle, piece.stop)
    yield range(piece.start, middle)


@lru_cache(maxsize=1000)
def _graph_path(expr: str) -> str:
    """Return the path of the page that shows an expression."""
    return f"/graph?g0.expr={quote(expr, safe='')}&g0.tab=1"
