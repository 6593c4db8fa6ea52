"""What the service would refuse for ever is refused at the start, with what would be right."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from metricsmith.config.load import load_text
from metricsmith.errors import ConfigError

EXAMPLE = """
sinks:
  - type: oci
    name: oci
    namespace: bharatmart
    compartment_id: ocid1.compartment.oc1..example
    config_file: ~/.oci/config
    profile: DEFAULT
    endpoint: null            # default: telemetry-ingestion of the profile's region
    average: delta            # or lifetime
"""


def test_the_page_shows_the_shipped_example() -> None:
    root = Path(__file__).parents[3]
    (block,) = re.findall(r"```yaml\n(.*?)```", (root / "docs" / "oci.md").read_text(), re.DOTALL)
    (shown,) = load_text(textwrap.dedent(block)).of("sinks")
    (shipped,) = load_text((root / "examples" / "oci.yaml").read_text()).of("sinks")
    assert shown == shipped


def _with(line: str) -> str:
    key = line.partition(":")[0]
    kept = [each for each in EXAMPLE.splitlines() if not each.strip().startswith(f"{key}:")]
    return "\n".join([*kept, f"    {line}"])


def test_the_documented_example_loads() -> None:
    (part,) = load_text(EXAMPLE).of("sinks")
    config: Any = part.config
    assert (config.namespace, config.average, config.endpoint, config.auth) == (
        "bharatmart",
        "delta",
        None,
        "config_file",
    )
    assert config.calls_per_second == 50


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("namespace: bharat.mart", "wanted no dots, such as bharat_mart"),
        ("namespace: oci_shop", "reserved"),
        ("namespace: Oracle_shop", "reserved"),
        ("namespace: 1shop", "wanted a letter"),
        ("namespace: my-shop", "wanted a letter"),
        ("compartment_id: shop", "wanted an OCID"),
        ("resource_group: 1st", "wanted a letter"),
        (
            "endpoint: https://telemetry.eu-frankfurt-1.oraclecloud.com",
            "wanted https://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com",
        ),
        ("endpoint: http://telemetry-ingestion.eu-frankfurt-1.oraclecloud.com", "wanted https"),
        ("endpoint: https://proxy.example/20180401", "wanted https://HOST"),
        ("endpoint: telemetry-ingestion.eu-frankfurt-1.oraclecloud.com", "wanted a URL"),
        ("average: mean", "wanted one of delta, lifetime"),
        ("counters: absolute", "wanted one of as_is, delta, rate"),
        ("auth: password", "wanted one of config_file, instance_principal"),
        ("batch_size: 20000", "wanted at most 10000"),
        ("quantiles: [1.5]", "got 1.5"),
        ("key_file: x.pem", "unknown key"),
    ],
)
def test_what_cannot_work_is_refused_with_a_hint(line: str, said: str) -> None:
    with pytest.raises(ConfigError, match="sinks") as refusal:
        load_text(_with(line))
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("counters: as_is", [("average", "delta")]),
        ("average: lifetime", [("average", "lifetime")]),
        ("counters: rate", [("average", "delta"), ("rate", "_per_second")]),
        ("counters: delta", [("average", "delta"), ("delta", "_delta")]),
    ],
)
def test_conversions_are_ordinary_processors_after_the_users_own(line: str, wanted: Any) -> None:
    (part,) = load_text(_with(line) + "\n    processors: [{type: filter, drop: [up]}]").of("sinks")
    own, *converting = part.processors
    assert own.type == "filter"
    found: list[Any] = [each.config for each in converting]
    assert [
        (each.type, getattr(c, "mode", None) or c.suffix) for each, c in zip(converting, found, strict=True)
    ] == wanted


def test_without_the_sdk_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['oci'] = None\n"
        "from metricsmith.config.load import load_text\n"
        f"load_text({EXAMPLE!r})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'metricsmith[oci]'" in ended.stderr.splitlines()[-1]
