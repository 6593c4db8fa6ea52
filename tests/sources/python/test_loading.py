"""What is a collector in a file or module, and what is told of one that cannot be used."""

from __future__ import annotations

import sys

import pytest
from prometheus_client import REGISTRY

from metricsmith.sources.python.load import LoadError, load_file, load_module

EXPORTER = """
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, REGISTRY
    from prometheus_client.registry import Collector

    class CustomCollector(Collector):
        made = 0
        def __init__(self):
            CustomCollector.made += 1
        def collect(self):
            yield GaugeMetricFamily("my_gauge", "Help text", value=7)
"""


def names(path):
    return [unit.name for unit in load_file(str(path))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from metricsmith.collector import collector\n@collector()\ndef a(): ...\ndef b(): ...", ["mine.a"]),
        ("from metricsmith.collector import collector\n@collector(name='q')\nasync def a(): ...", ["q"]),
        (EXPORTER, ["mine.CustomCollector"]),
        (EXPORTER + "\n    REGISTRY.register(CustomCollector())", ["mine.CustomCollector"]),
        (EXPORTER + "\n    one = CustomCollector()", ["mine.one"]),
        (EXPORTER + "\n    COLLECTORS = [CustomCollector(), CustomCollector]",
         ["mine.CustomCollector", "mine.CustomCollector2"]),
        (EXPORTER + "\n    from prometheus_client import CollectorRegistry\n    mine = CollectorRegistry()\n"
         "    mine.register(CustomCollector())", ["mine.mine"]),
        ("from prometheus_client import Counter, Gauge\na = Counter('a', '')\nb = Gauge('b', '')",
         ["mine.metrics"]),
        ("class _Base:\n    def collect(self): ...\nclass A(_Base): ...", ["mine.A"]),
        ("from prometheus_client import *\nclass A:\n    def collect(self): ...", ["mine.A"]),
        ("class B:\n    def collect(self): ...\nclass A(B): ...", ["mine.A"]),
        ("class A:\n    def collect(self): ...\nclass B:\n    def __init__(self, port): ...\n"
         "    def collect(self): ...", ["mine.A"]),
        ("class A:\n    def __init__(self, port=1): ...\n    def collect(self): ...", ["mine.A"]),
    ],
)  # fmt: skip
def test_what_is_a_collector(write, text, found):
    assert names(write(text)) == found


def test_a_class_is_made_once_and_described_once(write):
    path = write("""
        from prometheus_client.core import GaugeMetricFamily, CounterMetricFamily
        calls = []
        class A:
            def __init__(self): calls.append("made")
            def describe(self):
                calls.append("described")
                return [GaugeMetricFamily("a_bytes", "Help"), CounterMetricFamily("b", "Help")]
            def collect(self): calls.append("collected")
    """)
    (unit,) = load_file(str(path))
    assert set(unit.described) == {"a_bytes", "b_total"}
    assert unit.call.__globals__["calls"] == ["made", "described"], "names are known without collecting"


def test_nothing_gets_into_the_registry_of_the_process(write):
    more = "from prometheus_client import Counter\n    c = Counter('mine_too', '')"
    path = write(f"{EXPORTER}\n    REGISTRY.register(CustomCollector())\n    {more}")
    before = list(REGISTRY._collector_to_names)
    for _ in range(2):
        assert names(path) == ["mine.metrics", "mine.CustomCollector"]
    assert list(REGISTRY._collector_to_names) == before
    assert "register" not in vars(REGISTRY)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("x = 1\ndef broken(:\n", 2, "invalid syntax"),
        ("x = 1\n\ny = x.nothing\n", 3, "AttributeError"),
        ("import no_such_module_anywhere\n", 1, "ModuleNotFoundError"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit"),
        ("from metricsmith.collector import collector\n@collector(interval='10')\ndef a(): ...", 2, "wanted"),
        ("from metricsmith.collector import collector\n@collector(timeout='0s')\ndef a(): ...", 2, "above 0"),
        ("class A:\n  def describe(self):\n    return 1 / 0\n  def collect(self): ...\n", 3, "ZeroDivision"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_file_and_line(write, text, line, told):
    path = write(text)
    with pytest.raises(LoadError, match=told) as error:
        load_file(str(path))
    assert str(error.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1", "no collector"),
        ("class A:\n    def __init__(self, port): ...\n    def collect(self): ...", "needs port"),
        ("class A:\n    interval = 'often'\n    def collect(self): ...", "A.interval"),
        ("COLLECTORS = [3]", "wanted a function"),
        ("COLLECTORS = []", "no collector"),
    ],
)
def test_a_file_without_a_collector_that_can_run_is_told(write, text, told):
    with pytest.raises(LoadError, match=told):
        load_file(str(write(text)))


def test_what_cannot_be_read_is_told(tmp_path):
    (tmp_path / "large.py").write_bytes(b"#" * (5 << 20))
    for path, told in ((tmp_path, "cannot be read"), (tmp_path / "none.py", "cannot be read"),
                       (tmp_path / "large.py", "bytes")):  # fmt: skip
        with pytest.raises(LoadError, match=told):
            load_file(str(path))


def test_modules_and_things_in_them(write, monkeypatch):
    path = write("""
        class Shop:
            def __init__(self): self.orders = 5
            def collect(self): return {"orders": self.orders}
        class Holder:
            shop = Shop()
        def plain(): return 1
    """, "installed_collectors.py")  # fmt: skip
    monkeypatch.syspath_prepend(str(path.parent))
    try:
        for text, found in [
            ("installed_collectors", "installed_collectors.Shop"),
            ("installed_collectors:Shop", "installed_collectors.Shop"),
            ("installed_collectors:Holder.shop", "installed_collectors.Shop"),
            ("installed_collectors:plain", "installed_collectors.plain"),
        ]:
            assert [unit.name for unit in load_module(text)] == [found]
        for text in (
            "installed_collectors:Nothing",
            "no_such_package.anywhere",
            "installed_collectors:Shop.x",
        ):
            with pytest.raises(LoadError, match=r"installed_collectors|no_such_package"):
                load_module(text)
    finally:
        sys.modules.pop("installed_collectors", None)


def test_entry_points_of_installed_packages(tmp_path, monkeypatch):
    from metricsmith.sources.python.load import load_entry_point, offered

    (tmp_path / "acme_metrics.py").write_text("def orders(): return 3\n")
    info = tmp_path / "acme_metrics-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-metrics\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metricsmith.collectors]\nacme = acme_metrics:orders\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        (point,) = [p for p in offered() if p.name == "acme"]
        assert [unit.name for unit in load_entry_point(point)] == ["acme.orders"]
    finally:
        sys.modules.pop("acme_metrics", None)
