"""The outbox of the rules: every notification durable, then told to all whom it concerns, at least once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pydantic import SecretStr

from metricsmith.contracts import Context
from metricsmith.model.labels import encode_labels
from metricsmith.net.target_files import FileProvider, Found, Update, discovery_failed
from metricsmith.rules.model import Notification
from metricsmith.rules.notify.alertmanager import Alertmanager, listed_urls
from metricsmith.rules.notify.apprise_service import AppriseService
from metricsmith.rules.notify.book import Book
from metricsmith.rules.notify.destination import Destination
from metricsmith.rules.notify.entries import WAITING
from metricsmith.rules.notify.line import DestinationStatus, Line
from metricsmith.rules.notify.lines import Lines
from metricsmith.rules.notify.refused import Refused
from metricsmith.rules.notify.settings import (
    ALERTMANAGER_HINT,
    AlertmanagerConfig,
    NotifySettings,
    is_alertmanager,
)
from metricsmith.rules.notify.told import TOLD, Told
from metricsmith.rules.notify.webhook import Webhook

log = logging.getLogger(__name__)

STOP_S = 1.5
"""What is under way at the stop has so long to be delivered."""
TIDY_S = 600.0


class Notifier:
    """`rules.model.Outbox`: keeps notifications with the state of their alerts, and sends them.

    `context.state` is the one that the rules commit to. `prepare` and
    `release` may be called from any thread, before and while `run` runs.
    Without destinations nothing is kept.
    """

    def __init__(
        self,
        settings: NotifySettings,
        context: Context,
        *,
        external_labels: Mapping[str, str] | None = None,
        external_url: str = "",
        workers: int = 4,
    ) -> None:
        self._context = context
        self._lock = threading.RLock()
        self._book = Book(context)
        self._lines = Lines(context, self._book, workers)
        self._told = Told(dict(context.state.items(TOLD)))
        self._lines.damaged(self._told.damaged)
        self._lines.add(context.state.items(WAITING))
        self._discovered: dict[AlertmanagerConfig, list[str]] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self._running = False
        self.update(settings, external_labels=external_labels, external_url=external_url)

    def prepare(self, notifications: Sequence[Notification]) -> Mapping[str, bytes]:
        """Return what to keep in the rules' state until it is sent."""
        put: dict[str, bytes] = {}
        found: list[tuple[Destination, Sequence[Notification]]] = []
        with self._lock:
            for line, concerned in self._concerned(notifications):
                destination = line.destination
                if not destination.every_time:
                    concerned = self._news(destination.name, concerned, put)
                found.append((destination, concerned))
        for destination, concerned in found:
            put |= {entry.key: entry.encode() for entry in destination.entries(concerned)}
        return put

    def release(self, entries: Mapping[str, bytes]) -> None:
        """Send entries that `prepare` returned: they are committed now, or could not be."""
        with self._lock:
            self._lines.add((key, value) for key, value in entries.items() if key.startswith(WAITING))

    def update(
        self,
        settings: NotifySettings,
        *,
        external_labels: Mapping[str, str] | None = None,
        external_url: str = "",
    ) -> None:
        """Go over to other settings; what waits for destinations that stay goes on waiting.

        Called before `run`, or in its event loop.
        """
        with self._lock:
            self._settings = settings
            self._external_labels, self._external_url = dict(external_labels or {}), external_url
            known = set(settings.alertmanagers)
            self._discovered = {c: urls for c, urls in self._discovered.items() if c in known}
            self._reconcile()
        if self._running:
            self._watch_files()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop; what still waits is sent after the next start."""
        with self._lock:
            self._lines.start()
        self._running = True
        self._watch_files()
        own = [asyncio.create_task(self._book.run()), asyncio.create_task(self._tidy())]
        try:
            await stop.wait()
        finally:
            self._running = False
            for task in (*own, *self._watchers):
                task.cancel()
            await asyncio.gather(*own, *self._watchers, return_exceptions=True)
            await self._lines.stop(STOP_S)
            await asyncio.to_thread(self._book.commit)

    def status(self) -> tuple[DestinationStatus, ...]:
        """Return how each destination is. Called from any thread."""
        with self._lock:
            return tuple(line.status() for line in self._lines)

    def refused(self) -> list[Refused]:
        """Return what destinations refused for good, the last hundred of each. Called from any thread."""
        with self._lock:
            found = self._book.all_refused()
            return [replace(one, destination=self._lines.label(one.destination)) for one in found]

    def _concerned(self, notifications: Sequence[Notification]) -> list[tuple[Line, Sequence[Notification]]]:
        """Return lines, each with those notifications that concern its destination."""
        own: defaultdict[str, list[Notification]] = defaultdict(list)
        common = self._settings.webhook_url
        for told in notifications:
            if told.rule.webhook_url is not None:
                own[told.rule.webhook_url].append(told)
            elif common is not None:
                own[common.get_secret_value()].append(told)
        found: list[tuple[Line, Sequence[Notification]]] = [
            (line, notifications) for line in self._lines if line.destination.kind != Webhook.kind
        ]
        for url, concerned in own.items():
            if is_alertmanager(url):
                self._no_webhook(len(concerned))
            else:
                webhook = Webhook(SecretStr(url), self._settings, of_rule=True)
                found.append((self._lines.get(webhook.name) or self._lines.open(webhook), concerned))
        return found

    def _no_webhook(self, alerts: int) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_notifications_dropped_total",
            f"{alerts} alerts not posted to a webhook: {ALERTMANAGER_HINT}",
            amount=alerts,
            destination=Webhook.kind,
            reason="not_a_webhook",
        )

    def _news(
        self, destination: str, notifications: Sequence[Notification], put: dict[str, bytes]
    ) -> list[Notification]:
        """Return what a destination has not been told, and put down that it will be."""
        found = []
        for told in notifications:
            alert = encode_labels(told.labels)
            kept = self._told.news(destination, alert, told, self._settings.repeat_interval)
            if kept is not None:
                put[kept[0]] = kept[1]
                found.append(told)
        return found

    def _reconcile(self) -> None:
        settings = self._settings
        wanted: list[Destination] = [
            Alertmanager(url, config, self._external_labels, self._external_url)
            for config in settings.alertmanagers
            for url in (*config.addresses(), *self._discovered.get(config, ()))
        ]
        url = settings.webhook_url
        if url is not None and not is_alertmanager(url.get_secret_value()):
            wanted.append(Webhook(url, settings))
        wanted += [AppriseService(address, settings) for address in settings.notify]
        self._lines.reconcile({destination.name: destination for destination in wanted}, self._lasting)

    def _lasting(self, destination: Destination) -> Destination | None:
        """Return a webhook of rules with the settings of now: whether it is used, the rules say."""
        if isinstance(destination, Webhook) and destination.of_rule:
            return destination.renewed(self._settings)
        return None

    def _watch_files(self) -> None:
        for task in self._watchers:
            task.cancel()
        self._watchers = [
            asyncio.create_task(FileProvider(config.file_sd, self._context).run(self._found_in(config)))
            for config in self._settings.alertmanagers
            if config.file_sd is not None
        ]

    def _found_in(self, config: AlertmanagerConfig) -> Update:
        async def update(found: Found) -> None:
            urls = listed_urls(
                found,
                config,
                lambda why: discovery_failed(self._context, "file_sd", f"Alertmanager: {why}"),
            )
            with self._lock:
                self._discovered[config] = urls
                self._reconcile()

        return update

    async def _tidy(self) -> None:
        while True:
            with self._lock:
                self._lines.tidy()
                now_ms = self._context.clock.now_ms()
                self._book.forget(list(self._told.outdated(now_ms, self._settings.repeat_interval)))
            await self._context.clock.sleep(TIDY_S)
