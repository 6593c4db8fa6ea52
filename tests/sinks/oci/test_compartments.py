"""Choosing a compartment.

Commands and outputs of docs/oci.md are of what is tested here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from metricsmith.cli.main import app
from metricsmith.errors import RetryLater
from metricsmith.testing.oci_server import OciServer
from metricsmith.testing.oci_signature import ApiKey
from metricsmith.testing.terminal import alike, shown_on

DOCS = Path(__file__).parents[3] / "docs"

SHOP, WEB = "ocid1.compartment.oc1..aaaashop", "ocid1.compartment.oc1..aaaaweb"
PLANT = "ocid1.compartment.oc1..aaaaplant"


@pytest.fixture
def asking(oci: OciServer, tmp_path: Path) -> list[str]:
    """The start of a command line that asks the double."""
    oci.compartments = [
        {"id": WEB, "compartmentId": SHOP, "name": "web", "description": "what people see"},
        {"id": SHOP, "compartmentId": oci.key.tenancy, "name": "shop", "description": ""},
        {"id": PLANT, "compartmentId": oci.key.tenancy, "name": "plant", "description": ""},
    ]
    file = oci.key.write_config(tmp_path)
    return ["oci", "compartments", "--config-file", str(file), "--endpoint", oci.url]


def test_compartments_stand_in_their_order_with_their_ids(asking: list[str], oci: OciServer) -> None:
    answer = CliRunner().invoke(app, asking)
    assert answer.exit_code == 0, answer.output
    header, *_ = shown_on(DOCS / "oci.md", "metricsmith oci compartments").splitlines()
    assert alike(header, answer.stdout)
    rows = [line.split() for line in answer.stdout.splitlines()]
    assert [row[:2] for row in rows[1:]] == [
        ["(root)", oci.key.tenancy],
        ["plant", PLANT],
        ["shop", SHOP],
        ["shop/web", WEB],
    ]


def test_a_region_that_is_not_there_is_told_at_once(asking: list[str]) -> None:
    asking[-1] = "https://identity.eu-franfurt-1.invalid"
    answer = CliRunner().invoke(app, asking)
    assert isinstance(answer.exception, RetryLater)
    assert "the name identity.eu-franfurt-1.invalid is not known (check the region" in str(answer.exception)


def test_a_key_that_is_not_known_is_told_with_what_to_check(
    asking: list[str], oci: OciServer, tmp_path: Path
) -> None:
    ApiKey.make("mallory").write_config(tmp_path)
    answer = CliRunner().invoke(app, asking)
    assert "401 NotAuthenticated" in str(answer.exception) and "fingerprint" in str(answer.exception)


def test_without_credentials_it_says_so(asking: list[str]) -> None:
    answer = CliRunner().invoke(app, [*asking, "--profile", "OTHER"])
    assert isinstance(answer.exception, RetryLater)
    assert "profile OTHER" in str(answer.exception)


def test_a_kind_of_credentials_that_is_none_is_refused(asking: list[str]) -> None:
    answer: Any = CliRunner().invoke(app, [*asking, "--auth", "password"])
    assert answer.exit_code == 2
