"""Every query and alert expression of the pipeline metrics document stands in `pipeline_metrics.test`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metricsmith.promql.parser import parse
from metricsmith.testing.query_script import read_script

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def document() -> str:
    """The document; it lies beside the repository."""
    found = sorted((HERE.parents[3] / "shared" / "seeds").glob("004_*.txt"))
    if not found:
        pytest.skip("the seed documents are not beside this clone")
    return found[0].read_text(encoding="utf-8")


def test_every_expression_of_the_document_has_a_case(document: str) -> None:
    blocks = re.findall(r"```promql\n(.*?)```", document, re.DOTALL)
    queries = [query for block in blocks for query in block.split("\n\n")]
    alerts = re.findall(r"^expr: \|\n((?:  .*\n)+)", document, re.MULTILINE)
    panels = re.findall(r'"expr": "(.*)"', document)
    assert (len(queries), len(alerts), len(panels)) == (13, 5, 1)
    script = read_script((HERE / "pipeline_metrics.test").read_text(), "pipeline_metrics.test")
    tested = [parse(case.expr) for case in script]
    assert [query for query in (*queries, *alerts, *panels) if parse(query) not in tested] == []
