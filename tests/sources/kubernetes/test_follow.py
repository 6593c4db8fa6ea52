"""In the end, what is known equals what the API has: over pages, expiries, cuts, silence and refusals."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from metricsmith.testing.kubernetes_pods import pod
from metricsmith.testing.kubernetes_server import Refusal

SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}


def scraped(name, ip, **more):
    return pod(name, ip, annotations=SCRAPED, **more)


async def test_pods_that_come_change_and_go_are_followed(api, follow):
    api.put(scraped("a", "10.0.0.1"))
    api.put(pod("quiet", "10.0.0.9"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        api.put(scraped("b", "10.0.0.2"))
        await pods.until_wanted("10.0.0.1:9100", "10.0.0.2:9100")
        api.put(pod("a", "10.0.0.1"))
        await pods.until_wanted("10.0.0.2:9100")
        api.delete("b")
        await pods.until_wanted()
    assert api.count("list") == 1, "all of it was told by one watch"


async def test_a_long_list_comes_in_pages_that_are_one_moment(api, follow):
    for number in range(601):
        api.put(scraped(f"p{number}", f"10.0.{number // 250}.{number % 250 + 1}"))
    async with follow(api_server=api.url) as pods:
        await pods.until(lambda: len(pods.wanted()) == 601)
    assert [r.query.get("limit") for r in api.requests if r.verb == "list"] == ["250"] * 3
    assert sum("continue" in r.query for r in api.requests) == 2


@pytest.mark.parametrize(("expires", "whole"), [(1, False), (5, True)])
async def test_a_list_whose_pages_expire_is_begun_again(api, follow, expires, whole):
    for number in range(300):
        api.put(scraped(f"p{number}", f"10.0.{number // 250}.{number % 250 + 1}"))
    left = [expires]

    def forget(request):
        if "continue" in request.query and left[0]:
            left[0] -= 1
            api.forget()

    api.refuse = forget
    async with follow(api_server=api.url) as pods:
        await pods.until(lambda: len(pods.wanted()) == 300)
        assert pods.problems() == 0, "nothing is wrong with such a cluster"
        assert pods.failures("expired") == (2 if whole else 1)
    assert ("limit" not in api.requests[-1].query) is whole or api.requests[-1].verb == "watch"
    assert (sum(r.verb == "list" and "limit" not in r.query for r in api.requests) == 1) is whole


@pytest.mark.parametrize("event", [True, False])
async def test_a_watch_from_too_long_ago_is_followed_by_a_new_list(api, follow, event):
    api.error_events = event
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api.refuse = lambda request: Refusal(503, "ServiceUnavailable", "away")
        api.cut()
        await pods.until_failed("status_5xx")
        api.delete("a")
        api.put(scraped("b", "10.0.0.2"))
        api.forget()
        api.refuse = lambda request: None
        await pods.until_wanted("10.0.0.2:9100")
        assert api.count("list") >= 2


async def test_a_bookmark_spares_the_list_when_history_is_forgotten(api, follow, quick):
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url, timing=quick(watch_s=1.1)) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api.move_on()  # a cluster is busy elsewhere
        api.forget()
        await asyncio.to_thread(api.wait_until, lambda: api.count("watch") == 2 and api.watches == 1)
        api.put(scraped("b", "10.0.0.2"))
        await pods.until_wanted("10.0.0.1:9100", "10.0.0.2:9100")
        assert pods.failures("expired") == 0
    first, second, *_ = (r.query for r in api.requests if r.verb == "watch")
    assert int(second["resourceVersion"]) == int(first["resourceVersion"]) + 1, "known by the bookmark alone"
    assert first["allowWatchBookmarks"] == "true"
    assert api.count("list") == 1


async def test_a_cut_goes_on_where_it_was_and_is_no_problem(api, follow):
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        for number in range(2, 6):
            await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
            api.cut()
            api.put(scraped("a", f"10.0.0.{number}"))
            await pods.until_wanted(f"10.0.0.{number}:9100")
        assert pods.failures("broken") == 4
        assert pods.problems() == 0
    assert api.count("list") == 1


async def test_a_connection_that_says_nothing_is_given_up(api, follow, quick):
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url, timing=quick(silence_s=1.0)) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api.hush()
        api.put(scraped("b", "10.0.0.2"))
        await pods.until_failed("silent")
        api.hush(False)
        await pods.until_wanted("10.0.0.1:9100", "10.0.0.2:9100")
        assert pods.problems() == 0
    assert api.count("list") == 1


async def test_watches_that_end_in_order_are_begun_again(api, follow, quick):
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url, timing=quick(watch_s=1.1)) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await asyncio.to_thread(api.wait_until, lambda: api.count("watch") == 3)
        assert pods.problems() == 0
        assert not [r for r in api.requests if r.verb == "watch" and int(r.query["timeoutSeconds"]) > 2]
    assert api.count("list") == 1


async def test_targets_stay_while_the_api_is_away_and_their_age_is_told(api, follow, caplog):
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await pods.until_watching()
        api.refuse = lambda request: Refusal(500, "InternalError", "etcd is away")
        api.cut()
        await pods.until_failed("status_5xx", 3)
        assert pods.age_s() > 0
        assert pods.wanted() == {"10.0.0.1:9100"}
        assert pods.problems() >= 3
        (line,) = [m for m in caplog.messages if "etcd is away" in m]
        assert "the last good targets stay" in line
        assert "s old" in line
        api.refuse = lambda request: None
        api.put(scraped("b", "10.0.0.2"))
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api.put(scraped("a", "10.0.0.3"))
        await pods.until_wanted("10.0.0.3:9100", "10.0.0.2:9100")
        assert pods.age_s() == 0, "a watch told of that"


async def test_a_server_whose_history_is_shorter_than_ours_is_listed_anew(api, follow):
    """As after the restore of a backup: no watch from the version that we know would ever go on."""
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)
        api._version -= 1
        api._changes.clear()
        api.cut()
        await pods.until_failed("status_5xx")
        await asyncio.to_thread(api.wait_until, lambda: api.count("list") == 2)
        await asyncio.to_thread(api.wait_until, lambda: api.watches == 1)


@pytest.mark.parametrize(
    ("refusal", "reason", "hint"),
    [
        (Refusal(401, "Unauthorized", "Unauthorized"), "unauthorized", "has it expired"),
        (
            Refusal(403, "Forbidden", 'User "sa" cannot list resource "pods"'),
            "forbidden",
            'cannot list resource "pods" (wanted a ClusterRole, bound to this account, that allows the verbs'
            " list and watch on pods)",
        ),
        (Refusal(404, "NotFound", "no"), "not_found", "is this the address of a Kubernetes API?"),
        (Refusal(400, "BadRequest", "field label"), "bad_request", "are the selectors right?"),
        (Refusal(429, "TooManyRequests", "slow down", {"Retry-After": "7"}), "throttled", "slow down"),
        (Refusal(503, "ServiceUnavailable", "away"), "status_5xx", "got HTTP status 503: away"),
        (Refusal(302, "Found", "over there", {"Location": "http://127.0.0.1:1/"}), "status_3xx", "302"),
    ],
)
async def test_a_refusal_is_told_with_what_would_help(api, follow, caplog, refusal, reason, hint):
    api.refuse = lambda request: refusal
    async with follow(api_server=api.url) as pods:
        await pods.until_failed(reason, 2)
        assert pods.problems() >= 2
        assert not pods.told
        (line,) = caplog.messages
        assert hint in line
        if reason == "throttled":
            assert min(pods.clock.slept) == 7
        else:
            assert max(pods.clock.slept) <= 0.05


async def test_watching_may_be_forbidden_where_listing_is_not(api, follow):
    """Then lists are all there is, and they are made again and again."""
    api.refuse = lambda r: Refusal(403, "Forbidden", "no watch") if r.verb == "watch" else None
    api.put(scraped("a", "10.0.0.1"))
    async with follow(api_server=api.url) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        api.put(scraped("b", "10.0.0.2"))
        await pods.until_wanted("10.0.0.1:9100", "10.0.0.2:9100")
        assert pods.failures("forbidden") >= 1


async def test_namespaces_are_followed_each_on_its_own(api, follow):
    for place in ("shop", "bank", "other"):
        api.put(scraped(f"{place}-1", f"10.0.{len(place)}.1", namespace=place))
    api.refuse = lambda r: Refusal(403, "Forbidden", "not yours") if r.namespace == "bank" else None
    api.put(scraped("shop-2", "10.0.4.2", namespace="shop"))
    async with follow(api_server=api.url, namespaces={"names": ["shop", "bank"]}) as pods:
        await pods.until_wanted("10.0.4.1:9100", "10.0.4.2:9100")
        await pods.until_failed("forbidden")
        api.refuse = lambda request: None
        api.put(scraped("bank-1", "10.0.5.1", namespace="bank"))
        await pods.until(lambda: "10.0.5.1:9100" in pods.wanted())
    assert {r.namespace for r in api.requests} == {"shop", "bank"}


async def test_the_server_selects(api, follow):
    api.put(scraped("a", "10.0.0.1", labels={"app": "shop"}, node="n1"))
    api.put(scraped("b", "10.0.0.2", labels={"app": "shop"}, node="n2"))
    api.put(scraped("c", "10.0.0.3", labels={"app": "bank"}, node="n1"))
    selectors = [{"role": "pod", "label": "app in (shop,till),!test", "field": "spec.nodeName=n1"}]
    async with follow(api_server=api.url, selectors=selectors) as pods:
        await pods.until_wanted("10.0.0.1:9100")
        api.put(scraped("c", "10.0.0.3", labels={"app": "till"}, node="n1"))
        await pods.until_wanted("10.0.0.1:9100", "10.0.0.3:9100")
        api.put(scraped("a", "10.0.0.1", labels={"app": "shop", "test": "1"}, node="n1"))
        await pods.until_wanted("10.0.0.3:9100")


async def test_an_api_behind_a_path_is_asked_there(serve, follow):
    asked = asyncio.Queue()

    async def answer(request):
        await asked.put(request.path)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    async with follow(api_server=f"{await serve(answer)}/k8s/clusters/c-1/"):
        assert await asked.get() == "/k8s/clusters/c-1/api/v1/pods"


async def test_a_quiet_cluster_is_one_that_is_well(api, follow, quick, monkeypatch):
    """Watches on which nothing comes are renewed for ever, with short waits, and never become lists."""
    api.put(scraped("a", "10.0.0.1"))
    monkeypatch.setattr("metricsmith.sources.kubernetes.follow.MIN_WATCH_S", 0.2)
    async with follow(api_server=api.url, timing=quick(silence_s=0.25, longest_wait_s=50.0)) as pods:
        await pods.until_failed("silent", 5)
        assert max(pods.clock.slept) <= 1
    assert api.count("list") == 1
