"""Whatever an API says, in whatever shape and size: targets, or one kind of error, in bounded memory."""

from __future__ import annotations

import asyncio
import gzip
import json

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import DiscoveryError
from metricsmith.sources.kubernetes import client, events, known
from metricsmith.sources.kubernetes.client import Resource
from metricsmith.sources.kubernetes.kubeconfig import parse_kubeconfig
from metricsmith.sources.kubernetes.plugin import read_credential
from metricsmith.testing.kubernetes_pods import pod

PODS = Resource("pods", None)
WORDS = """
type object kind code message metadata items continue resourceVersion name namespace annotations labels
spec status phase podIP containers initContainers ports containerPort protocol conditions
prometheus.io/scrape prometheus.io/port ownerReferences controller containerStatuses
"""
KEYS = st.sampled_from(WORDS.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "10.0.0.1", "true", "9100", "fe80::1%0"]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)


def strangely(data, draw):
    """A pod of which some parts are anything."""
    if isinstance(data, dict):
        return {key: strangely(value, draw) for key, value in data.items() if draw(st.integers(0, 30))}
    if isinstance(data, list):
        return [strangely(value, draw) for value in data]
    return data if draw(st.integers(0, 8)) else draw(JSON)


@st.composite
def strange_pods(draw):
    ports = [{"name": "web", "containerPort": 8080, "protocol": "TCP"}]
    own = {"prometheus.io/scrape": "true", "prometheus.io/port": "web"}
    return strangely(pod("a", "10.0.0.1", annotations=own, ports=ports), draw)


def checked(found):
    for one in found:
        for each in one.listed:
            assert isinstance(each.target, str)
            assert all(
                isinstance(name, str) and isinstance(value, str) for name, value in each.labels.items()
            )


@given(data=JSON | strange_pods().map(lambda one: {"items": [one], "metadata": {"resourceVersion": "1"}}))
def test_any_page_gives_targets_or_one_kind_of_error(data):
    try:
        page = events.read_page(orjson.dumps(data), "prometheus.io")
    except DiscoveryError as error:
        assert error.reason == "malformed"
    else:
        checked(page.found)


@given(
    data=JSON | st.tuples(st.sampled_from(["ADDED", "DELETED", "BOOKMARK", "ERROR"]), strange_pods() | JSON)
)
def test_any_event_gives_targets_or_one_kind_of_error(data):
    if isinstance(data, tuple):
        kind, what = data
        if isinstance(what, dict) and isinstance(what.get("metadata"), dict):
            what["metadata"]["resourceVersion"] = "7"
        data = {"type": kind, "object": what}
    try:
        event = events.read_event(orjson.dumps(data), "", PODS)
    except DiscoveryError:
        return
    assert event.version
    checked([event.one] if event.one else [])


@given(line=st.binary(max_size=60))
def test_any_bytes_are_refused(line):
    for read in (lambda: events.read_event(line, "", PODS), lambda: events.read_page(line, "")):
        with pytest.raises(DiscoveryError):
            read()


@given(text=st.binary(max_size=80) | JSON.map(orjson.dumps))
def test_any_kubeconfig_and_any_credential_is_one_kind_of_error(text, tmp_path_factory):
    with pytest.raises(DiscoveryError):
        parse_kubeconfig(text, tmp_path_factory.getbasetemp(), "")
    with pytest.raises(DiscoveryError):
        read_credential(text, "v1")


def test_deep_json_is_refused():
    with pytest.raises(DiscoveryError, match="not JSON"):
        events.read_page(b'{"items":' + b"[" * 200_000, "")


async def test_a_pod_that_is_not_understood_stays_as_it_was_and_is_told(api, follow, caplog):
    good = pod("a", "10.0.0.1", annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "1"})
    api.put(good)
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:1")
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api.put({**good, "status": {"phase": "Running", "podIP": "evil.example"}})
        api.put(pod("b", "10.0.0.2", annotations=good["metadata"]["annotations"]))
        await pods.until_wanted("10.0.0.1:1", "10.0.0.2:1")
        api.move_on()
        api.forget()
        api.cut()  # listed anew, with the same pod in it
        await pods.until_failed("expired")
        api.put(pod("c", "10.0.0.3", annotations=good["metadata"]["annotations"]))
        await pods.until_wanted("10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1")
        assert pods.problems("target") >= 2
    assert "default/a: status.podIP: got 'evil.example', wanted an IP address" in caplog.text


async def test_a_mistake_of_a_pods_owner_is_told(api, follow, caplog):
    api.put(pod("a", "10.0.0.1", annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "x"}))
    async with follow(api_server=api.url) as pods:
        await pods.until(lambda: bool(pods.told))
        assert pods.problems("target") == 1
    assert 'default/a: annotation prometheus.io/port: got "x"' in caplog.text


def page_of(**metadata):
    return {"items": [], "metadata": {"resourceVersion": "1", **metadata}}


def answering(body: bytes, **headers: str):
    async def answer(request):
        return web.Response(body=body, headers={"Content-Type": "application/json", **headers})

    return answer


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"0" * 65_536)


async def watch_without_lines(request):
    return await (
        endless(request) if "watch" in request.query else answering(json.dumps(page_of()).encode())(request)
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (answering(b"[]"), "malformed"),
        (answering(b'{"items": [{}], "metadata": {"resourceVersion": "1"}}'), "malformed"),
        (answering(b'{"items": 7, "metadata": {"resourceVersion": "1"}}'), "malformed"),
        (answering(b'{"items": []}'), "malformed"),
        (answering(json.dumps(page_of(**{"continue": "x" * 20_000})).encode()), "malformed"),
        (answering(b"not gzip", **{"Content-Encoding": "gzip"}), "malformed"),
        (answering(gzip.compress(bytes(3 << 20)), **{"Content-Encoding": "gzip"}), "too_large"),
        (answering(bytes(3 << 20)), "too_large"),
        (endless, "too_large"),
        (watch_without_lines, "too_large"),
        (answering(json.dumps(page_of(**{"continue": "again"})).encode()), "timeout"),
    ],
)
async def test_an_api_that_is_none_is_told_and_tried_again(serve, follow, quick, monkeypatch, answer, reason):
    monkeypatch.setattr(client, "MAX_PAGE_BYTES", 2 << 20)
    monkeypatch.setattr(client, "MAX_EVENT_BYTES", 2 << 20)
    timing = quick(list_s=0.3 if reason == "timeout" else 60.0)
    async with follow(api_server=await serve(answer), timing=timing) as pods:
        await pods.until_failed(reason, 2)
        assert pods.problems() >= 2


async def test_more_than_may_be_held_leaves_what_was_known(api, follow, monkeypatch):
    own = {"prometheus.io/scrape": "true", "prometheus.io/port": "1"}
    monkeypatch.setattr(known, "MAX_TARGETS", 5)
    for number in range(1, 6):
        api.put(pod(f"p{number}", f"10.0.0.{number}", annotations=own))
    async with follow(api_server=api.url) as pods:
        await pods.until(lambda: len(pods.wanted()) == 5)
        api.put(pod("p6", "10.0.0.6", annotations=own))
        await pods.until_failed("too_large", 2)
        assert len(pods.wanted()) == 5
        assert "10.0.0.6:1" not in pods.wanted()
        api.delete("p1")
        await pods.until(lambda: "10.0.0.6:1" in pods.wanted())


async def test_large_labels_are_bounded_together(api, follow, monkeypatch):
    monkeypatch.setattr(known, "MAX_LABEL_BYTES", 4096)
    for number in range(1, 6):
        api.put(pod(f"p{number}", f"10.0.0.{number}", annotations={"a": "x" * 1000}))
    async with follow(api_server=api.url) as pods:
        await pods.until_failed("too_large", 2)
        assert not pods.told
