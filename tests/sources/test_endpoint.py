"""What is scraped, and with which labels: held against Prometheus itself."""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from metricsmith.model.labels import decode_labels
from metricsmith.model.relabel import Action
from metricsmith.sources.endpoint import discovered, endpoint
from metricsmith.sources.scrape import ScrapeSource
from metricsmith.testing import services


def named(target: str, group: dict[str, str] | None = None, **settings: Any) -> Any:
    config = ScrapeSource.Config.model_validate({"targets": ["h:1"], **settings})
    return endpoint(discovered(target, group or {}), "shop", config)


@pytest.mark.parametrize(
    ("target", "settings", "url", "instance"),
    [
        ("h:1", {}, "http://h:1/metrics", "h:1"),
        ("h", {}, "http://h:80/metrics", "h:80"),
        ("h", {"scheme": "https", "metrics_path": "/m"}, "https://h:443/m", "h:443"),
        ("[::1]:9", {}, "http://[::1]:9/metrics", "[::1]:9"),
        ("[::1]", {}, "http://[::1]:80/metrics", "[::1]:80"),
        ("http://h:1/m", {"scheme": "https"}, "http://h:1/m", "h:1"),
        ("https://h", {}, "https://h:443/metrics", "h:443"),
        ("http://h:1/m?b=b%20c&a=%26", {}, "http://h:1/m?a=%26&b=b+c", "h:1"),
        ("h:1", {"params": {"x": ["1", "2"], "a": ["3"]}}, "http://h:1/metrics?a=3&x=1&x=2", "h:1"),
        ("http://h:1/m?x=9", {"params": {"x": ["1", "2"]}}, "http://h:1/m?x=9&x=2", "h:1"),
        ("h:1", {"labels": {"instance": "mine"}}, "http://h:1/metrics", "mine"),
    ],
)
def test_addresses(target, settings, url, instance):
    found = named(target, **settings)
    assert found.url == url
    assert decode_labels(found.labels) == {"job": "shop", "instance": instance}


def test_labels_of_the_source_are_defaults():
    found = named("h:1", {"zone": "b", "job": "own"}, labels={"zone": "a", "tier": "c"})
    assert decode_labels(found.labels) == {"job": "own", "zone": "b", "tier": "c", "instance": "h:1"}


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("", "HOST:PORT"), ("a b:1", "HOST:PORT"), ("h:99999", "HOST:PORT"), ("h/metrics", "HOST:PORT"),
        ("http://[::1", "HOST:PORT"), ("ftp://h:1/x", "http or https"), ("http://me@h:1/", "HOST:PORT"),
        ("http://h:1/m?a=1&a=2", "HOST:PORT"), ("h:x", "HOST:PORT"),
    ],
)  # fmt: skip
def test_what_cannot_be_scraped_is_refused(target, wanted):
    with pytest.raises(ValueError, match=wanted):
        named(target)


@pytest.mark.parametrize(
    ("interval", "timeout"),
    [("1ms", "1ms"), ("2d", "1s"), ("0", "0"), ("5s", "6s"), ("5s", "0"), ("5", "1s")],
)
def test_discovered_intervals_have_bounds(interval, timeout):
    with pytest.raises(ValueError, match="wanted"):
        named("h:1", {"__scrape_interval__": interval, "__scrape_timeout__": timeout})


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"targets": ["http://h:1/m?a=1&a=2"]}, "params"),
        ({"targets": ["http://h:1/m?a="]}, "params"),
        ({"targets": ["ftp://h:1"]}, "URL such as"),
        ({"targets": ["http://ann:pw@h:1"]}, "basic_auth"),
        ({"targets": ["h:1/metrics"]}, "HOST:PORT"),
        ({"interval": "5s", "timeout": "6s"}, "at most the interval"),
        ({"basic_auth": {"username": "a"}, "authorization": {"credentials": "b"}}, "at most one"),
        ({"authorization": {"type": "Basic", "credentials": "b"}}, "basic_auth"),
        ({"authorization": {}}, "exactly one"),
        ({"tls": {"cert_file": "c"}}, "together"),
        ({"file_sd": {"files": ["targets.txt"]}}, "yaml"),
        ({"labels": {"a-b": "c"}}, "labels"),
        ({"scrape_interval": "5s"}, "scrape_interval"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, hint):
    with pytest.raises(ValidationError, match=hint) as refused:
        ScrapeSource.Config.model_validate({"targets": ["h:1"], **settings})
    assert "pw" not in str(refused.value).split("input_value")[0]


VALUES = ["eu-west", "EU", "a;b", "Straße ΑΣ", "127.0.0.1:9", "", "x" * 40]
REGEXES = [
    "(.*)",
    "(.+)",
    "e(u)(-.*)?",
    "([^;]*);?(.*)",
    "(?P<name>[a-z]+).*",
    "(?i)EU.*",
    "x{3,}",
    "",
    "a|b|eu",
]
REPLACEMENTS = ["$1", "${1}_x", "$1x", "$$1", "${name}", "$2$1", "fixed", "", "$0", "a$"]
NAMES = ["zone", "tier", "__meta_place", "__tmp", "job", "instance", "__address__", "absent"]
TARGETS = ["zone", "tier", "fresh", "instance", "__metrics_path__", "__param_module", "__tmp"]


def random_rule(source: random.Random) -> dict[str, Any]:
    action = source.choice([*Action, *[Action.REPLACE] * 3])
    rule: dict[str, Any] = {"action": str(action)}
    labels = {"source_labels": source.sample(NAMES, source.randint(1, 3))}
    match action:
        case "replace":
            rule |= {**labels, "regex": source.choice(REGEXES), "replacement": source.choice(REPLACEMENTS)}
            rule["target_label"] = source.choice(TARGETS)
            if source.random() < 0.2:
                rule |= {"target_label": "t_${1}", "replacement": "fixed"}
        case "keep":
            rule |= {**labels, "regex": source.choice(["(.*)", "(.+)", ".*e.*|.*;.*"])}
        case "drop":
            rule |= {**labels, "regex": source.choice(REGEXES[2:7])}
        case "hashmod":
            rule |= {
                **labels,
                "modulus": source.randint(1, 2**63),
                "target_label": source.choice(TARGETS[:3]),
            }
        case "labelmap":
            rule |= {"regex": source.choice(["__meta_(.*)", "(zo)ne", "t(.*)"]), "replacement": "m_$1"}
        case "labeldrop":
            rule |= {"regex": source.choice(["zone|__tmp", "t.*", "__param_.*", "instance"])}
        case "labelkeep":
            rule |= {"regex": source.choice(["__.*|zone", "__.*|job|tier"])}
        case "lowercase" | "uppercase":
            rule |= {**labels, "target_label": source.choice(TARGETS[:4])}
        case _:
            rule |= {**labels, "target_label": source.choice(NAMES[:4])}
    if "source_labels" in rule and action not in ("keepequal", "dropequal") and source.random() < 0.3:
        rule["separator"] = source.choice(["", "-", ";;"])
    return rule


def test_targets_and_labels_are_those_of_prometheus(tmp_path: Path, promtool: Path):
    """200 generated jobs, each relabelling one target with up to four rules of any action."""
    source = random.Random(2)
    jobs = []
    for number in range(200):
        labels = {name: source.choice(VALUES) for name in NAMES[:4]}
        rules = [random_rule(source) for _ in range(source.randint(1, 4))]
        jobs.append((f"job{number}", f"127.0.0.1:{source.choice(['', '1'])}".rstrip(":"), labels, rules))
    document = {
        "global": {"scrape_interval": "1h"},
        "scrape_configs": [
            {
                "job_name": job,
                "params": {"module": ["default"]},
                "relabel_configs": rules,
                "static_configs": [{"targets": [target], "labels": labels}],
            }
            for job, target, labels, rules in jobs
        ],
    }
    with services.prometheus(tmp_path, yaml.safe_dump(document, allow_unicode=True)) as server:
        # Discovery settles seconds after the server is ready and tells nobody: it is asked, within limits.
        seen, deadline = 0, time.monotonic() + 60
        while seen < len(jobs):
            assert time.monotonic() < deadline, f"Prometheus has found {seen} of {len(jobs)} targets"
            time.sleep(0.05)
            with urllib.request.urlopen(f"{server.url}/api/v1/targets", timeout=60) as answer:
                data = json.load(answer)["data"]
            seen = len(data["activeTargets"]) + len(data["droppedTargets"])
        wanted = {t["scrapePool"]: (t["scrapeUrl"], t["labels"]) for t in data["activeTargets"]}
    settings = {"interval": "1h", "params": {"module": ["default"]}}
    got = {}
    for job, target, labels, rules in jobs:
        config = ScrapeSource.Config.model_validate(
            {"targets": ["h:1"], **settings, "relabel_configs": rules}
        )
        try:
            found = endpoint(discovered(target, labels), job, config)
        except ValueError:
            continue
        if found is not None:
            got[job] = (found.url, decode_labels(found.labels))
    # An empty path is sent as "/", and we show it so.
    wanted = {job: (re.sub(r"(:\d+)\?", r"\1/?", url), labels) for job, (url, labels) in wanted.items()}
    assert 40 < len(wanted) < 190, "some targets are kept, some are dropped"
    assert got == wanted
