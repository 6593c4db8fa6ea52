"""What a page shows of the configuration: all of it, loadable again, and no secret."""

from __future__ import annotations

import yaml

from metricsmith.config.load import load_text
from metricsmith.config.shown import shown

TEXT = """
service: {name: here}
storage: {path: data, retention: 2d, type: prometheus, url: "http://db", username: me, password: HUSH1}
alerts: {webhook_url: "https://hooks.example.com/HUSH2"}
sources:
  - type: scrape
    name: shop
    interval: 5s
    targets: ["http://a:1/m?token=HUSH3", "b:2"]
    params: {key: [HUSH4]}
    basic_auth: {username: me, password: HUSH5}
    http_sd: {url: "https://sd.example.com/list?auth=HUSH6", authorization: {credentials: HUSH7}}
    relabel_configs: [{target_label: x, replacement: "http://$1"}]
"""


def test_secrets_are_hidden_and_the_rest_is_there() -> None:
    data = shown(load_text(TEXT, "m.yaml", {}))
    text = yaml.safe_dump(data)
    assert "HUSH" not in text
    assert "***" not in text
    assert data["service"]["name"] == "here"
    assert (data["storage"]["retention"], data["storage"]["password"]) == ("2d", "<secret>")
    assert data["query"]["timeout"] == "2m"
    (source,) = data["sources"]
    assert source["targets"] == ["http://a:1/m?<secret>", "b:2"]
    assert source["params"] == {"key": ["<secret>"]}
    assert source["basic_auth"] == {"username": "me", "password": "<secret>"}
    assert source["http_sd"]["url"] == "https://sd.example.com/list?<secret>"
    assert source["relabel_configs"][0]["replacement"] == "http://$1"


def test_users_in_addresses_are_hidden() -> None:
    text = "rules: {external_url: 'http://me:HUSH@db:8086/x'}"
    assert shown(load_text(text, "", {}))["rules"]["external_url"] == "http://<secret>@db:8086/x"


def test_of_the_store_what_is_of_its_type_is_shown() -> None:
    text = "storage: {type: prometheus, url: 'http://db:9090', database: x, job_name: shop}"
    storage = shown(load_text(text, "", {}))["storage"]
    assert (storage["type"], storage["url"], storage["job_name"]) == ("prometheus", "http://db:9090", "shop")
    assert not storage.keys() & {"database", "head_bytes"}


def test_what_is_shown_can_be_loaded_when_nothing_is_hidden() -> None:
    plain = "service: {name: here}\nsources: [{type: scrape, name: a, targets: ['b:2'], interval: 1m}]"
    data = shown(load_text(plain, "", {}))
    again = load_text(yaml.safe_dump(data), "", {})
    assert shown(again) == data
