"""The targets of a cluster: all places followed, and told when they have changed."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from metricsmith.contracts import Context
from metricsmith.errors import DiscoveryError
from metricsmith.net.target_files import Found, Update, discovery_failed
from metricsmith.sources.kubernetes.access import Access, GivenAccess, InCluster
from metricsmith.sources.kubernetes.client import ApiClient, Resource
from metricsmith.sources.kubernetes.follow import Follower, Means, Timing
from metricsmith.sources.kubernetes.known import Known
from metricsmith.sources.kubernetes.kubeconfig_access import KubeconfigAccess
from metricsmith.sources.kubernetes.settings import KubernetesDiscovery
from metricsmith.sources.kubernetes.targets import of_all

log = logging.getLogger(__name__)

SETTLE_S = 1.0
"""Changes within this time are told together; telling takes a fifth of the time at most."""
USUAL = frozenset({"expired", "silent", "short", "broken"})
"""How watches end in a cluster that is well: told, and not counted as a list that cannot be had."""
AGE = "metricsmith_kubernetes_age_seconds"


class KubernetesProvider:
    """The targets of a cluster. What is known stays while its API is away."""

    kind = "kubernetes_sd"

    def __init__(
        self,
        config: KubernetesDiscovery,
        context: Context,
        access: Access | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._config, self._context = config, context
        self._access = access or access_of(config, context)
        self._timing = timing or Timing()
        self._known = Known()
        self._followers: list[Follower] = []

    async def run(self, update: Update) -> None:
        telemetry, source = self._context.telemetry, self._context.name
        telemetry.watch(AGE, self.age_s, source=source)
        try:
            async with (
                ApiClient(self._access, self._timing.request_s) as client,
                asyncio.TaskGroup() as group,
            ):
                self._followers = self._all(client)
                for follower in self._followers:
                    group.create_task(follower.run())
                group.create_task(self._tell(update))
        finally:
            telemetry.forget(AGE, source=source)

    def age_s(self) -> float:
        """Return how old what is known may be, of the place that was heard of last."""
        return max((follower.age_s() for follower in self._followers), default=0.0)

    def _all(self, client: ApiClient) -> list[Follower]:
        means = Means(
            client=client,
            known=self._known,
            query=self._config.query(),
            prefix=self._config.annotations,
            clock=self._context.clock,
            timing=self._timing,
            failed=self._failed,
            odd=self._odd,
        )
        places = self._config.places()
        return [Follower(means, Resource("pods", place), part) for part, place in enumerate(places)]

    async def _tell(self, update: Update) -> None:
        clock, told = self._context.clock, None
        while True:
            await self._known.changed.wait()
            self._known.changed.clear()
            began = clock.monotonic()
            found: Found = await asyncio.to_thread(of_all, self._known.all())
            if found != told:
                await update(found)
                told = found
            await clock.sleep(max(SETTLE_S, 4 * (clock.monotonic() - began)))

    def _failed(self, error: DiscoveryError, resource: Resource, wait_s: float) -> None:
        name = self._context.name
        self._context.telemetry.count(
            "metricsmith_kubernetes_failures_total", source=name, reason=error.reason
        )
        if error.reason in USUAL:
            log.info("%s: %s: %s", name, self.kind, error)
            return
        age = f"what is known of {resource} is {self.age_s():.0f}s old"
        message = f"{error}; tried again in {wait_s:.1f}s, {age}"
        discovery_failed(self._context, self.kind, message, subject=str(resource))

    def _odd(self, message: str, subject: str) -> None:
        self._context.telemetry.problem(
            log,
            "metricsmith_discovery_failures_total",
            f"{self._context.name}: a pod is not scraped, or as before: {message}",
            subject=subject,
            source=self._context.name,
            kind="target",
        )


def access_of(config: KubernetesDiscovery, context: Context) -> Access:
    """Return how the settings say that the API is reached."""
    if config.kubeconfig_file is not None:
        return KubeconfigAccess(Path(config.kubeconfig_file), config.context, context.clock)
    return InCluster() if config.api_server is None else GivenAccess(config)
