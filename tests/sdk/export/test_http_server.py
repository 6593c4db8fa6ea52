"""The HTTP server: requests of every kind, and clients that mean no good."""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.sdk.export import http_server
from metricsmith.sdk.export.http_server import (
    BadRequest,
    Handler,
    HttpServer,
    Request,
    Response,
    read_request,
)
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.programs import LIMIT_S, eventually

Serve = Callable[[Handler], tuple[HttpServer, int]]


def page(request: Request) -> Response:
    if request.path == "/broken":
        raise RuntimeError("no page")
    return Response(f"{request.path} {request.query}".encode(), headers={"X-Extra": "1"})


def talk(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        client.sendall(data)
        found = b""
        while piece := client.recv(65_536):
            found += piece
    return found


def test_get_and_head(serve: Serve) -> None:
    _, port = serve(page)
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    for method, body in (("GET", b"/a b=1"), ("HEAD", b""), ("GET", b"/a b=1")):  # on one connection
        client.request(method, "/a?b=1")
        answer = client.getresponse()
        assert (answer.status, answer.getheader("Content-Length")) == (200, "6")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("X-Extra") == "1"
        assert answer.read() == body
    client.close()


REFUSED = [
    (b"POST / HTTP/1.1\r\n\r\n", 405),
    (b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 400),
    (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    (b"GET /\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    (b"GET / HTTP/2.0\r\n\r\n", 400),
    (b"GET /\n HTTP/1.1\r\n\r\n", 400),
    (b"GET /\xe9 HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + b"A: 1\r\n" * 101 + b"\r\n", 431),
    (b"GET /" + b"a" * 20_000, 431),
]


@pytest.mark.parametrize(("data", "status"), REFUSED)
def test_what_is_no_request_is_refused_and_ends(serve: Serve, data: bytes, status: int) -> None:
    server, port = serve(page)
    answer = talk(port, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in answer
    assert server.refused == {"request": 1}
    assert talk(port, b"GET /x HTTP/1.0\r\n\r\n").endswith(b"/x ")  # and it goes on


def test_requests_that_come_in_pieces_and_together(serve: Serve) -> None:
    _, port = serve(page)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        client.sendall(b"GET /1 HTTP/1.1\r\n")
        client.sendall(b"\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\nConnection: close\r\n\r\n")
        found = b""
        while piece := client.recv(65_536):
            found += piece
    assert [part[:2] for part in found.split(b"\r\n\r\n")[1:]] == [b"/1", b"/2", b"/3"]


def test_a_page_that_fails_is_an_answer_and_is_logged_once(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    server, port = serve(page)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            answer = talk(port, b"GET /broken HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"no page" not in answer
    assert server.refused == {"page": 3}
    assert len(caplog.records) == 1


def test_a_large_answer_to_a_slow_reader(serve: Serve) -> None:
    body = b"x" * 8_000_000
    _, port = serve(lambda request: Response(body))
    slow = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    slow.sendall(b"GET / HTTP/1.0\r\n\r\n")
    assert len(talk(port, b"GET / HTTP/1.0\r\n\r\n")) > len(body)  # while the other one has not read
    found = 0
    while piece := slow.recv(1 << 20):
        found += len(piece)
    slow.close()
    assert found > len(body)


def test_who_never_ends_a_request_is_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    monkeypatch.setattr(http_server, "time", clock)
    server, port = serve(page)
    for said in (b"GET / HT", b""):  # one that says nothing at all is only closed
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
            client.sendall(said)
            eventually(lambda s=said: [c.received for c in list(server._connections)] == [s])
            clock.advance(http_server.REQUEST_S + 0.1)
            server._wake_up()
            assert client.recv(1) == b""
        assert server.refused == {"timeout": 1}


def test_who_never_takes_an_answer_is_dropped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "ANSWER_S", 0.1)
    server, port = serve(lambda request: Response(b"x" * 50_000_000))
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        eventually(lambda: server.refused)
    assert server.refused == {"timeout": 1}


def test_an_idle_connection_makes_room(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 1)
    server, port = serve(page)
    with socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle.recv(4096)
        assert talk(port, b"GET /x HTTP/1.0\r\n\r\n").endswith(b"/x ")
        assert idle.recv(4096) == b""
    assert not server.refused


def test_those_who_never_end_a_request_keep_nobody_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "MAX_CONNECTIONS", 3)
    server, port = serve(page)
    with ExitStack() as slow:
        asking = []
        for _ in range(3):
            asking.append(slow.enter_context(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)))
            asking[-1].sendall(b"GET ")
        assert talk(port, b"GET /x HTTP/1.0\r\n\r\n").endswith(b"/x ")
        assert asking[0].recv(4096) == b""  # the slowest of them
        asking[2].sendall(b"/y HTTP/1.0\r\n\r\n")
        assert b"200" in asking[2].recv(4096)
    assert server.refused == {"connections": 1}


def test_an_address_in_use_is_an_error(serve: Serve) -> None:
    _, port = serve(page)
    other = HttpServer()
    with pytest.raises(OSError, match="in use"):
        other.listen("127.0.0.1", port, page)
    other.stop()


WORDS = [b"GET", b"HEAD", b" ", b"/", b"HTTP/1.1", b"\r\n", b":", b"a", b"Connection", b"close", b"\n"]


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=5)), max_size=30).map(b"".join))
def test_any_bytes_are_a_request_or_refused(head: bytes) -> None:
    try:
        request, _ = read_request(head)
    except BadRequest as error:
        assert error.status in (400, 405, 431)
    else:
        assert head.startswith((b"GET ", b"HEAD ")) and request.path.isprintable()
