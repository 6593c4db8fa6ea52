"""The sockets: who may push, what is refused, and what is left behind."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from metricsmith.sdk import Counter, Histogram, Reading, Registry, Sample, Summary, generate_latest
from metricsmith.sdk.processes import Collector, Sharing
from metricsmith.sdk.processes.address import Untrusted, _alone_in, check_address
from metricsmith.sdk.processes.frames import MAX_FRAME_BYTES, BadFrame, FrameReader, encode_frame
from metricsmith.sdk.processes.messages import read_values
from metricsmith.sdk.processes.sessions import Sessions, Speaker
from metricsmith.testing.clock import FakeClock
from metricsmith.testing.programs import LIMIT_S, eventually
from metricsmith.testing.services import free_port

Value = Callable[..., float | None]
HELLO = {"hello": 1, "session": "a", "pid": 1, "service": "", "instance": ""}
COUNTER = ["jobs", "counter", "", "", "add", True, [["jobs_total", []]], None]
SUMMARY = [
    "size",
    "summary",
    "",
    "",
    "add",
    True,
    [["size_count", []], ["size_sum", []]],
    [[0.5], 0.01, 600.0],
]
PUSH = {"push": 1, "shapes": [COUNTER], "cells": [[0, 0, []]], "changes": [[0, [1]]]}


def said(address: str, *pieces: bytes) -> bytes:
    """Return all that a collector answers to one who then has no more to say."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(LIMIT_S)
        connected.connect(address)
        with suppress(ConnectionError):  # who was refused cannot say the rest
            for piece in pieces:
                connected.sendall(piece)
            connected.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while piece := connected.recv(4096):
                answer += piece
    return answer


def test_a_push_byte_by_byte(collector: Collector, address: str, value: Value) -> None:
    stream = encode_frame(HELLO) + encode_frame(PUSH)
    answer = said(address, *(stream[at : at + 1] for at in range(len(stream))))
    assert list(FrameReader().feed(answer)) == [{"applied": 0}, {"applied": 1}]
    assert value("jobs_total") == 1


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("malformed", b"\0\0\0\2[]"),
        ("malformed", b"\0\0\0\3nul"),
        ("malformed", b"\0\1\x86\xa0" + b"[" * 100_000),
        ("too_large", (MAX_FRAME_BYTES + 1).to_bytes(4, "big")),
        ("version", encode_frame({"hello": 2})),
        ("version", encode_frame(PUSH)),
        ("malformed", encode_frame(HELLO | {"session": "x" * 65})),
        ("malformed", encode_frame(HELLO | {"pid": "1"})),
    ],
)
def test_what_is_no_message_ends_its_connection_only(
    reason: str, message: bytes, collector: Collector, address: str, value: Value
) -> None:
    (answer,) = FrameReader().feed(said(address, message))
    assert answer["refused"] == reason
    assert collector.trouble() == {reason: 1}
    said(address, encode_frame(HELLO), encode_frame(PUSH))
    assert value("jobs_total") == 1


BAD: list[dict[str, Any]] = [
    *({"push": number} for number in (0, 2**70, True, "1")),
    *({"changes": [[0, [value]]]} for value in (float("nan"), float("inf"), 10**400, "1", True)),
    *({"changes": changes} for changes in (None, [[0, [1], [], 0]], [[0, [1, 2]]], [[7, [1]]])),
    *({"cells": [[0, shape, labels]]} for shape, labels in ((5, []), (-1, []), (0, {}), (0, [["a", 1]]))),
    {"cells": [[0, 0, []], [0, 0, []]]},
    {"cells": [[0, 0, [["a", "b"]] * 65]]},
    *({"shapes": [shape]} for shape in (COUNTER[:-1], ["jobs", "thing", *COUNTER[2:]], ["", *COUNTER[1:]])),
    *({"shapes": [[*COUNTER[:6], lines, None]]} for lines in ([], [["jobs_total", []]] * 2001)),
    {"shapes": [[*COUNTER[:4], "average", *COUNTER[5:]]]},
    *({"shapes": [[*SUMMARY[:7], sketch]]} for sketch in ([[0.5], 0.00001, 600], [[1.5], 0.01, 600])),
    *({"shapes": [SUMMARY], "changes": [[0, [1, 1], [[b], [], 0]]]} for b in ([10**9, 1], [1, -1])),
]


@pytest.mark.parametrize("change", BAD, ids=lambda change: json.dumps(change)[:60])
def test_nothing_of_a_malformed_push_is_applied(change: dict[str, Any]) -> None:
    sessions, speaker = Sessions(FakeClock()), Speaker()
    sessions.hear(speaker, HELLO)
    good = [1, 0, []]
    push = json.loads(json.dumps(PUSH | {"cells": [good, [0, 0, []]]} | change))
    push["changes"] = push["changes"] and [*([[1, [5]]] if "cells" not in change else []), *push["changes"]]
    with pytest.raises(BadFrame):
        sessions.hear(speaker, push)
    assert sum(s.value for r in sessions.read() for s in r.samples if s.value == s.value) == 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.sampled_from(["add", "sum"]),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["push", "shapes", "cells", "changes", "bye"]), json_values))
def test_any_json_is_applied_or_refused(message: dict[str, Any]) -> None:
    sessions, speaker = Sessions(FakeClock()), Speaker()
    sessions.hear(speaker, HELLO)
    try:
        sessions.hear(speaker, PUSH)
        sessions.hear(speaker, message)
    except BadFrame:
        pass
    list(sessions.read())


def test_a_label_set_that_is_gone_twice() -> None:
    sessions, speaker = Sessions(FakeClock()), Speaker()
    sessions.hear(speaker, HELLO)
    sessions.hear(speaker, PUSH)
    assert sessions.hear(speaker, {"push": 2, "changes": [[0, None], [0, None]]}) == 2
    assert list(sessions.read()) == []
    with pytest.raises(BadFrame):
        sessions.hear(speaker, {"push": 3, "changes": [[0, [1]]]})


def test_only_this_user_can_push(collector: Collector, address: str) -> None:
    path = Path(address)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_collectors(collector: Collector, address: str) -> None:
    with pytest.raises(OSError, match="another process collects"):
        Collector(address).start()
    assert said(address, encode_frame(HELLO)) != b""


def test_a_socket_that_was_left_is_replaced(address: str) -> None:
    folder = Path(address).parent
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(address)
    collector = Collector(address)
    collector.start()
    assert said(address, encode_frame(HELLO)) != b""
    collector.stop()
    assert not folder.exists()


def test_what_is_no_socket_is_left_alone(address: str) -> None:
    path = Path(address)
    path.parent.mkdir(mode=0o700)
    path.write_text("precious")
    with pytest.raises(Untrusted):
        Collector(address).start()
    path.unlink()
    path.parent.chmod(0o777)
    with pytest.raises(Untrusted):
        Collector(address).start()


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:1", "tcp://10.0.0.1:1", "tcp://127.0.0.1", "s", f"/{'x' * 100}"]
)
def test_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        check_address(address)


def test_loopback() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    collector, registry = Collector(address), Registry()
    collector.start()
    Counter("jobs_total", "Jobs.", registry=registry).inc(3)
    sharing = Sharing(registry, address, interval_s=1, service="", instance="")
    sharing.start()
    sharing.stop(LIMIT_S)
    shown = Registry()
    shown.register(collector)
    assert shown.get_sample_value("jobs_total") == 3
    collector.stop()


def test_a_frame_that_does_not_come_to_an_end(address: str) -> None:
    clock = FakeClock()
    collector = Collector(address, clock=clock)
    collector.start()
    with socket.socket(socket.AF_UNIX) as slow:
        slow.settimeout(LIMIT_S)
        slow.connect(address)
        slow.sendall(encode_frame(HELLO)[:-1])
        eventually(lambda: any(c.frames.waiting for c in list(collector._connections)))
        clock.advance(31)
        assert slow.recv(1) == b""
    assert collector.trouble() == {"timeout": 1}
    collector.stop()


def test_two_that_begin_to_collect_at_once(address: str) -> None:
    """What the first has made, and does not listen on yet, is not taken for a socket that was left."""
    folder = Path(address).parent
    folder.mkdir()
    refused: list[str] = []

    def begin() -> None:
        try:
            Collector(address).start()
        except OSError as error:
            refused.append(str(error))

    with socket.socket(socket.AF_UNIX) as first:
        with _alone_in(str(folder)):
            first.bind(address)
            second = threading.Thread(target=begin)
            second.start()
            second.join(0.1)
            first.listen()
        second.join()
        assert refused == [f"another process collects at {address}"]


def test_who_connects_and_says_nothing_leaves_room_for_others(address: str) -> None:
    clock = FakeClock()
    collector = Collector(address, clock=clock)
    collector.start()
    with socket.socket(socket.AF_UNIX) as silent, socket.socket(socket.AF_UNIX) as worker:
        for each in (silent, worker):
            each.settimeout(LIMIT_S)
            each.connect(address)
        worker.sendall(encode_frame(HELLO))
        worker.recv(100)
        eventually(lambda: len(collector._connections) == 2)
        clock.advance(31)
        assert silent.recv(1) == b""
        worker.sendall(encode_frame(PUSH))  # a worker without traffic stays for as long as it likes
        assert worker.recv(100)[4:] == b'{"applied":1}'
    assert collector.trouble() == {"timeout": 1}
    collector.stop()


def test_a_fork_of_the_collecting_process(collector: Collector, address: str, value: Value) -> None:
    """The child holds nothing open that the parent closes."""
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        collector.stop()  # as `atexit` does
        os.write(ready[1], b".")
        os.read(go[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    said(address, encode_frame(HELLO), encode_frame(PUSH))
    assert value("jobs_total") == 1
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(LIMIT_S)
        connected.connect(address)
        connected.sendall(encode_frame(HELLO))
        connected.recv(100)  # it is this one that is known, not only the one before it
        collector.stop()
        assert connected.recv(100) == b""
    os.write(go[1], b".")
    assert os.waitpid(child, 0)[1] == 0


def test_the_end_of_a_process_waits_for_who_has_collected(address: str) -> None:
    """An agent that is being restarted is back within a second; who never collected is not waited for."""
    registry = Registry()
    jobs = Counter("jobs_total", "Jobs.", registry=registry)
    sharing = Sharing(registry, address, interval_s=60, service="", instance="")
    sharing.start()
    collector = Collector(address)
    collector.start()
    assert sharing.flush(LIMIT_S)
    collector.stop()
    jobs.inc(3)
    later = threading.Timer(0.3, collector.start)
    later.start()
    sharing.stop(LIMIT_S)
    later.join()
    assert [s.value for r in collector.totals() for s in r.samples if s.name == "jobs_total"] == [3]
    collector.stop()
    began = time.monotonic()
    alone = Sharing(Registry(), address, interval_s=60, service="", instance="")
    alone.start()
    alone.stop(1000)
    assert time.monotonic() - began < 500


def test_a_push_that_is_refused_does_not_hold_up_others(
    collector: Collector, address: str, value: Value, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    jobs = Counter("jobs_total", "Jobs.", registry=registry)
    sharing = Sharing(registry, address, interval_s=60, service="", instance="")
    with monkeypatch.context() as patched:
        patched.setattr(
            "metricsmith.sdk.processes.sessions.read_values", lambda *_, **__: read_values(None, 1)
        )
        jobs.inc(5)
        assert not sharing.flush()
    assert sharing.problems.last()["refused"].endswith("wanted 1 numbers")
    jobs.inc(2)
    assert sharing.flush(LIMIT_S)
    assert value("jobs_total") == 2
    sharing._disconnect()


@pytest.mark.parametrize("kind", ["labels", "buckets"])
def test_a_metric_that_no_reader_takes_does_not_spoil_its_push(
    kind: str, collector: Collector, address: str, value: Value
) -> None:
    registry = Registry()
    Counter("jobs_total", "Jobs.", registry=registry).inc(5)
    if kind == "labels":
        names = [f"label{at}" for at in range(65)]
        Counter("wide_total", "Wide.", names, registry=registry).labels(*names).inc()
    else:
        Histogram("fine", "Fine.", registry=registry, buckets=range(2_000)).observe(1)
    sharing = Sharing(registry, address, interval_s=60, service="", instance="")
    assert sharing.flush(LIMIT_S)
    assert value("jobs_total") == 5
    assert collector.trouble() == {}
    assert "label_set_too_large" in sharing.problems.last()
    sharing._disconnect()


def test_many_summaries_of_many_values_in_frames_of_a_size(
    collector: Collector, address: str, value: Value
) -> None:
    """A collecting process was away for long: what came meanwhile is more than a frame takes."""
    registry = Registry()
    sizes = Summary("size", "Sizes.", ["of"], registry=registry, max_label_sets=1_000)
    keys = range(-1_000, 1_700)
    for at in range(180):
        sizes.labels(str(at)).observe(1)
        sizes.labels(str(at))._window.current.positive.update(dict.fromkeys(keys, 10**15))
    sharing = Sharing(registry, address, interval_s=60, service="", instance="")
    assert sharing.flush(LIMIT_S)
    assert collector.sessions.pushes > 1
    assert value("size_count", of="179") == 1
    sharing._disconnect()


def test_texts_of_all_kinds(collector: Collector, address: str) -> None:
    """Metrics of collectors have names and labels that nobody has checked; none may hold up the others."""
    texts = ["", "é", "\ud800", "\0" * 1000, "𝔘" * 1000, "x" * 100_000]

    class Odd:
        def read(self) -> list[Reading]:
            samples = [
                Sample(f"odd {at} {t[:9]}", {"l": t, t[:9]: "v"}, 1.0) for at, t in enumerate(texts * 400)
            ]
            return [Reading("odd metric.é", "counter", "\ud800", "", samples)]

    registry = Registry()
    registry.register(Odd())
    jobs = Counter("jobs_total", "Jobs.", ["k"], registry=registry)
    jobs.labels("\ud800").inc()
    sharing = Sharing(registry, address, interval_s=60, service="\ud800", instance="")
    assert sharing.flush(LIMIT_S)
    sharing._disconnect()
    shown = Registry()
    shown.register(collector)
    assert 'jobs_total{k="?"} 1.0' in generate_latest(shown).decode()
    assert collector.trouble() == {}
    assert "label_set_too_large" in sharing.problems.last()
