"""Metrics of several processes as one: gunicorn, uvicorn workers, Celery, multiprocessing.

    from metricsmith.sdk import processes

    processes.share()

One line, in a module that each worker imports or that the parent imported before it forked. From then on the
process pushes what it counts to the collecting process of this user on this machine: the agent's source
`processes`, or any process in which `processes.collect()` was called. `docs/sdk-processes.md` tells more.

How it is built:

- `cells.Cells` takes deltas from the metrics when they are pushed; the methods that count know nothing of it.
- `sharing.Sharing` is the worker's thread: one push at a time, numbered, kept until it is acknowledged.
- `sessions.Sessions` applies each number once, to `totals.Totals`, which are what is told.
- `collector.Collector` is the sockets around that, and a collector as a registry takes it.
"""

from __future__ import annotations

import atexit
import socket
from typing import TYPE_CHECKING

from metricsmith.sdk.processes.address import VARIABLE, check_address, default_address
from metricsmith.sdk.processes.asgi import Asgi, flushed_at_shutdown
from metricsmith.sdk.processes.collector import Collector
from metricsmith.sdk.processes.sharing import Sharing
from metricsmith.sdk.registry import REGISTRY, Registry
from metricsmith.sdk.settings import settings_from_environment

if TYPE_CHECKING:
    from metricsmith.sdk.export import Export, ExportSettings

__all__ = ["Collector", "Sharing", "asgi", "collect", "default_address", "flush", "share"]

INTERVAL_S = 1.0
_shared: Sharing | None = None
_export: Export | None = None


def share(
    address: str | None = None,
    *,
    interval_s: float = INTERVAL_S,
    service: str = "",
    instance: str = "",
    registry: Registry = REGISTRY,
) -> Sharing:
    """Push what this process and its children count to the collecting process; return what does it.

    A second call returns the same. Never raises for what the other side does; without a collecting process,
    what is counted stays in the metrics until there is one. With METRICSMITH_ENABLED=no nothing is done.

    Raises:
        ValueError: the address is none, or the interval is not from 0.05 to 3600 s.
    """
    global _shared
    if not 0.05 <= interval_s <= 3600:
        raise ValueError(f"got interval_s={interval_s}, wanted seconds from 0.05 to 3600")
    if _shared is None:
        settings = settings_from_environment(modules=())
        _shared = Sharing(
            registry,
            _usable_address() if address is None else check_address(address),
            interval_s=interval_s,
            service=service or settings.service_name,
            instance=instance or settings.instance or socket.gethostname(),
            enabled=settings.enabled,
        )
        _shared.start()
    return _shared


def _usable_address() -> str:
    """Return where the environment says, if one can; a wrong variable must not keep an application down."""
    try:
        return check_address(default_address())
    except ValueError as error:
        import logging

        default = default_address({})
        logging.getLogger("metricsmith.sdk").warning("%s: %s; %s is used", VARIABLE, error, default)
        return default


def flush(timeout_s: float = 2.0) -> bool:
    """Push now what this process has counted; return whether the collecting process has it.

    False where nothing is shared yet; True with METRICSMITH_ENABLED=no, when nothing is to be counted.
    """
    return _shared is not None and _shared.flush(timeout_s)


def asgi(app: Asgi, address: str | None = None) -> Asgi:
    """Return an ASGI application that shares its metrics and flushes them when it shuts down.

    uvicorn ends its workers by a signal, after which nothing of Python runs: the end of the application's
    lifespan is the last moment.
    """
    share(address)
    return flushed_at_shutdown(app, flush)


def collect(address: str | None = None, settings: ExportSettings | None = None) -> Collector:
    """Make this the collecting process, with a page for scrapers and what else the settings say.

    For the parent of all workers, such as gunicorn's master (`when_ready`). Settings are the environment's
    unless given.

    Raises:
        OSError: another process collects at this address, or it cannot be used.
    """
    global _export
    from metricsmith.sdk.export import Export

    collector, registry = Collector(address), Registry()
    collector.start()
    registry.register(collector)
    # Runtime metrics of this process would be taken for those of the workers.
    _export = Export(settings or settings_from_environment(modules=()), registry)
    _export.start()
    atexit.register(collector.stop)
    return collector
