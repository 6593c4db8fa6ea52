"""Everything that leaves an application: pages that are read, destinations that are pushed to."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from metricsmith.sdk.clock import SYSTEM_CLOCK, Clock
from metricsmith.sdk.export.endpoint import MetricsPage
from metricsmith.sdk.export.http_server import Handler, HttpServer
from metricsmith.sdk.export.instance import Instance
from metricsmith.sdk.export.targets import Outbox, Target
from metricsmith.sdk.problems import Problems
from metricsmith.sdk.reading import Reading, Sample
from metricsmith.sdk.registry import REGISTRY, Registry
from metricsmith.sdk.runtime_metrics import RuntimeMetrics
from metricsmith.sdk.settings import ExportSettings

EXIT_S = 2.0
"""How long the end of a process may wait for what has not been sent."""

Details = Callable[[], Any]


class Export:
    """Exports a registry until it is stopped, or the process ends.

    Nothing here blocks or fails the application: addresses that cannot be used
    and destinations that do not answer are problems, which are counted. A child
    that is forked exports nothing, as its parent's address and series are taken.
    """

    def __init__(
        self,
        settings: ExportSettings,
        registry: Registry = REGISTRY,
        *,
        problems: Problems | None = None,
        details: Details | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """`details` returns what the status page shows besides, as JSON takes it."""
        self.settings, self.registry, self.clock = settings, registry, clock
        self.problems = problems or Problems()
        self.details = details
        self.page = MetricsPage(registry, clock)
        self.outboxes: list[Outbox] = []
        self.runtime = RuntimeMetrics(settings.runtime_metrics if settings.enabled else ())
        self.addresses: dict[str, str] = {}
        """Pages that are served: `metrics` and `status`."""
        self.server: HttpServer | None = None
        self._thread: threading.Thread | None = None
        self._instance: Instance | None = None
        self._stop = threading.Event()
        self._until_s = 0.0
        self._started = False

    def start(self) -> None:
        """Serve and push from now on."""
        if self._started or not self.settings.enabled:
            return
        self._started = True
        if wrong := self.settings.problems:
            self.problems.note("setting", "; ".join(wrong), len(wrong))
        self._guarded("runtime_metrics", lambda: self.runtime.start(self.registry))
        self._guarded("own_metrics", lambda: self.registry.register(self))
        self._watch_running_loop()
        self._guarded("serve", self._serve)
        if self.settings.push_url or self.settings.bus_endpoint:
            self._guarded("thread", self._start_pushing)
        _LIVE.add(self)
        atexit.register(self.stop)

    def stop(self, timeout_s: float = EXIT_S) -> None:
        """Send what has not been sent, within a time, and end."""
        if not self._started:
            return
        self._started = False
        atexit.unregister(self.stop)
        _LIVE.discard(self)
        self._until_s = self.clock.monotonic() + timeout_s
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s + 1.0)
            self._thread = None
        if self.server is not None:
            self.server.stop()
            self.server = None
        self.addresses.clear()
        self._guarded("runtime_metrics", self.runtime.stop)
        self._guarded("own_metrics", lambda: self.registry.unregister(self))

    def tick(self) -> None:
        """Read all metrics once and let them go to each destination, as far as these take them."""
        try:
            readings = list(self.registry.read())
        except BaseException as error:  # else a collector that exits would end this thread without a word
            self.problems.note("read", f"metrics cannot be read: {type(error).__name__}: {error}", trace=True)
            return
        now_ms = self.clock.now_ms()
        for outbox in self.outboxes:
            outbox.put(readings, now_ms)
            outbox.send()

    def read(self) -> Iterator[Reading]:
        """Yield what exporting tells of itself."""
        yield self.problems.read()
        scrapes = [("scrape", float(self.page.scrapes))] if "metrics" in self.addresses else []
        sent = [*scrapes, *((each.target.name, float(each.sent)) for each in self.outboxes)]
        yield _counter("exports", "Readings that were taken, by way.", [({"target": t}, n) for t, n in sent])
        failures = [
            ({"target": each.target.name, "reason": reason}, float(count))
            for each in self.outboxes
            for reason, count in list(each.failures.items())
        ]
        yield _counter("export_failures", "Attempts to send that failed, by reason.", failures)
        dropped = [({"target": each.target.name}, float(each.dropped)) for each in self.outboxes]
        yield _counter("export_dropped", "Requests and messages that were given up.", dropped)
        if self.server is not None:
            counts = list(self.server.refused.items())
            refused = [({"reason": reason}, float(count)) for reason, count in counts]
            yield _counter("http_refused", "Connections and requests turned away, by reason.", refused)

    def describe(self) -> tuple[()]:
        """Return nothing: a registry need not read everything to learn the names."""
        return ()

    def _serve(self) -> None:
        settings, server = self.settings, HttpServer()
        if settings.prometheus_enabled:
            self._listen(server, "metrics", settings.prometheus_host, settings.prometheus_port, self.page)
        if settings.status_page_enabled:
            from metricsmith.sdk.export.host_guard import HostGuard
            from metricsmith.sdk.status_page import StatusPage

            host = settings.status_page_host
            page = HostGuard(StatusPage(self), host, settings.allowed_hosts, self.problems)
            self._listen(server, "status", host, settings.status_page_port, page)
        if self.addresses:
            server.start()
            self.server = server
        else:
            server.stop()

    def _listen(self, server: HttpServer, name: str, host: str, port: int, handler: Handler) -> None:
        try:
            chosen = server.listen(host, port, handler)
        except (OSError, UnicodeError, OverflowError) as error:
            why = getattr(error, "strerror", None) or error
            text = f"the page for {name} cannot be served at {host}:{port}: {why}"
            hint = f"METRICSMITH_{_PORT_VARIABLES[name]} sets another port"
            hint += ", and processes of one application share one page (docs/sdk-processes.md)"
            self.problems.note(f"listen_{name}", f"{text}; {hint}")
        else:
            address = host.strip("[]")
            self.addresses[name] = f"http://{f'[{address}]' if ':' in address else address}:{chosen}"

    def _start_pushing(self) -> None:
        # An event for each thread: one that did not end in time must not go on when another starts.
        self._stop, self.outboxes = threading.Event(), []
        self._instance = Instance(self.settings.service_name, self.settings.instance)
        self._thread = threading.Thread(
            target=self._run, args=(self._stop, self._instance), name="metricsmith-export", daemon=True
        )
        self._thread.start()

    def _run(self, stop: threading.Event, instance: Instance) -> None:
        targets = self._targets(instance.name)
        self.outboxes = [Outbox(target, self.clock, self.problems) for target in targets]
        interval_s, monotonic = self.settings.tick_interval_s, self.clock.monotonic
        tick_s = monotonic()  # at once: a rate needs a sample from before the first event
        while not stop.wait(max(0.0, min([tick_s, *(box.due_s for box in self.outboxes)]) - monotonic())):
            if monotonic() < tick_s:
                for outbox in self.outboxes:
                    outbox.send()
            else:
                self._guarded("tick", self.tick)
                tick_s = max(tick_s + interval_s, monotonic())
        self._guarded("tick", self.tick)
        for outbox in self.outboxes:
            outbox.send(time.sleep, self._until_s)
            outbox.give_up()
            self._guarded("close", outbox.target.close)
        instance.release()

    def _targets(self, instance: str) -> Iterator[Target]:
        for make in (self._remote_write, self._bus):
            try:
                target = make(instance)
            except Exception as error:
                self.problems.note("target", f"a destination cannot be used: {error}", trace=True)
            else:
                if target is not None:
                    yield target

    def _remote_write(self, instance: str) -> Target | None:
        if not self.settings.push_url:
            return None
        from metricsmith.sdk.export.remote_write import RemoteWriteTarget

        identity = {"job": self.settings.service_name, "instance": instance}
        return RemoteWriteTarget(self.settings.push_url, identity)

    def _bus(self, instance: str) -> Target | None:
        if not self.settings.bus_endpoint:
            return None
        from metricsmith.net.bus_settings import Curve
        from metricsmith.sdk.export.bus import BusTarget

        settings, tags = self.settings, {"instance": instance}
        curve = None
        if settings.bus_secret_key_file:
            server_key = settings.bus_server_key or None
            curve = Curve(secret_key_file=settings.bus_secret_key_file, server_key=server_key)
        return BusTarget(settings.bus_endpoint, settings.service_name, tags, curve)

    def _watch_running_loop(self) -> None:
        import sys

        if "asyncio" in sys.modules:
            try:
                self.runtime.watch_event_loop()
            except RuntimeError:  # none runs; the application can tell of one later
                return

    def _guarded(self, kind: str, step: Callable[[], object]) -> None:
        try:
            step()
        except Exception as error:
            self.problems.note(kind, f"{type(error).__name__}: {error}", trace=True)

    def _forked(self) -> None:
        """In a child: let go of the parent's sockets; there are no threads here."""
        atexit.unregister(self.stop)
        self._started, self._thread, self._stop = False, None, threading.Event()
        if self.server is not None:
            self.server.abandon()
            self.server = None
        for outbox in self.outboxes:
            outbox.target.abandon()
        self.outboxes = []
        if self._instance is not None:
            self._instance.release()
        self.addresses.clear()


def _counter(name: str, help: str, values: list[tuple[dict[str, str], float]]) -> Reading:
    full = f"metricsmith_sdk_{name}"
    return Reading(
        full, "counter", help, "", [Sample(f"{full}_total", labels, value) for labels, value in values]
    )


_PORT_VARIABLES = {"metrics": "PROMETHEUS_PORT", "status": "STATUS_PAGE_PORT"}
_LIVE: weakref.WeakSet[Export] = weakref.WeakSet()


def _after_fork() -> None:
    for export in list(_LIVE):
        export._forked()
    _LIVE.clear()


os.register_at_fork(after_in_child=_after_fork)
