"""The same templates in a rule file of a real Prometheus, and here: the same texts."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metricsmith.model.labels import decode_labels
from metricsmith.rules.templates import Expander, Sample, Surroundings
from metricsmith.runtime.rule_engine import RuleEngine
from metricsmith.testing import services
from metricsmith.testing.programs import eventually

EXTERNAL_URL = "http://prom.example:9090/mon"
FAILURE = "<error expanding template: "
"""What follows is worded by each in its own way."""
EXTERNAL_LABELS = {"cluster": "north", "zone": "a b"}
VALUES = [
    "1234567.891",
    "0",
    "1",
    "-1",
    "0.0021",
    "-90061.5",
    "NaN",
    "Inf",
    "-Inf",
    "1435065584.128",
    "9e18",
    "123456",
    "1e-7",
    "100000",
    "1048576",
    "59.99",
    "3600",
    "0.5",
    "-0.1234567",
    "86400",
    "12.5e9",
]
LABELS = {
    "instance": "shop-1.example.org:9100",
    "job": "the shop",
    "odd": '<a href="x">\'&ü\t</a>',
    "ip": "10.0.0.1:80",
}

OF_SEVERAL_LINES = ["{{/* c */}}x\n  {{- $value }}\n", "{{ match `a.b` `a\nb` }}"]


def _section(name: str) -> list[str]:
    """Return the templates under a heading of texts.txt, one a line."""
    _, _, after = (Path(__file__).parent / "texts.txt").read_text().partition(f"## {name}\n")
    return after.partition("\n## ")[0].splitlines()


OF_EACH_VALUE, ONCE, FAILING = map(_section, ("of each value", "once", "failing"))


def _verbs(count: int) -> list[str]:
    """Return templates with verbs of printf, flags, widths and precisions put together at random."""
    chance = random.Random(7)
    parts = (
        ["-", "+", "#", " ", "0"],
        ["", "", "7", "12"],
        ["", "", ".", ".0", ".3"],
        list("vdsqxXobOcUtTeEfFgG"),
    )
    values = ["$value", "-1.5", "0.0", "1e21", "42", "-7", "0", "`äb c`", "``", "true", "$labels.job", "$x"]
    texts = []
    for _ in range(count):
        flags = "".join(chance.sample(parts[0], chance.choice([0, 0, 1, 1, 2])))
        verb = "%" + flags + "".join(map(chance.choice, parts[1:]))
        value = chance.choice(values)
        if verb[-1] in "xXb" and value in ("$value", "-1.5", "0.0", "1e21", "$x"):
            continue  # floats to the base of 2 or 16 have no precision here
        texts.append(f"{{{{ $x := query `vector(2)` | first | value }}}}{{{{ printf `{verb}` {value} }}}}")
    return texts


def _replaced(expr: str) -> str:
    for name, value in LABELS.items():
        expr = f"label_replace({expr}, {json.dumps(name)}, {json.dumps(value)}, '', '')"
    return expr


def _alerts() -> dict[str, tuple[float, list[str]]]:
    """Return values and texts by the name of an alert."""
    alerts = {f"Value{index}": (float(text), OF_EACH_VALUE) for index, text in enumerate(VALUES)}
    return alerts | {"Texts": (1234567.891, ONCE + OF_SEVERAL_LINES + _verbs(600)), "Failing": (2.5, FAILING)}


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory, promtool: Path) -> Iterator[dict[str, Any]]:
    """Annotations by the name of the alert, as Prometheus expands them."""
    folder: Path = tmp_path_factory.mktemp("templates")
    rules = [
        {
            "alert": name,
            "expr": _replaced(f"vector({value:+})"),
            "annotations": {f"t{index}": text for index, text in enumerate(texts)},
        }
        for name, (value, texts) in _alerts().items()
    ]
    # A text that does not parse would stop the server, so those are none of these.
    (folder / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    config = {
        "global": {"evaluation_interval": "1s", "external_labels": EXTERNAL_LABELS},
        "rule_files": [str(folder / "rules.yml")],
    }
    flags = (f"--web.external-url={EXTERNAL_URL}", "--web.route-prefix=/")
    with services.prometheus(folder, yaml.safe_dump(config), *flags) as server:
        yield _annotations(server.url, len(rules))


def _annotations(url: str, wanted: int) -> dict[str, Any]:
    def alerts() -> list[Any]:
        with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=30) as answer:
            found: list[Any] = json.load(answer)["data"]["alerts"]
        return found if len(found) == wanted else []

    return {alert["labels"]["alertname"]: alert["annotations"] for alert in eventually(alerts)}


def _query(expr: str, time_ms: int) -> list[Sample]:
    answer = RuleEngine().instant(expr, time_ms)
    return [Sample(decode_labels(k), v) for k, v in zip(answer.keys, answer.values.tolist(), strict=True)]


def _ours(text: str, value: float) -> str:
    return Expander(Surroundings(_query, EXTERNAL_LABELS, EXTERNAL_URL))(text, LABELS, value, 0)


def test_texts_are_those_of_prometheus(theirs: dict[str, Any]) -> None:
    different = []
    for name, (value, texts) in _alerts().items():
        for index, text in enumerate(texts):
            ours, other = _ours(text, value), theirs[name][f"t{index}"]
            failed = ours.startswith(FAILURE) and other.startswith(FAILURE)
            if (not failed) if name == "Failing" else (not failed and ours != other):
                different.append(f"{text}  of {value}\n    ours   {ours!r}\n    theirs {other!r}")
    assert not different, "\n".join(different)
