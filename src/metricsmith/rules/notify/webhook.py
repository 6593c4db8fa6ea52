"""A webhook: alerts as a JSON list of our own form, each told once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import SecretStr

from metricsmith.errors import RetryLater
from metricsmith.model.settings_types import file_of, reveal
from metricsmith.net.post import Poster
from metricsmith.net.settings import Access
from metricsmith.rules.model import Notification
from metricsmith.rules.notify.destination import json_headers, shown_address
from metricsmith.rules.notify.entries import Entry, digest, payload_of
from metricsmith.rules.notify.grouping import grouped
from metricsmith.rules.notify.settings import DAY_MS, NotifySettings
from metricsmith.rules.notify.texts import message, number, time_text

DEFAULT_SEVERITY = "warning"
_FIELDS = ("alertname", "service", "severity")


class Webhook:
    """One address that alerts are posted to; `of_rule` says that a rule names it, not the configuration."""

    kind = "webhook"
    every_time = False
    batch = 1
    longest_wait_s = 60.0

    def __init__(self, url: SecretStr, settings: NotifySettings, of_rule: bool = False) -> None:
        self._url, self._settings, self.of_rule = url, settings, of_rule
        self.settings = (settings, of_rule)
        text = url.get_secret_value()
        self.name = f"{self.kind}-{digest(text)}"
        self.address = shown_address(text) if file_of(url) is None else "address from a file"
        self._poster = Poster(Access(), settings.timeout / 1000)

    def entries(self, notifications: Sequence[Notification]) -> Iterable[Entry]:
        """Return an entry for each group of alerts: it is one request, the same at each attempt."""
        told = [n for n in notifications if not n.resolved or self._settings.send_resolved]
        for group in grouped(told, self._settings.group_by):
            payload = payload_of({"alerts": [alert_fields(n) for n in group]})
            at_ms = max(n.sent_at_ms for n in group)
            yield Entry(self.name, digest(payload), at_ms, at_ms + DAY_MS, len(group), payload)

    async def send(self, payloads: Sequence[bytes], idempotency_key: str) -> None:
        """Post the one payload of a batch.

        Raises:
            RetryLater: nobody answers, or the file with the address cannot be read now.
            Rejected: the answer says that it would be no different later.
        """
        try:
            url = reveal(self._url)
        except (OSError, ValueError):
            raise RetryLater("the file with its address cannot be read", reason="secret") from None
        for payload in payloads:
            await self._poster.post(url, payload, json_headers(idempotency_key))

    def renewed(self, settings: NotifySettings) -> Webhook:
        """Return the same address with other settings."""
        return Webhook(self._url, settings, self.of_rule)

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()


def alert_fields(told: Notification) -> dict[str, Any]:
    """Return an alert as webhooks are told of it; only one that has ended has a `status`."""
    labels, threshold = told.labels, told.threshold
    fields = {
        "name": labels.get("alertname", told.rule.name),
        "service": labels.get("service", ""),
        "severity": labels.get("severity", DEFAULT_SEVERITY),
        "message": message(told),
        "value": number(told.value),
        "threshold": None if threshold is None else number(threshold),
        "timestamp": time_text(told.ends_at_ms if told.resolved else told.sent_at_ms),
        "tags": {name: value for name, value in labels.items() if name not in _FIELDS},
    }
    return {**fields, "status": "resolved"} if told.resolved else fields
