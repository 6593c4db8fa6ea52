"""Another service, through Apprise: chat, mail, pagers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import orjson
from pydantic import SecretStr

from metricsmith.errors import RetryLater
from metricsmith.model.labels import format_labels
from metricsmith.model.settings_types import file_of, reveal
from metricsmith.net.threads import in_thread
from metricsmith.rules.model import Notification
from metricsmith.rules.notify.apprise_urls import apprise_service
from metricsmith.rules.notify.entries import Entry, digest, payload_of
from metricsmith.rules.notify.grouping import grouped
from metricsmith.rules.notify.settings import DAY_MS, NotifySettings
from metricsmith.rules.notify.texts import message, number, time_text
from metricsmith.rules.notify.webhook import DEFAULT_SEVERITY

MAX_LISTED = 20
"""Alerts that a message lists; of more it says how many."""
_GRAVE = frozenset({"critical", "page", "error", "fatal", "emergency", "high"})
_HARMLESS = frozenset({"info", "information", "none", "low"})


class AppriseService:
    """One address of a service. Each delivery has a thread of its own, of which there is one at a time."""

    kind = "apprise"
    every_time = False
    batch = 1
    longest_wait_s = 300.0

    def __init__(self, url: SecretStr, settings: NotifySettings) -> None:
        self._url, self._settings = url, settings
        self.settings = settings
        text = url.get_secret_value()
        self.name = f"{self.kind}-{digest(text)}"
        # Even what looks like a host is a token in many of its addresses.
        self.address = f"{text.partition(':')[0]}://" if file_of(url) is None else "address from a file"
        self._delivery: asyncio.Future[bool] | None = None

    def entries(self, notifications: Sequence[Notification]) -> Iterable[Entry]:
        """Return an entry for each group of alerts: it is one message."""
        for resolved in (True, False) if self._settings.send_resolved else (False,):
            told = [n for n in notifications if n.resolved == resolved]
            for group in grouped(told, self._settings.group_by):
                payload = payload_of(text_fields(group))
                at_ms = max(n.sent_at_ms for n in group)
                yield Entry(self.name, digest(payload), at_ms, at_ms + DAY_MS, len(group), payload)

    async def send(self, payloads: Sequence[bytes], idempotency_key: str) -> None:
        """Send the one message of a batch.

        Apprise says only whether it went well, so that every failure is one
        that may pass.

        Raises:
            RetryLater: it did not go well, or not in time.
        """
        try:
            async with asyncio.timeout(self._settings.timeout / 1000):
                if self._delivery is not None:
                    await asyncio.shield(self._delivery)
                self._delivery = in_thread("apprise", lambda: all(map(self._deliver, payloads)))
                delivered = await asyncio.shield(self._delivery)
        except TimeoutError:
            message = f"no answer within {self._settings.timeout / 1000:g}s"
            raise RetryLater(message, reason="timeout") from None
        if not delivered:
            raise RetryLater("the service did not take it", reason="refused")

    def _deliver(self, payload: bytes) -> bool:
        fields = orjson.loads(payload)
        try:
            service = apprise_service(reveal(self._url))
            return bool(
                service.notify(
                    title=fields["title"], body=fields["body"], notify_type=fields["type"], body_format="text"
                )
            )
        except Exception:  # any of a hundred plugins; what it says may hold the address
            return False

    async def close(self) -> None:
        """Nothing to release: connections last as long as a delivery."""


def text_fields(group: Sequence[Notification]) -> dict[str, str]:
    """Return title, body and type of the message about a group of alerts."""
    first, number_of = group[0], len(group)
    resolved = first.resolved
    names = list(dict.fromkeys(told.labels.get("alertname", told.rule.name) for told in group))
    state = "RESOLVED" if resolved else "FIRING"
    title = f"[{state}{f':{number_of}' if number_of > 1 else ''}] {', '.join(names[:3])}"
    if len(names) > 3:
        title += f" and {len(names) - 3} more"
    lines = [_lines(told) for told in group[:MAX_LISTED]]
    if number_of > MAX_LISTED:
        lines.append(f"… and {number_of - MAX_LISTED} more")
    severities = {told.labels.get("severity", DEFAULT_SEVERITY).lower() for told in group}
    return {"title": title, "body": "\n\n".join(lines), "type": _type(resolved, severities)}


def _lines(told: Notification) -> str:
    labels = {k: v for k, v in told.labels.items() if k != "alertname"}
    since = time_text(told.starts_at_ms // 1000 * 1000)
    value = "" if told.resolved else f"value {number(told.value)}, "
    return f"{message(told)}\n{value}since {since}\n{format_labels(labels)}"


def _type(resolved: bool, severities: set[str]) -> str:
    if resolved:
        return "success"
    if severities & _GRAVE:
        return "failure"
    return "info" if severities <= _HARMLESS else "warning"
