"""A local Kubernetes API: pods that are listed in pages and watched, and faults on demand."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from metricsmith.testing.certificates import Certificates
from metricsmith.testing.kubernetes_pods import selects

LIMIT_S = 30.0
GZIP_FROM_BYTES = 128 << 10
TOO_OLD = "too old resource version: {} ({})"
Object = dict[str, Any]
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request: `verb` is list or watch, `namespace` is empty for all."""

    verb: str
    namespace: str
    query: Mapping[str, str]
    token: str = field(repr=False)
    client: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that is none: its status, words and headers."""

    code: int
    reason: str
    message: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def status(self) -> Object:
        """Return the `Status` object of the API."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }


@dataclass(frozen=True, slots=True)
class _Change:
    version: int
    old: Object | None
    new: Object | None


class KubernetesServer:
    """Pods, their history and the watches on it. Safe to use from any thread.

    `refuse` is asked before each request is answered. `tokens` are those that
    let somebody in; none let everybody in. With `error_events`, a watch from
    too long ago begins and then tells so in an event; else its answer is 410.
    """

    def __init__(self) -> None:
        self.url = ""
        self.tokens: set[str] = set()
        self.refuse: Callable[[Request], Refusal | None] = lambda request: None
        self.error_events = True
        self.requests: list[Request] = []
        self.watches = 0
        self._objects: dict[Key, Object] = {}
        self._changes: list[_Change] = []
        self._version = self._forgotten = 1000
        self._lists: dict[int, list[Object]] = {}
        self._bookmarks = self._cuts = 0
        self._silent = self._closing = False
        self._condition = threading.Condition()

    @property
    def version(self) -> int:
        """The resource version of everything."""
        return self._version

    def put(self, one: Object) -> None:
        """Create or change an object."""
        with self._condition:
            self._version += 1
            metadata = {**one["metadata"], "resourceVersion": str(self._version)}
            new = {"kind": "Pod", "apiVersion": "v1", **one, "metadata": metadata}
            key = (metadata["namespace"], metadata["name"])
            self._changes.append(_Change(self._version, self._objects.get(key), new))
            self._objects[key] = new
            self._condition.notify_all()

    def delete(self, name: str, namespace: str = "default") -> None:
        """Remove an object."""
        with self._condition:
            self._version += 1
            old = self._objects.pop((namespace, name))
            last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._version)}}
            self._changes.append(_Change(self._version, last, None))
            self._condition.notify_all()

    def forget(self) -> None:
        """Forget history, as after five minutes: neither a watch nor a page of a list from before goes on."""
        with self._condition:
            self._forgotten = self._version
            self._changes.clear()
            self._lists.clear()

    def move_on(self) -> None:
        """Have the version grow by changes elsewhere, which no watch of pods tells of."""
        with self._condition:
            self._version += 1

    def bookmark(self) -> None:
        """Tell all watches that want it where they are."""
        with self._condition:
            self._bookmarks += 1
            self._condition.notify_all()

    def cut(self) -> None:
        """Break the connections of all watches."""
        with self._condition:
            self._cuts += 1
            self._condition.notify_all()

    def hush(self, silent: bool = True) -> None:
        """Have watches stay open and say nothing, as when the network in between has lost them."""
        with self._condition:
            self._silent = silent
            self._condition.notify_all()

    def wait_until(self, wanted: Callable[[], bool]) -> None:
        """Return when something is so that depends on requests and watches."""
        with self._condition:
            assert self._condition.wait_for(wanted, LIMIT_S), f"did not come within {LIMIT_S:g}s"

    def count(self, verb: str) -> int:
        """Return how many requests of a verb there were."""
        return sum(request.verb == verb for request in self.requests)

    # What the handler asks for.

    def accept(self, request: Request) -> Refusal | None:
        """Note a request; return why it is refused."""
        with self._condition:
            self.requests.append(request)
            self._condition.notify_all()
        if self.tokens and request.token not in self.tokens:
            return Refusal(401, "Unauthorized", "Unauthorized")
        return self.refuse(request)

    def page(self, request: Request) -> Object | Refusal:
        """Return a page of a list."""
        query = request.query
        limit = int(query.get("limit", "0"))
        with self._condition:
            version, begin = self._version, 0
            if token := query.get("continue"):
                version, begin = json.loads(b64decode(token))
                if version not in self._lists:
                    message = (
                        "The provided continue parameter is too old to display a consistent list result."
                    )
                    return Refusal(410, "Expired", message)
            else:
                self._lists[version] = [self._objects[key] for key in sorted(self._objects)]
            snapshot = self._lists[version]
        try:
            chosen = _in(request.namespace, selects(query))
        except ValueError as error:
            return Refusal(400, "BadRequest", str(error))
        found = [one for one in snapshot if chosen(one)]
        end = begin + limit if limit else len(found)
        metadata: Object = {"resourceVersion": str(version)}
        if end < len(found):
            metadata |= {
                "continue": b64encode(json.dumps([version, end]).encode()).decode(),
                "remainingItemCount": len(found) - end,
            }
        # Items of a list do not say of what kind they are.
        items = [
            {k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in found[begin:end]
        ]
        return {"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items}

    def events(self, request: Request) -> Iterator[Object] | Refusal:
        """Return the events of a watch. They end with its time; a ConnectionError when they are cut."""
        try:
            chosen = _in(request.namespace, selects(request.query))
        except ValueError as error:
            return Refusal(400, "BadRequest", str(error))
        begin = int(request.query.get("resourceVersion") or "0")
        with self._condition:
            if begin > self._version:
                return Refusal(
                    504, "Timeout", f"Too large resource version: {begin}, current: {self._version}"
                )
            if 0 < begin < self._forgotten:
                old = Refusal(410, "Expired", TOO_OLD.format(begin, self._forgotten))
                return iter([{"type": "ERROR", "object": old.status()}]) if self.error_events else old
        return self._events(request.query, chosen, begin)

    def _events(
        self, query: Mapping[str, str], chosen: Callable[[Mapping[str, Any]], bool], version: int
    ) -> Iterator[Object]:
        ends = time.monotonic() + float(query.get("timeoutSeconds", "1800"))
        wants_bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        with self._condition:
            bookmarks, cuts = self._bookmarks, self._cuts
            self.watches += 1
            self._condition.notify_all()
        try:
            while True:
                with self._condition:
                    stirs = partial(self._stirs, version, bookmarks, cuts)
                    self._condition.wait_for(stirs, max(ends - time.monotonic(), 0))
                    if self._closing or self._cuts > cuts:
                        raise ConnectionAbortedError
                    changes = [c for c in self._changes if c.version > version] if not self._silent else []
                    told, now, bookmarks = self._bookmarks > bookmarks, self._version, self._bookmarks
                    silent = self._silent
                for change in changes:
                    version = change.version
                    event = _event(change, chosen)
                    if event is not None:
                        yield event
                over = time.monotonic() >= ends
                # A server that keeps watches tells where they are shortly before it ends them.
                if wants_bookmarks and (told or over) and not silent:
                    version = now
                    yield _bookmark(now)
                if over:
                    return
        finally:
            with self._condition:
                self.watches -= 1
                self._condition.notify_all()

    def _stirs(self, version: int, bookmarks: int, cuts: int) -> bool:
        if self._closing or self._cuts > cuts:
            return True
        news = bool(self._changes) and self._changes[-1].version > version
        return not self._silent and (news or self._bookmarks > bookmarks)

    def close(self) -> None:
        """End all watches."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()


def _in(namespace: str, chosen: Callable[[Mapping[str, Any]], bool]) -> Callable[[Mapping[str, Any]], bool]:
    return lambda one: namespace in ("", one["metadata"]["namespace"]) and chosen(one)


def _event(change: _Change, chosen: Callable[[Mapping[str, Any]], bool]) -> Object | None:
    """An object that begins to be selected is added, one that no longer is is deleted."""
    before = change.old is not None and chosen(change.old)
    if change.new is not None and chosen(change.new):
        return {"type": "MODIFIED" if before else "ADDED", "object": change.new}
    if not before or change.old is None:
        return None
    metadata = {**change.old["metadata"], "resourceVersion": str(change.version)}
    return {"type": "DELETED", "object": {**change.old, "metadata": metadata}}


def _bookmark(version: int) -> Object:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    empty: Object = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"containers": None}}
    return {"type": "BOOKMARK", "object": empty | {"status": {}}}


@contextmanager
def running_kubernetes(certificates: Certificates | None = None) -> Iterator[KubernetesServer]:
    """Serve an API on loopback until the block ends; with certificates by TLS, asking clients for theirs."""
    api = KubernetesServer()

    class Handler(_Handler):
        served = api

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificates is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.authority))
        context.load_cert_chain(certificates.server_pem)
        context.verify_mode = ssl.CERT_OPTIONAL  # a token is as good
        # The handshake is the handler's thread's work: one client must not hold up the others.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    api.url = f"{'http' if certificates is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.close()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: KubernetesServer

    def do_GET(self) -> None:
        try:
            self._answer()
        except OSError:  # the client has gone, or was cut
            self.close_connection = True

    def _answer(self) -> None:
        request = self._request()
        if request is None:
            self._json(Refusal(404, "NotFound", "the server could not find the requested resource"))
            return
        refused = self.served.accept(request)
        if refused is not None:
            self._json(refused)
        elif request.verb == "list":
            self._json(self.served.page(request))
        else:
            self._watch(self.served.events(request))

    def _request(self) -> Request | None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        match parts.path.strip("/").split("/"):
            case ["api", "v1", "pods"]:
                namespace = ""
            case ["api", "v1", "namespaces", namespace, "pods"]:
                pass
            case _:
                return None
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        certificate = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (certificate or {}).get("subject", ())
        client = dict(pair for group in subject for pair in group).get("commonName", "")
        verb = "watch" if query.get("watch") in ("true", "1") else "list"
        return Request(verb, namespace, query, token, client)

    def _json(self, answer: Object | Refusal) -> None:
        refused = answer if isinstance(answer, Refusal) else None
        body = json.dumps(refused.status() if refused else answer).encode()
        self.send_response(refused.code if refused else 200)
        self.send_header("Content-Type", "application/json")
        for name, value in (refused.headers if refused else {}).items():
            self.send_header(name, value)
        if len(body) > GZIP_FROM_BYTES and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, 1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, events: Iterator[Object] | Refusal) -> None:
        if isinstance(events, Refusal):
            self._json(events)
            return
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events:
            line = json.dumps(event).encode() + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass
