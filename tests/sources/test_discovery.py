"""Targets come and go as files and URLs say; what cannot be read changes nothing."""

from __future__ import annotations

import asyncio
import errno
import json
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from metricsmith.errors import LimitExceeded, WireError
from metricsmith.net.target_files import parse_groups
from metricsmith.sources.endpoint import discovered


def write(path: Path, text: str) -> None:
    """Replace a file as careful tools do: the reader never sees half of it."""
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def names(reading, metric="up"):
    return {series for series in reading if series.startswith(f"{metric}{{")}


class Turns:
    """Moves the clock from one thing that is due to the next, everything at rest in between."""

    def __init__(self, source):
        self.source = source

    def sleepers(self):
        """How many wait for time when all is at rest: the provider and every target."""
        sample = self.source.context.telemetry.registry.get_sample_value
        return 1 + int(sample("metricsmith_scrape_targets", {"source": "shop"}) or 0)

    async def batches(self):
        """Let one thing happen; return the batches that came of it."""
        await self.source.due(self.sleepers)
        await asyncio.wait_for(self.source.clock.sleeping(self.sleepers), 60)
        return [await self.source.recorder.batch() for _ in range(self.source.recorder.waiting())]

    async def until(self, wanted, turns=100):
        """Collect what is emitted until `wanted(everything, last value wins)`."""
        merged: dict[str, object] = {}
        for _ in range(turns):
            if wanted(merged):
                return merged
            for batch in await self.batches():
                merged |= self.source.recorder.read(batch)
        raise AssertionError(f"did not come: {merged}")


async def test_a_file_of_targets_is_followed(scraping, serve, tmp_path):
    url = (await serve("a 1\n"))[7:]
    file = tmp_path / "shop.json"
    write(file, json.dumps([{"targets": [url], "labels": {"zone": "eu"}}]))
    rules = [{"source_labels": ["__meta_filepath"], "regex": ".*/(.*)", "target_label": "file"}]
    settings = {"file_sd": {"files": [str(tmp_path / "*.json")], "refresh": "1s"}, "relabel_configs": rules}
    first = f'file="shop.json", instance="{url}", job="shop", zone="eu"'
    second = f'file="shop.json", instance="{url}", job="shop", zone="us"'
    async with scraping(**settings) as source:
        turns = Turns(source)
        await turns.until(lambda got: got.get(f"up{{{first}}}") == 1)
        write(file, json.dumps([{"targets": [url], "labels": {"zone": zone}} for zone in ("eu", "us")]))
        await turns.until(lambda got: {f"up{{{first}}}", f"up{{{second}}}"} <= got.keys())
        write(file, json.dumps([{"targets": [url], "labels": {"zone": "us"}}]))
        ended = await turns.until(lambda got: got.get(f"up{{{first}}}") == "stale")
        assert ended[f"a{{{first}}}"] == "stale", "a removed target's samples and report are marked"
        assert "stale" not in {value for series, value in ended.items() if "us" in series}
        file.unlink()
        await turns.until(lambda got: got.get(f"up{{{second}}}") == "stale")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "[",
        "{}",
        '["h:1"]',
        '[{"targets": "h:1"}]',
        '[{"targets": [1]}]',
        '[{"labels": {"a": 1}}]',
        '[{"x": 1}]',
        '[{"targets": ["h:1"], "labels": {"a-b": "c"}}]',
        "[" * 60_000,
        f"[{'{},' * 600_000}{{}}]",
    ],
)
async def test_a_bad_file_keeps_the_last_good_targets(scraping, serve, tmp_path, bad):
    file = tmp_path / "shop.json"
    write(file, json.dumps([{"targets": [(await serve("a 1\n"))[7:]]}]))
    async with scraping(file_sd={"files": [str(file)], "refresh": "1s"}) as source:
        turns = Turns(source)
        await turns.until(lambda got: names(got))
        write(file, bad)
        failed = {"source": "shop", "kind": "file_sd"}
        await turns.until(lambda _: source.counted("metricsmith_discovery_failures_total", **failed) == 1)
        assert "stale" not in (await turns.until(lambda got: names(got))).values()
        assert source.source.targets().list_age_s > 0
        write(file, json.dumps([{"targets": []}]))
        await turns.until(lambda got: "stale" in got.values())
        assert source.source.targets().list_age_s == 0


@pytest.mark.parametrize(
    "bad", ["- targets: [2024-99-99]", "a: [", "- {? [a] : b}", "\0", "- &a [*a]", "[" * 60_000]
)
async def test_a_bad_yaml_file_is_one_failure(scraping, tmp_path, bad):
    file = tmp_path / "shop.yml"
    write(file, bad)
    async with scraping(file_sd={"files": [str(file)], "refresh": "1s"}) as source:
        await Turns(source).batches()
        failed = {"source": "shop", "kind": "file_sd"}
        assert source.counted("metricsmith_discovery_failures_total", **failed) == 1


async def test_a_file_that_could_not_be_opened_is_tried_again(scraping, serve, tmp_path, monkeypatch):
    file, opened, full = tmp_path / "shop.json", Path.open, True

    def open_(self, *arguments, **options):
        if self == file and full:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(self, *arguments, **options)

    write(file, json.dumps([{"targets": [(await serve("a 1\n"))[7:]]}]))
    monkeypatch.setattr(Path, "open", open_)
    async with scraping(file_sd={"files": [str(file)], "refresh": "1s"}) as source:
        turns = Turns(source)
        failed = {"source": "shop", "kind": "file_sd"}
        await turns.until(lambda _: source.counted("metricsmith_discovery_failures_total", **failed) == 2)
        full = False
        assert await turns.until(lambda got: names(got))
        full = True
        write(file, json.dumps([]))
        await turns.until(lambda _: source.counted("metricsmith_discovery_failures_total", **failed) == 3)
        full = False
        await turns.until(lambda got: "stale" in got.values())
        assert source.source.targets().list_age_s == 0


async def test_an_unchanged_target_is_not_touched_by_an_update(scraping, serve, tmp_path):
    url = (await serve("a 1\n"))[7:]
    file = tmp_path / "shop.yml"
    write(file, f"- targets: ['{url}']")
    async with scraping(file_sd={"files": [str(file)], "refresh": "1s"}, interval="1s") as source:
        turns, seen = Turns(source), []
        for _ in range(10):
            seen += await turns.batches()
        write(file, f"- targets: ['{url}', '127.0.0.1:1']")
        for _ in range(20):
            seen += await turns.batches()
        ours = [b for b in seen if b.layout.stream.endswith(f"{url}/metrics")]
        assert len(ours) > 5
        assert len({id(b.layout) for b in ours}) == 1
        assert len(seen) > len(ours), "the new target is scraped too"


async def test_a_changed_interval_does_not_mark_series_that_go_on(scraping, serve, tmp_path):
    url = (await serve("a 1\n"))[7:]
    file = tmp_path / "shop.yml"
    write(file, f"- {{targets: ['{url}'], labels: {{__scrape_interval__: 10s}}}}")
    async with scraping(file_sd={"files": [str(file)], "refresh": "1s"}) as source:
        turns = Turns(source)
        await turns.until(lambda got: names(got))
        write(file, f"- {{targets: ['{url}'], labels: {{__scrape_interval__: 7s, __scrape_timeout__: 5s}}}}")
        # The file is looked at every second, so within 30 things that happen the new interval holds.
        seen = [batch for _ in range(30) for batch in await turns.batches()]
        assert [b.time_ms - a.time_ms for a, b in pairwise(seen)][-1] == 7000
        assert all(batch.stale is None for batch in seen)


async def test_targets_from_a_url_are_followed_and_failures_keep_them(scraping, serve):
    url = (await serve("a 1\n"))[7:]
    answers = {
        "good": web.json_response([{"targets": [url], "labels": {"zone": "eu"}}]).body,
        "bad": b"[",
        "none": b"[]",
    }
    state = {"answer": "good", "type": "application/json"}

    async def handler(request):
        assert request.headers["Authorization"] == "Bearer token"
        assert request.headers["X-Prometheus-Refresh-Interval-Seconds"] == "1"
        return web.Response(body=answers[state["answer"]], content_type=state["type"])

    discovery = {"url": await serve(handler), "refresh": "1s", "authorization": {"credentials": "token"}}
    failed = {"source": "shop", "kind": "http_sd"}
    async with scraping(http_sd=discovery) as source:
        turns = Turns(source)
        up = f'up{{instance="{url}", job="shop", zone="eu"}}'
        await turns.until(lambda got: got.get(up) == 1)
        state["answer"] = "bad"
        await turns.until(lambda _: source.counted("metricsmith_discovery_failures_total", **failed) > 0)
        state |= {"answer": "none", "type": "text/html"}
        before = source.counted("metricsmith_discovery_failures_total", **failed)
        await turns.until(lambda _: source.counted("metricsmith_discovery_failures_total", **failed) > before)
        assert (await turns.until(lambda got: up in got))[up] == 1
        assert source.source.targets().list_age_s >= 1
        state["type"] = "application/json"
        await turns.until(lambda got: got.get(up) == "stale")
        assert source.source.targets().list_age_s == 0


async def test_bad_targets_and_too_many_are_counted_and_the_rest_is_scraped(scraping, serve):
    url = (await serve("a 1\n"))[7:]
    rules = [{"source_labels": ["__address__"], "regex": "drop.*", "action": "drop"}]
    bad = [
        {
            "source_labels": ["__address__"],
            "regex": "bad:1",
            "target_label": "__scheme__",
            "replacement": "ftp",
        }
    ]
    targets = [url, url, "drop:1", "bad:1", "127.0.0.1:1", "127.0.0.1:2"]
    settings = {"targets": targets, "relabel_configs": [*rules, *bad], "target_limit": 2}
    async with scraping(**settings) as source:
        readings = [await source.reading(2), await source.reading(2)]
        instances = {next(iter(names(reading))) for reading in readings}
        assert instances == {f'up{{instance="{i}", job="shop"}}' for i in (url, "127.0.0.1:1")}
        for kind in ("target", "target_limit"):
            counted = source.counted("metricsmith_discovery_failures_total", source="shop", kind=kind)
            assert counted == 1


async def test_no_secret_of_a_refused_target_is_logged(scraping, serve, tmp_path, caplog):
    url = (await serve("a 1\n"))[7:]
    secrets = ["h:1/x?token=SECRET&token=b", "ann:SECRET@h:1", "ann:SE?CRET@h:1"]
    bad = [*secrets, *(f"http://{target}" for target in secrets), "ftp://ann:SECRET@h/"]
    file = tmp_path / "shop.yml"
    file.write_text(yaml.safe_dump([{"targets": [*bad, f"http://{url}/metrics?token=SECRET"]}]))
    async with scraping(file_sd={"files": [str(file)]}, interval="1s") as source:
        batch = await source.batch(2)
    assert batch.layout.stream == f"scrape/shop/http://{url}/metrics"
    labels = {"source": "shop", "kind": "target"}
    assert source.counted("metricsmith_discovery_failures_total", **labels) == len(bad)
    assert len(caplog.messages) == len(bad)
    assert "CRET" not in caplog.text
    assert "http://h:1/x" in caplog.text, "which target is meant can be seen"


async def test_every_dead_target_is_named(scraping, caplog):
    addresses = [f"127.0.0.1:{port}" for port in (1, 2, 3)]
    async with scraping(targets=addresses) as source:
        for _ in range(6):
            await source.batch(3)
        assert len(caplog.messages) == 3, "and each once, for a while"
        assert all(any(address in line for line in caplog.messages) for address in addresses)


async def test_targets_that_cannot_be_told_apart_are_pointed_out(scraping, serve, caplog):
    url = await serve("a 1\n")
    async with scraping(targets=[f"{url}/one", f"{url}/two"]) as source:
        await source.clock.sleeping(2)
        labels = {"source": "shop", "kind": "same_labels"}
        assert source.counted("metricsmith_discovery_failures_total", **labels) == 1
        assert f"{url}/one and {url}/two have the same labels" in caplog.text


def test_a_group_of_many_targets_and_labels_is_kept_once():
    group = {"targets": ["h:1"] * 1000, "labels": {f"label{i}": "x" * 20 for i in range(256)}}
    found = parse_groups([group], {"__meta_url": "u"})
    assert len(found) == 1000
    assert all(one.labels is found[0].labels for one in found)


@pytest.mark.parametrize(
    ("targets", "labels", "message"),
    [
        (1, {f"label{i}": "" for i in range(257)}, "257 labels"),
        (100_001, {}, "100000 targets"),
        (1_000, {"a": "x" * 100_000}, "64.0MB"),
    ],
)
def test_a_list_that_would_fill_the_memory_is_refused(targets, labels, message):
    with pytest.raises(LimitExceeded, match=message):
        parse_groups([{"targets": ["h:1"] * targets, "labels": labels}], {})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["targets", "labels", "x"]), inner)
    ),
    max_leaves=8,
)


@given(data=JSON)
def test_any_json_gives_targets_or_one_kind_of_error(data):
    try:
        found = parse_groups(data, {"__meta_url": "u"})
    except WireError:
        return
    assert all(isinstance(value, str) for one in found for value in one.labels.values())
    assert all(one.labels["__meta_url"] == "u" for one in found)


@given(targets=st.lists(st.text(max_size=12), max_size=3))
def test_any_target_text_is_discovered(targets):
    """One strange target never spoils a list; `endpoint` judges each."""
    found = [discovered(one.target, one.labels) for one in parse_groups([{"targets": targets}], {})]
    assert len(found) == len(targets)
