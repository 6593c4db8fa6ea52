"""Whatever happens in whatever order: in the end the targets are those of the pods that there are."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metricsmith.testing.kubernetes_pods import pod
from metricsmith.testing.kubernetes_server import KubernetesServer, Refusal, running_kubernetes

NAMES = st.sampled_from(["a", "b", "c", "d"])
NAMESPACES = st.sampled_from(["shop", "bank"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NAMES, NAMESPACES, st.integers(1, 6), st.booleans(), st.booleans()),
        st.tuples(st.just("delete"), NAMES, NAMESPACES),
        st.tuples(st.sampled_from(["cut", "forget", "bookmark", "move_on", "refuse", "allow", "settle"])),
    ),
    max_size=20,
)


class Cluster:
    """An API and what its pods must come to."""

    def __init__(self, api: KubernetesServer) -> None:
        self.api = api
        self.pods: dict[tuple[str, str], dict[str, Any]] = {}
        self.clock = 0

    def do(self, kind: str, *step: Any) -> None:
        if kind == "put":
            name, namespace, ip, wanted, runs = step
            self.clock += 1
            one = pod(
                name,
                f"10.0.0.{ip}",
                namespace=namespace,
                annotations={"prometheus.io/scrape": str(wanted), "prometheus.io/port": "9100"},
                phase="Running" if runs else "Failed",
                started=f"2026-01-01T00:00:{self.clock:02}Z",
            )
            self.pods[namespace, name] = one
            self.api.put(one)
        elif kind == "delete":
            name, namespace = step
            if self.pods.pop((namespace, name), None) is not None:
                self.api.delete(name, namespace)
        elif kind == "refuse":
            self.api.refuse = lambda request: Refusal(503, "ServiceUnavailable", "away")
        elif kind == "allow":
            self.api.refuse = lambda request: None
        elif kind != "settle":
            getattr(self.api, kind)()

    def wanted(self) -> set[str]:
        running = [one for one in self.pods.values() if one["status"]["phase"] == "Running"]
        youngest = {}
        for one in sorted(running, key=lambda one: one["status"]["startTime"]):
            youngest[one["status"]["podIP"]] = one
        return {
            f"{ip}:9100"
            for ip, one in youngest.items()
            if one["metadata"]["annotations"]["prometheus.io/scrape"] == "True"
        }


@settings(max_examples=25)
@given(steps=STEPS, names=st.sampled_from([(), ("shop", "bank")]), error_events=st.booleans())
def test_the_targets_equal_the_pods_in_the_end(follow, steps, names, error_events):
    asyncio.run(the_end(follow, steps, names, error_events))


async def the_end(follow, steps, names, error_events):
    with running_kubernetes() as api:
        api.error_events = error_events
        cluster = Cluster(api)
        async with follow(api_server=api.url, namespaces={"names": list(names)}) as pods:
            for step in steps:
                cluster.do(*step)
                if step[0] == "settle":  # else all happens at once
                    await asyncio.sleep(0.003)
            cluster.do("allow")
            # Something that was not there before, so that the end can be told from the beginning.
            cluster.do("put", "last", "shop", 99, True, True)
            await pods.until_wanted(*cluster.wanted())
