"""`metricsmith ohi`: collectors as integrations, read back by our own exec source."""

from __future__ import annotations

import asyncio
import json
import sys
import textwrap
import time
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from metricsmith.contracts import Context
from metricsmith.model.clock import SystemClock
from metricsmith.model.labels import format_labels
from metricsmith.model.series import SeriesTable
from metricsmith.model.telemetry import Telemetry
from metricsmith.sources.exec.source import ExecSource
from metricsmith.testing import kafka as real

TEXT = """
    from metricsmith.collector import collector, counter, gauge
    from prometheus_client.core import HistogramMetricFamily

    @collector()
    def queues():
        print("not on stdout")
        for queue, depth in (("mail", 3), ("sms", 4)):
            yield gauge("queue_depth", depth, {"queue": queue})
            yield counter("queue_sent_total", depth * 10, {"queue": queue})
        yield HistogramMetricFamily("wait_seconds", "", buckets=[("0.5", 1), ("+Inf", 3)], sum_value=2.5)
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(textwrap.dedent(TEXT))
    return str(path)


async def through_exec(command: list[str], env: dict[str, str] | None = None) -> dict[str, float]:
    """Return the series that our exec source makes of one run of a command."""
    clock = SystemClock()
    context = Context("ours", SeriesTable(), Telemetry(clock), clock)
    found: dict[str, float] = {}
    reported, stop = asyncio.Event(), asyncio.Event()

    async def emit(batch):
        for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True):
            found[format_labels(context.series.labels(series))] = value
        if any(name.startswith("integration_up") for name in found):
            reported.set()

    entry = {"name": "ours", "exec": command, "interval": "0", "env": env or {}}
    source = ExecSource(ExecSource.Config.model_validate({"integrations": [entry]}), context)
    # The first run of this name begins at once but for some seconds; the spread is of no interest here.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metricsmith.sources.exec.runner.FIRST_WITHIN_MS", 1)
        task = asyncio.create_task(source.run(emit, stop))
        await asyncio.wait_for(reported.wait(), 60)
    stop.set()
    await asyncio.wait_for(task, 20)
    return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "metricsmith", "ohi", *arguments]


def test_samples_of_version_3(here, mine):
    done = here("ohi", mine, "--entity", "shop:north")
    document = json.loads(done.stdout)
    (data,) = document["data"]
    assert (document["name"], document["protocol_version"]) == ("com.metricsmith.mine", "3")
    assert data["entity"] == {"name": "north", "type": "shop"}
    assert data["metrics"][:2] == [
        {"event_type": "MineQueuesSample", "queue": "mail", "queue_depth": 3, "queue_sent_total": 30},
        {"event_type": "MineQueuesSample", "queue": "sms", "queue_depth": 4, "queue_sent_total": 40},
    ]
    assert "not on stdout" in done.stderr


def test_metrics_of_version_4_keep_their_types(here, mine):
    done = here("ohi", mine, "--protocol", "4", "--name", "com.acme.q", "--integration-version", "2.1.0")
    document = json.loads(done.stdout)
    assert document["integration"] == {"name": "com.acme.q", "version": "2.1.0"}
    metrics = {(m["name"], m["attributes"].get("queue")): m for m in document["data"][0]["metrics"]}
    assert metrics["queue_depth", "mail"]["type"] == "gauge"
    assert metrics["queue_sent_total", "sms"]["type"] == "cumulative-count"
    histogram = metrics["wait_seconds", None]
    assert (histogram["type"], histogram["value"]["sample_count"]) == ("prometheus-histogram", 3)
    assert histogram["value"]["buckets"] == [{"upper_bound": 0.5, "cumulative_count": 1}]


async def test_version_4_comes_back_through_the_exec_source_as_it_was(mine):
    found = await through_exec(command(mine, "--protocol", "4"))
    assert found['integration_up{integration="ours"}'] == 1
    assert found['queue_depth{integration="ours", queue="mail"}'] == 3
    assert found['queue_sent_total{integration="ours", queue="sms"}'] == 40
    assert found['wait_seconds_bucket{integration="ours", le="0.5"}'] == 1
    assert found['wait_seconds_bucket{integration="ours", le="+Inf"}'] == 3
    assert found['wait_seconds_sum{integration="ours"}'] == 2.5


async def test_version_3_comes_back_through_the_exec_source(mine):
    found = await through_exec(command(mine))
    assert found['mine_queues_queue_depth{integration="ours", queue="sms"}'] == 4


def test_a_collector_that_fails_is_told_and_the_command_ends_with_1(here, mine, tmp_path):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(TEXT) + "\n@collector()\ndef fails(): raise ValueError('no')\n"
    )
    done = here("ohi", mine)
    assert done.returncode == 1 and "mine.fails: " in done.stderr and "ValueError: no" in done.stderr
    assert len(json.loads(done.stdout)["data"][0]["metrics"]) == 5


@pytest.mark.parametrize(
    ("arguments", "environment", "told", "code"),
    [
        (["kafka-tombstone"], {}, "kafka-tombstones", 2),
        (["kafka-tombstones"], {"SAMPLE_SIZE": "many"}, "SAMPLE_SIZE", 2),
        (["kafka-tombstones", "--protocol", "2"], {}, "--protocol", 2),
        (["mine.py", "--entity", "north"], {}, "TYPE:NAME", 2),
        (["nothing.py"], {}, "cannot be read", 1),
    ],
)
def test_what_cannot_be_meant_is_refused(here, arguments, environment, told, code):
    done = here("ohi", *arguments, **environment)
    assert (done.returncode, done.stdout) == (code, "") and told in done.stderr


TOPIC, EMPTY = "ohi-users", "ohi-empty"


@pytest.fixture(scope="module")
def topics(kafka: real.Cluster):
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap())
    admin.create_topics({name: {"num_partitions": 2, "replication_factor": 1} for name in (TOPIC, EMPTY)})
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap())
    for number in range(40):
        value = None if number % 4 == 0 else b"" if number % 4 == 1 else b"v"
        producer.send(TOPIC, key=b"k%d" % number, value=value, partition=number % 2)
    producer.flush()
    producer.close()
    yield kafka
    admin.delete_topics([TOPIC, EMPTY])
    admin.close()


def environment(cluster: real.Cluster) -> dict[str, str]:
    return {"BOOTSTRAP_SERVERS": f"127.0.0.1:1,{cluster.bootstrap()}", "SAMPLE_SIZE": "1000"}


def test_tombstones_have_the_names_that_dashboards_expect(here, topics, kafka):
    began_s = int(time.time())
    done = here("ohi", "kafka-tombstones", **environment(kafka))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (data,) = document["data"]
    assert (document["name"], document["integration_version"], document["protocol_version"]) == (
        "com.custom.kafka.tombstone", "1.0.0", "3"
    )  # fmt: skip
    assert data["entity"] == {"name": "kafka-tombstone-monitor", "type": "tombstone-monitor"}
    samples = {sample["topic.name"]: sample for sample in data["metrics"]}
    checked = samples[TOPIC].pop("topic.tombstoneCheckTime")
    assert isinstance(checked, str) and began_s <= int(checked) <= time.time()
    assert samples[TOPIC] == {
        "event_type": "KafkaTopicTombstoneSample", "topic.name": TOPIC, "topic.totalMessages": 40,
        "topic.tombstoneMessages": 10, "topic.tombstoneRatio": 25,
    }  # fmt: skip
    assert samples[EMPTY]["topic.totalMessages"] == 0


async def test_tombstones_come_back_through_the_exec_source(topics, kafka):
    found = await through_exec(command("kafka-tombstones"), environment(kafka))
    labels = ", ".join([
        'entity_name="kafka-tombstone-monitor"', 'entity_type="tombstone-monitor"', 'integration="ours"',
        f'topic_name="{TOPIC}"',
    ])  # fmt: skip
    assert found['integration_up{integration="ours"}'] == 1
    assert found[f"kafka_topic_tombstone_topic_tombstone_ratio{{{labels}}}"] == 25
    assert found[f"kafka_topic_tombstone_topic_total_messages{{{labels}}}"] == 40
