"""Where samples and events go follows from the region and the account."""

from __future__ import annotations

from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.errors import ConfigError
from metricsmith.sinks.newrelic.settings import NewRelicConfig

US, EU = "https://metric-api.newrelic.com/metric/v1", "https://metric-api.eu.newrelic.com/metric/v1"


@pytest.mark.parametrize(
    ("given", "metrics", "events"),
    [
        ({}, US, "https://insights-collector.newrelic.com/v1/accounts/7/events"),
        ({"region": "eu"}, EU, "https://insights-collector.eu01.nr-data.net/v1/accounts/7/events"),
        (
            {"endpoint": "http://proxy/nr/metric/v1", "event_endpoint": "http://proxy/nr/"},
            "http://proxy/nr/metric/v1",
            "http://proxy/nr/v1/accounts/7/events",
        ),
    ],
)
def test_addresses(given: dict[str, Any], metrics: str, events: str) -> None:
    config = NewRelicConfig(api_key="k", account_id=7, **given)
    assert (config.metrics_url(), config.events_url()) == (metrics, events)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ("region: eu", "api_key"),
        ("api_key: k, region: apac", "us"),
        ("api_key: k, account_id: mine", "account_id"),
        ("api_key: k, event_type: my events", "event_type"),
        ("api_key: k, endpoint: metric-api.newrelic.com", "endpoint"),
        ("api_key: k, licence: x", "licence"),
        ("api_key: NRAK-SECRETOFMINE", "got a user key"),
        ("api_key: eu01xxSECRETOFMINE", "wanted region: eu"),
    ],
)
def test_mistakes_are_named(settings: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refusal:
        load_text(f"sinks:\n- {{type: newrelic, {settings}}}\n", "m.yaml", {})
    assert "SECRETOFMINE" not in str(refusal.value)


def test_keys_of_the_eu_and_those_for_something_in_between_are_taken() -> None:
    assert NewRelicConfig(api_key="eu01xxk", region="eu").metrics_url() == EU
    assert NewRelicConfig(api_key="eu01xxk", endpoint="https://relay.example/metric/v1").region == "us"


def test_the_key_comes_from_the_environment_and_is_never_shown() -> None:
    text = "sinks:\n- {type: newrelic, api_key: '${NEW_RELIC_LICENSE_KEY}'}\n"
    loaded = load_text(text, "m.yaml", {"NEW_RELIC_LICENSE_KEY": "a-secret"})
    (part,) = loaded.of("sinks")
    assert isinstance(part.config, NewRelicConfig)
    assert part.config.api_key.get_secret_value() == "a-secret"
    assert "a-secret" not in repr(loaded)
