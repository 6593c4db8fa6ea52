"""Figures are those of the node exporter and of psutil, read at the same time on the same machine."""

from __future__ import annotations

import sys
import urllib.request

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from metricsmith.model.labels import decode_labels
from metricsmith.sources.host.portable import Portable
from metricsmith.sources.host.procfs import Procfs
from metricsmith.sources.host.source import HostSource

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the node exporter's names are Linux's"
)

# Ours → the node exporter's. Counters are compared with readings before and after.
GAUGES = {
    "host_memory_total_bytes": "node_memory_MemTotal_bytes",
    "host_swap_total_bytes": "node_memory_SwapTotal_bytes",
    "host_filesystem_size_bytes": "node_filesystem_size_bytes",
    "host_filesystem_files": "node_filesystem_files",
}
COUNTERS = {
    "host_cpu_seconds_total": "node_cpu_seconds_total",
    "host_network_receive_bytes_total": "node_network_receive_bytes_total",
    "host_network_transmit_bytes_total": "node_network_transmit_bytes_total",
    "host_network_receive_packets_total": "node_network_receive_packets_total",
    "host_network_receive_drops_total": "node_network_receive_drop_total",
    "host_network_transmit_errors_total": "node_network_transmit_errs_total",
    "host_disk_read_bytes_total": "node_disk_read_bytes_total",
    "host_disk_written_bytes_total": "node_disk_written_bytes_total",
    "host_disk_reads_total": "node_disk_reads_completed_total",
    "host_disk_busy_seconds_total": "node_disk_io_time_seconds_total",
}
LABELS = ("cpu", "mode", "device", "mountpoint", "fstype")


def ours(source, context):
    batch = source.collect(1)
    found = {}
    for series, value in zip(batch.layout.ids.tolist(), batch.value.tolist(), strict=True):
        labels = decode_labels(context.series.key(series))
        about = tuple((n, labels[n]) for n in LABELS if n in labels)
        found[labels["__name__"], about] = value
    return found


def theirs(url):
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        page = answer.read().decode()
    return {
        (s.name, tuple((n, s.labels[n]) for n in LABELS if n in s.labels)): s.value
        for family in text_string_to_metric_families(page)
        for s in family.samples
    }


def test_figures_are_those_of_the_node_exporter(context, node_exporter):
    source = HostSource(HostSource.Config(), context)
    before = ours(source, context)
    exporter = theirs(node_exporter.url)
    after = ours(source, context)
    compared = set()
    for (name, labels), value in before.items():
        other = exporter.get((GAUGES.get(name) or COUNTERS.get(name, ""), labels))
        if other is None or (name, labels) not in after:
            continue
        compared.add(name)
        if name in GAUGES:
            assert value == other, (name, labels)
        else:
            assert value <= other * (1 + 1e-12) and other <= after[name, labels] * (1 + 1e-12), (name, labels)
    assert compared >= {
        "host_memory_total_bytes",
        "host_cpu_seconds_total",
        "host_network_receive_bytes_total",
    }
    load = [exporter[f"node_load{minutes}", ()] for minutes in (1, 5, 15)]
    bounds = [sorted(r[f"load_average_{m}m", ()] for r in (before, after)) for m in (1, 5, 15)]
    assert all(low - 0.5 <= value <= high + 0.5 for value, (low, high) in zip(load, bounds, strict=True))


def test_linux_is_read_as_psutil_reads_it():
    machine, other = Procfs("/proc", "/"), Portable()
    first, between, last = machine.cpus(), other.cpus(), machine.cpus()
    for mode, seconds in first.total.items():
        if mode != "iowait":  # the kernel lets it fall
            assert seconds <= between.total[mode] + 0.011 and between.total[mode] <= last.total[mode] + 0.011
    assert first.each.keys() == between.each.keys()
    assert machine.memory().total == other.memory().total
    assert machine.memory().available == pytest.approx(other.memory().available, rel=0.2)
    assert abs(machine.processes() - len(psutil.pids())) < 100
    traffic, others = machine.interfaces(), other.interfaces()
    assert traffic.keys() == others.keys()
    assert all(traffic[name].rx_bytes <= others[name].rx_bytes for name in traffic)
    disks = other.disks()
    assert disks.keys() <= machine.disks().keys()
    assert all(machine.disks()[name].read_bytes >= disks[name].read_bytes for name in disks)
    points = {mount.point: mount.type for mount in machine.mounts()}
    assert all(points.get(m.point) == m.type for m in other.mounts() if m.point == "/")
