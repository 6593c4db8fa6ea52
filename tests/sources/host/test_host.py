"""The machine is read as it is: the agreed names, the right figures, and what fails takes nothing with it."""

from __future__ import annotations

import pytest

from metricsmith.model.labels import metric_name
from metricsmith.model.metadata import MetricType
from metricsmith.sources.host.metrics import METADATA
from metricsmith.sources.host.source import HostSource

MEMINFO = "MemTotal: 1000 kB\nMemAvailable: 400 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"
LOAD = ("load_average_1m", "load_average_5m", "load_average_15m")


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("cpu_usage", ["cpu_usage_percent"]),
        ("memory_usage", ["memory_usage_bytes", "memory_usage_percent"]),
        ("disk_usage", ["disk_usage_bytes", "disk_usage_percent"]),
        ("network_io", ["network_rx_bytes", "network_tx_bytes"]),
        ("process_count", ["process_count"]),
    ],
)
def test_a_group_has_its_names_and_load_averages_always_come(context, group, names):
    source = HostSource(HostSource.Config(groups=(group,), devices=()), context)
    source._cpu = {"user": 0.0, "idle": 0.0}  # long ago, so that time has passed
    batch = source.collect(1)
    labels = [context.series.labels(i) for i in batch.layout.ids.tolist()]
    assert [found["__name__"] for found in labels] == [*names, *LOAD]
    assert all(found["service"] == "system" and len(found) == 2 for found in labels)


def test_figures_of_the_whole_machine(host, only):
    groups = ("cpu_usage", "memory_usage", "network_io", "process_count")
    host.read(**only(*groups))
    host.write("stat", "cpu  1060 0 120 8010 60 0 0 0 9 0\n")
    got = host.read()
    assert got == {
        "cpu_usage_percent": pytest.approx(80.0),  # 80 of 100 ticks; waiting for disks is idle
        "memory_usage_bytes": 600 * 1024,
        "memory_usage_percent": 60.0,
        "network_rx_bytes": 100,  # the loopback interface does not count
        "network_tx_bytes": 10,
        "process_count": 2,
        "load_average_1m": 0.5,
        "load_average_5m": 1.25,
        "load_average_15m": 2.0,
    }


def test_the_first_reading_tells_the_usage_since_the_source_was_made(host, only):
    paths = {"proc_path": str(host.proc), "host_root": str(host.root), **only("cpu_usage")}
    host.source = HostSource(HostSource.Config.model_validate(paths), host.context)
    host.write("stat", "cpu  1025 0 100 8075 50 0 0 0 7 0\n")
    assert host.read()["cpu_usage_percent"] == pytest.approx(25.0)
    assert host.read()["cpu_usage_percent"] == "stale", "no time has passed"


def test_disk_usage_is_that_of_the_root_file_system_as_df_has_it(host, only, monkeypatch):
    class Statvfs:
        f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree = 4096, 1000, 400, 300, 50, 20

    asked = []
    monkeypatch.setattr("os.statvfs", lambda path: asked.append(path) or Statvfs)
    got = host.read(**only("disk_usage"))
    assert asked == [str(host.root)], "in a container, the machine's"
    assert got["disk_usage_bytes"] == 600 * 4096
    assert got["disk_usage_percent"] == pytest.approx(100 * 600 / 900)


def test_single_devices_have_names_of_their_own(host, only):
    got = host.read(**only(devices=["cpu", "memory", "network", "disk", "filesystem"]))
    assert got['host_cpu_seconds_total{cpu="0", mode="user"}'] == 10.0
    assert got["host_swap_free_bytes"] == 20 * 1024
    assert got['host_network_receive_bytes_total{device="lo"}'] == 999
    assert got['host_network_transmit_drops_total{device="eth0"}'] == 6
    assert got['host_disk_read_bytes_total{device="sda"}'] == 8 * 512
    assert got['host_disk_busy_seconds_total{device="sda"}'] == 1.5
    sizes = [name for name in got if name.startswith("host_filesystem_size_bytes")]
    assert sizes == [
        'host_filesystem_size_bytes{device="/dev/sda1", fstype="ext4", mountpoint="/"}',
        'host_filesystem_size_bytes{device="/dev/sdb1", fstype="xfs", mountpoint="/data set"}',
    ]
    assert not any("sda1" in name for name in got if "disk" in name), "partitions are left out"


@pytest.mark.parametrize(
    ("settings", "there", "gone"),
    [
        ({"interfaces": {"exclude": "lo"}}, 'device="eth0"', 'device="lo"'),
        ({"interfaces": {"include": "lo"}}, 'device="lo"', 'device="eth0"'),
        ({"disks": {"exclude": "sda"}}, 'device="sda1"', 'device="sda"'),
        ({"cpus": {"include": "1"}}, "host_disk", "host_cpu"),
        ({"mounts": {"include": "/"}}, 'mountpoint="/"', 'mountpoint="/data set"'),
        ({"filesystem_types": {"exclude": "xfs"}}, 'mountpoint="/"', 'mountpoint="/data set"'),
        ({"devices": ["cpu"]}, "host_cpu", "host_network"),
    ],
)
def test_filters_choose_devices_and_leave_the_whole_machine_alone(host, settings, there, gone):
    got = host.read(**settings)
    assert any(there in name for name in got)
    assert not any(gone in name for name in got)
    assert {"network_rx_bytes", "process_count", *LOAD} <= got.keys()


def test_what_goes_gets_a_marker_once_and_the_layout_stays_while_nothing_changes(host, only):
    host.read(**only(devices=["network"]))
    layout = host.source.collect(1).layout
    assert host.source.collect(2).layout is layout
    host.interfaces(lo=(999, 999))
    got = host.read()
    assert got['host_network_receive_bytes_total{device="eth0"}'] == "stale"
    assert got['host_network_receive_bytes_total{device="lo"}'] == 999
    assert not any("eth0" in name for name in host.read())


@pytest.mark.parametrize(
    ("file", "text", "part", "reason", "lost"),
    [
        ("stat", None, "cpu", "unreadable", "host_cpu"),
        ("stat", "nothing\n", "cpu", "malformed", "host_cpu"),
        ("meminfo", "MemTotal: x kB\n", "memory", "malformed", "memory_usage"),
        ("meminfo", "MemTotal: 5 kB\n", "memory", "malformed", "memory_usage"),
        ("meminfo", MEMINFO.replace("1000", "0"), "memory", "malformed", "memory_usage"),
        ("loadavg", "", "load", "malformed", "load_average"),
        ("1/net/dev", None, "network", "unreadable", "network_rx"),
        ("1/net/dev", "\n\n eth0: 1 2\n", "network", "malformed", "network_rx"),
        ("diskstats", "8 0 sda\n", "disk", "malformed", "host_disk"),
        ("1/mounts", None, "mounts", "unreadable", "host_filesystem"),
    ],
)
def test_what_cannot_be_read_is_counted_and_the_rest_is_told(host, file, text, part, reason, lost, caplog):
    whole = host.read()
    if text is None:
        (host.proc / file).unlink()
    else:
        host.write(file, text)
    got = {name: value for name, value in host.read().items() if value != "stale"}
    assert host.failures(part, reason) == 1
    assert not any(name.startswith(lost) for name in got)
    expected = {name for name in whole if not name.startswith(lost.partition("_")[0])}
    assert {n for n in expected if "host" not in n and "cpu" not in n} <= got.keys()
    assert part in caplog.text


def test_everything_that_comes_is_declared(host):
    host.read()
    batch = host.source.collect(1)
    names = {metric_name(host.context.series.key(i)) for i in batch.layout.ids.tolist()}
    assert names <= METADATA.keys() and batch.layout.metadata is METADATA
    assert len(names) > 30
    for name, about in METADATA.items():
        assert about.help and about.type in (MetricType.GAUGE, MetricType.COUNTER)
        assert not name.startswith("host_") or name.endswith("_total") is (about.type == MetricType.COUNTER)


def test_labels_tell_machines_apart(host):
    got = host.read(labels={"host": "edge-7"}, devices=[])
    assert 'process_count{host="edge-7"}' in got


@pytest.mark.parametrize("labels", [{"service": "x"}, {"__name__": "x"}, {"a-b": "x"}])
def test_labels_that_mean_something_else_are_refused(labels):
    with pytest.raises(ValueError, match="wanted a name such as environment"):
        HostSource.Config.model_validate({"labels": labels})
