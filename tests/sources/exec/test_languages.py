"""Real executables of three kinds are read: a shell script, a Python program, a compiled one."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

TOMBSTONES = """#!/bin/sh
echo "looking at $BOOTSTRAP_SERVERS, $SAMPLE_SIZE records" >&2
cat <<'END'
{"name":"com.custom.kafka.tombstone","protocol_version":"3","integration_version":"1.0.0","data":[{\
"entity":{"name":"kafka-tombstone-monitor","type":"tombstone-monitor","id_attributes":[]},\
"metrics":[{"event_type":"KafkaTopicTombstoneSample","topic.name":"orders","topic.totalMessages":400,\
"topic.tombstoneMessages":100,"topic.tombstoneRatio":25,"topic.tombstoneCheckTime":"1700000000"}],\
"inventory":{},"events":[]}]}
END
"""
PYTHON = f"""#!{sys.executable}
import json, os
attributes = {{"zone": "a", "labelled": os.environ["WHAT"]}}
print(json.dumps({{"protocol_version": "4", "integration": {{"name": "py", "version": "1"}}, "data": [{{
    "common": {{"attributes": attributes}}, "entity": {{"name": "shop", "type": "service"}},
    "metrics": [
        {{"name": "orders", "type": "count", "value": 3}},
        {{"name": "system.heat", "type": "gauge", "value": 1.5}},
    ]}}]}}))
"""
C = r"""
#include <stdio.h>
int main(void) {
    puts("{\"name\":\"c\",\"protocol_version\":1,\"integration_version\":\"1\","
         "\"metrics\":[{\"event_type\":\"DiskSample\",\"diskUsed\":12.25,\"up\":true}],"
         "\"inventory\":{\"fs\":{\"type\":\"ext4\"}},\"events\":[]}");
    return 0;
}
"""


async def test_a_shell_script_from_the_agents_own_file(execute, script, tmp_path, caplog):
    path = script(TOMBSTONES, "tombstone-monitor")
    (tmp_path / "tombstone-config.yml").write_text(f"""\
integrations:
  - name: tombstone-monitor
    exec: {path}
    env:
      BOOTSTRAP_SERVERS: "localhost:9092"
      SAMPLE_SIZE: "1000"
    interval: 300s
""")
    caplog.set_level("INFO")
    async with execute(config={"files": str(tmp_path / "*.yml")}) as source:
        got = await source.first()
    labels = (
        '{entity_name="kafka-tombstone-monitor", entity_type="tombstone-monitor",'
        ' integration="tombstone-monitor", topic_name="orders"}'
    )
    prefix = "kafka_topic_tombstone_topic"
    assert got.pop('integration_run_duration_seconds{integration="tombstone-monitor"}') >= 0
    assert got == {
        f"{prefix}_total_messages{labels}": 400,
        f"{prefix}_tombstone_messages{labels}": 100,
        f"{prefix}_tombstone_ratio{labels}": 25,
        f"{prefix}_tombstone_check_time{labels}": 1_700_000_000,
        'integration_up{integration="tombstone-monitor"}': 1,
        'integration_samples{integration="tombstone-monitor"}': 4,
    }
    assert "tombstone-monitor: looking at localhost:9092, 1000 records" in caplog.text


async def test_a_python_program_counts_on_over_its_runs(execute, script):
    path = script(PYTHON)
    series = 'entity_name="shop", entity_type="service", integration="test", labelled="x", zone="a"}'
    async with execute([path], env={"what": "x"}, interval="15s") as source:
        first = await source.first()
        await source.advance(15)
        second = await source.reading()
    assert first[f"orders_total{{{series}"] == 3
    assert first[f"system_heat{{{series}"] == 1.5
    assert second[f"orders_total{{{series}"] == 6, "a count tells of one interval: they are added up"


@pytest.fixture
def compiled(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine")
    (tmp_path / "main.c").write_text(C)
    subprocess.run([compiler, "main.c", "-o", "disk"], cwd=tmp_path, check=True, capture_output=True)
    return str(tmp_path / "disk")


async def test_a_compiled_program(execute, compiled):
    async with execute(compiled, inventory_source="config/disk", tags={"env": "test"}) as source:
        got = await source.first()
    assert got['disk_disk_used{integration="test", tags_env="test"}'] == 12.25
    assert got['disk_up{integration="test", tags_env="test"}'] == 1
    assert got[
        'integration_inventory_info{integration="test", inventory_source="config/disk", item="fs",'
        ' tags_env="test", type="ext4"}'
    ] == 1  # fmt: skip
