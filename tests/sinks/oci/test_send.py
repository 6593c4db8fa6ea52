"""What the service gets, and what its answers become; the SDK talks to a double that checks all of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import Rejected, RetryLater, TooLarge
from metricsmith.sinks.oci.client import Failed, failed_metrics
from metricsmith.testing.oci_server import Fault, OciServer
from metricsmith.testing.oci_signature import ApiKey
from metricsmith.testing.programs import eventually
from metricsmith.testing.targets import endless, running_target, trickling

NAN, INF = float("nan"), float("inf")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _named(name: str, **labels: str) -> dict[str, str]:
    return {"__name__": name, **labels}


async def _until_taken(far: Any, delivery: Any) -> None:
    """Send as the delivery engine does: again, where an answer did not come in the time that a test gives."""
    while True:
        try:
            return await far.send(delivery)
        except RetryLater as refusal:
            if refusal.reason != "timeout":
                raise


async def test_points_arrive_as_they_were_scraped(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([_named("orders_total", route="/a"), _named("up", job="shop", instance="s:1")])
    now_ms = _now_ms()
    first = here.batch(layout, now_ms - 30_000, [10, 1])
    await sink(resource_group="web").send(here.delivery(first, here.batch(layout, now_ms, [12.5, 1e300])))
    assert oci.streams() == {
        ("orders_total", (("route", "/a"),)): {now_ms - 30_000: 10.0, now_ms: 12.5},
        ("up", (("instance", "s:1"), ("job", "shop"))): {now_ms - 30_000: 1.0, now_ms: 1e300},
    }
    assert {(p.namespace, p.compartment, p.resource_group) for p in oci.points} == {
        ("bharatmart", "ocid1.compartment.oc1..example", "web")
    }
    assert oci.calls == 1 and oci.largest_call == 2, "points of a stream go together"


async def test_what_is_too_much_for_one_call_goes_in_several(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([_named("a", n=str(n)) for n in range(120)])
    oci.refuse = lambda metric: "bad" if metric["dimensions"]["n"] in ("7", "119") else ""
    with pytest.raises(Rejected) as refusal:
        await sink().send(here.delivery(here.batch(layout, _now_ms(), range(120))))
    assert refusal.value.series == (int(layout.ids[7]), int(layout.ids[119]))
    assert (len(oci.points), oci.calls, oci.largest_call) == (118, 3, 50)


async def test_times_may_differ_by_sample(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([_named("a", n="1"), _named("a", n="2")], None)
    now_ms = _now_ms()
    await sink().send(here.delivery(here.batch(layout, [now_ms - 1, now_ms], [1, 2])))
    assert {p.time_ms for p in oci.points} == {now_ms - 1, now_ms}


async def test_what_is_no_number_is_not_sent_and_counted(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([_named("a", n=str(n)) for n in range(5)])
    batch = here.batch(layout, _now_ms(), [NAN, INF, -INF, NAN, 7], [False, False, False, True, False])
    await sink().send(here.delivery(batch))
    assert [p.value for p in oci.points] == [7.0]
    assert here.telemetry.value("metricsmith_sink_unsent_samples_total", sink="far", reason="not_finite") == 3


async def test_a_delivery_without_numbers_costs_no_call(oci: OciServer, sink: Any, here: Any) -> None:
    layout = here.layout([_named("a", **{f"l{n}": "x" for n in range(30)}), _named("b", n="1")])
    await sink().send(here.delivery(here.batch(layout, _now_ms(), [NAN, NAN], [True, True])))
    assert oci.calls == 0


async def test_what_the_service_would_refuse_is_refused_before_and_the_rest_goes(
    oci: OciServer, sink: Any, here: Any
) -> None:
    wide = here.layout([_named("wide", **{f"l{n}": "x" for n in range(21)}), _named("fine", a="1")])
    ahead = here.layout([_named("ahead", a="1")])
    batches = here.batch(wide, _now_ms(), [1, 2]), here.batch(ahead, _now_ms() + 660_000, [3])
    with pytest.raises(Rejected, match=r"got 21 labels.*; its time is over 10 minutes ahead") as refusal:
        await sink().send(here.delivery(*batches))
    assert sorted(refusal.value.series) == [int(wide.ids[0]), int(ahead.ids[0])]
    assert [p.name for p in oci.points] == ["fine"]
    assert oci.problems == []


async def test_failed_metrics_of_a_right_answer_are_refused_and_no_others(
    oci: OciServer, sink: Any, here: Any
) -> None:
    oci.refuse = lambda metric: "forbidden word" if metric["dimensions"].get("word") == "bad" else ""
    layout = here.layout([_named("a:b", word=word) for word in ("good", "bad", "fine")])
    with pytest.raises(Rejected, match="forbidden word") as refusal:
        await sink().send(here.delivery(here.batch(layout, _now_ms(), [1, 2, 3])))
    assert refusal.value.series == (int(layout.ids[1]),)
    assert [p.dimensions for p in oci.points] == [(("word", "good"),), (("word", "fine"),)]


async def test_failed_metrics_that_nobody_sent_name_no_series(oci: OciServer, sink: Any, here: Any) -> None:
    def rename(metric: dict[str, Any]) -> str:
        if metric["name"] == "good":
            return ""
        metric["name"] = "other"
        return "bad"

    oci.refuse = rename
    layout = here.layout([_named("a", b="1"), _named("good", b="1")])
    with pytest.raises(Rejected, match="bad") as refusal:
        await sink().send(here.delivery(here.batch(layout, _now_ms(), [1, 2])))
    assert refusal.value.series == ()


@pytest.mark.parametrize(
    ("fault", "reason", "after_s", "said"),
    [
        (Fault(500, "InternalError", "oops"), "status_5xx", None, "got 500 InternalError: oops"),
        (Fault(503, headers=(("Retry-After", "7"),)), "status_5xx", 7.0, "got HTTP status 503"),
        (
            Fault(429, "TooManyRequests", "slow down", (("Retry-After", "3"),)),
            "too_many_requests",
            3.0,
            "slow down",
        ),
        (Fault(0), "connection", None, "the call to 127.0.0.1:.* failed: Connection reset by peer"),
        (Fault(0, taken=True), "connection", None, "the call to 127.0.0.1:.* failed: Connection reset"),
        (Fault(200, cut=True), "connection", None, "the call to 127.0.0.1:.* failed: "),
        (Fault(401, "NotAuthenticated", "no"), "credentials", None, "check user, fingerprint and key_file"),
        (Fault(404, "NotAuthorizedOrNotFound", "no"), "not_authorized", None, "check compartment_id"),
        (Fault(403, "NotAllowed", "no"), "not_authorized", None, "check the policy"),
        (Fault(400, "QuotaExceeded", "full"), "status_4xx", None, "got 400 QuotaExceeded: full"),
        (Fault(400), "status_4xx", None, "got HTTP status 400"),
        (Fault(307, headers=(("Location", "/elsewhere"),)), "redirect", None, "got a redirect"),
        (Fault(200, wait=0.6), "timeout", None, "no answer in time"),
    ],
)
async def test_what_may_be_mended_waits(
    oci: OciServer, sink: Any, here: Any, fault: Fault, reason: str, after_s: float | None, said: str
) -> None:
    oci.fault = lambda _: fault
    far = sink(timeout="300ms" if fault.wait else "60s")
    layout = here.layout([_named("a", b="1")])
    batch = here.batch(layout, _now_ms(), [1])
    with pytest.raises(RetryLater, match=said) as refusal:
        await far.send(here.delivery(batch))
    assert (refusal.value.reason, refusal.value.after_s) == (reason, after_s)
    await asyncio.to_thread(eventually, lambda: oci.calls)
    assert oci.calls == 1, "retries are the delivery engine's"
    oci.fault = lambda _: None
    await _until_taken(far, here.delivery(batch))
    assert oci.streams() == {("a", (("b", "1"),)): {batch.time_ms: 1.0}}, "the same point again"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(400, "InvalidParameter", "bad name"), Rejected),
        (Fault(413, "RequestEntityTooLarge", "too much"), TooLarge),
    ],
)
async def test_what_is_wrong_with_the_samples_is_refused(
    oci: OciServer, sink: Any, here: Any, fault: Fault, error: type[Exception]
) -> None:
    oci.fault = lambda _: fault
    with pytest.raises(error, match=fault.message):
        await sink().send(here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1])))


async def test_the_query_endpoint_under_another_name_is_told_as_wrong(
    oci: OciServer, sink: Any, here: Any
) -> None:
    oci.queries = True
    with pytest.raises(RetryLater, match=r"404 NotAuthorizedOrNotFound.*check compartment_id, the region"):
        await sink().send(here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1])))


async def test_credentials_that_are_mended_are_used_without_a_restart(
    oci: OciServer, sink: Any, here: Any, tmp_path: Path
) -> None:
    far, delivery = sink(), here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1]))
    file = tmp_path / "config"
    right = file.read_text()
    for text, said in (
        (right.replace("DEFAULT", "OTHER", 1), "fingerprint is missing, key_file is missing"),
        (right.replace("key_file", "#"), "key_file"),
        (right.replace("region=", "#"), "region is missing"),
        ("not a configuration", "no credentials from"),
        (None, "Could not find config file"),
    ):
        file.unlink() if text is None else file.write_text(text)
        with pytest.raises(RetryLater, match=said) as refusal:
            await far.send(delivery)
        assert refusal.value.reason == "credentials" and str(file) in str(refusal.value)
    ApiKey.make("mallory").write_config(tmp_path)
    with pytest.raises(RetryLater, match="401 NotAuthenticated: the key is not known"):
        await far.send(delivery)
    oci.key.write_config(tmp_path)
    await far.send(delivery)
    assert len(oci.points) == 1


async def test_nothing_of_the_key_is_ever_told(
    oci: OciServer,
    settings: Callable[..., Any],
    sink: Any,
    here: Any,
    caplog: Any,
    capfd: Any,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "config"
    far, config = sink(), settings()
    file.write_text(file.read_text() + "log_requests=true\npass_phrase=open-sesame\n")
    delivery = here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1]))
    await far.send(delivery)
    oci.fault = lambda _: Fault(401, "NotAuthenticated", "no")
    with pytest.raises(RetryLater) as refusal:
        await far.send(delivery)
    told = f"{caplog.text} {refusal.value} {config!r} {''.join(capfd.readouterr())}"
    assert "Signature" not in told and "open-sesame" not in told and oci.key.fingerprint not in told


async def test_an_answer_of_another_service_is_no_delivery(sink: Any, here: Any, peer: Any) -> None:
    far = sink(endpoint=peer.url.removesuffix("/write"))
    with pytest.raises(RetryLater, match="another service"):
        await far.send(here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1])))


async def test_an_answer_that_never_ends_is_given_up(sink: Any, here: Any) -> None:
    delivery = here.delivery(here.batch(here.layout([_named("a", b="1")]), _now_ms(), [1]))
    for behave in (trickling, endless):
        with running_target(behave=behave) as target:
            far = sink(endpoint=f"http://127.0.0.1:{target.port}", connect_timeout="100ms", timeout="300ms")
            with pytest.raises(RetryLater):
                await far.send(delivery)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["failedMetricsCount", "failedMetrics", "metricData", "name", "dimensions", "message"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(_JSON)
def test_any_answer_means_something(answer: Any) -> None:
    try:
        failed = failed_metrics(answer)
    except (Rejected, RetryLater):
        return
    assert all(isinstance(each, Failed) for each in failed)
    assert len(failed) >= max(0, answer["failedMetricsCount"])


async def test_a_large_refusal_is_read_whole(oci: OciServer, sink: Any, here: Any) -> None:
    oci.refuse = lambda metric: "no" if metric["dimensions"]["n"] != "0" else ""
    layout = here.layout([_named("a", long="x" * 500, n=str(n)) for n in range(50)])
    batches = [here.batch(layout, _now_ms() - n, range(50)) for n in range(150)]
    with pytest.raises(Rejected) as refusal:
        await sink().send(here.delivery(*batches))
    assert len(refusal.value.series) == 49 and oci.calls == 1
