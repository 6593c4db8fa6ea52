"""One place of a cluster followed: listed in pages, then watched, and listed anew when that is needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from metricsmith.errors import DiscoveryError
from metricsmith.model.clock import Clock
from metricsmith.sources.kubernetes.client import ApiClient, Resource
from metricsmith.sources.kubernetes.events import Event, Kind, Page, read_event, read_page
from metricsmith.sources.kubernetes.known import Key, Known, Size
from metricsmith.sources.kubernetes.targets import PodTargets

PAGE_OBJECTS = 250
MIN_WATCH_S = 1.0
"""A watch that the server ends sooner is not begun again at once."""
MAX_RESUMED = 3
"""Failures in a row after which a watch goes on nowhere: a server that was restored is behind for good."""
MAX_WAIT_S = 300.0
"""Longest that a server is left alone because it asks for it."""
GOES_ON = frozenset(
    {"broken", "connection", "silent", "short", "timeout", "throttled", "credentials", "status_5xx"}
)
"""Ends of a watch after which it can go on where it was; after any other, everything is listed again."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long steps may take, and how long to wait between them, in seconds.

    A watch lasts `watch_s` to twice that, so that the agents of a cluster do
    not all come back at once.
    """

    request_s: float = 30.0
    list_s: float = 300.0
    silence_s: float = 150.0
    watch_s: float = 300.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Means:
    """What all followers of a source share.

    `failed` hears why listing or watching ended and when it is tried again;
    `odd` of an object that is not understood, with its name.
    """

    client: ApiClient
    known: Known
    query: Mapping[str, str]
    prefix: str
    clock: Clock
    timing: Timing
    failed: Callable[[DiscoveryError, Resource, float], None]
    odd: Callable[[str, str], None]


class Follower:
    """Keeps what is known of one resource equal to what the server has."""

    def __init__(self, means: Means, resource: Resource, part: int) -> None:
        self._means, self._resource, self._part = means, resource, part
        self._version = ""  # where the watch goes on; empty when everything is to be listed
        self._open = self._heard = False
        self._contact = means.clock.monotonic()
        self._waits = 0

    def age_s(self) -> float:
        """Return how old what is known may be: nothing while a watch is open."""
        return 0.0 if self._open else self._means.clock.monotonic() - self._contact

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            self._heard = False
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except DiscoveryError as error:
                if error.reason not in GOES_ON or self._waits >= MAX_RESUMED:
                    self._version = ""
                wait_s = self._next_wait(error.after_s)
                self._means.failed(error, self._resource, wait_s)
                await self._means.clock.sleep(wait_s)

    def _next_wait(self, after_s: float | None) -> float:
        """Longer with each failure in a row; what was heard ends the row."""
        self._waits = 0 if self._heard else self._waits + 1
        timing = self._means.timing
        longest = min(timing.first_wait_s * 2 ** min(self._waits, 30), timing.longest_wait_s)
        return max(random.uniform(longest / 2, longest), min(after_s or 0.0, MAX_WAIT_S))

    async def _list(self) -> None:
        """List everything. A list whose pages expire is begun again, at last without pages."""
        try:
            async with asyncio.timeout(self._means.timing.list_s):
                found, version = await self._pages_or_whole()
        except TimeoutError:
            raise DiscoveryError(
                "timeout", f"list {self._resource}: not complete within {self._means.timing.list_s:g}s"
            ) from None
        self._means.known.replace(self._part, found)
        self._version = version
        self._contact = self._means.clock.monotonic()

    async def _pages_or_whole(self) -> tuple[dict[Key, PodTargets], str]:
        for _ in range(2):
            try:
                return await self._pages(PAGE_OBJECTS)
            except DiscoveryError as error:
                if error.reason != "expired":
                    raise
                self._means.failed(error, self._resource, 0.0)
        return await self._pages(0)

    async def _pages(self, limit: int) -> tuple[dict[Key, PodTargets], str]:
        query = {**self._means.query, **({"limit": str(limit)} if limit else {})}
        known, found = self._means.known.part(self._part), dict[Key, PodTargets]()
        token, size = "", Size()
        while True:
            body = await self._means.client.page(
                self._resource, query | ({"continue": token} if token else {})
            )
            page: Page = await asyncio.to_thread(read_page, body, self._means.prefix)
            size = (size + Size.of(page.found)).check()
            found |= {one.pod.key: one for one in page.found}
            self._note_odd(page, known, found)
            token = page.token
            if not token:
                return found, page.version

    def _note_odd(self, page: Page, known: Mapping[Key, PodTargets], found: dict[Key, PodTargets]) -> None:
        for one in page.found:
            if one.problem:
                self._means.odd(one.problem, "/".join(one.pod.key))
        for key, message in page.odd:
            self._means.odd(message, "/".join(key))
            if key in known:  # what is not understood changes nothing
                found[key] = known[key]

    async def _watch(self) -> None:
        timing = self._means.timing
        query = {
            **self._means.query,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(int(random.uniform(timing.watch_s, 2 * timing.watch_s)) or 1),
        }
        began = self._means.clock.monotonic()
        try:
            await self._means.client.watch(self._resource, query, timing.silence_s, self._opened, self._take)
        except DiscoveryError as error:
            if self._open and error.reason == "connection":
                raise DiscoveryError("broken", f"watch {self._resource}: {error}") from None
            raise
        finally:
            lasted = self._means.clock.monotonic() - began >= MIN_WATCH_S
            self._heard |= self._open and lasted  # a quiet cluster is one that is well
            self._open = False
        if not lasted:
            raise DiscoveryError("short", f"watch {self._resource}: the server ended it at once")

    def _opened(self) -> None:
        self._open = True
        self._contact = self._means.clock.monotonic()

    def _take(self, line: bytes) -> None:
        event: Event = read_event(line, self._means.prefix, self._resource)
        self._heard = True
        self._contact = self._means.clock.monotonic()
        known = self._means.known
        if event.odd:
            self._means.odd(event.odd, "/".join(event.key))
        elif event.kind is Kind.DELETED:
            known.remove(self._part, event.key)
        elif event.one is not None:
            if event.one.problem:
                self._means.odd(event.one.problem, "/".join(event.key))
            known.put(self._part, event.one)
        self._version = event.version
