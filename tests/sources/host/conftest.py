"""A machine made of files, and the source that reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from metricsmith.model.labels import format_labels
from metricsmith.sources.host.source import HostSource

STAT = "cpu  {user} 0 100 {idle} 50 0 0 0 7 0\ncpu0 {user} 0 50 {idle} 25 0 0 0 7 0\nintr 1 2\nctxt 5\n"
MEMINFO = "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 400 kB\nSwapTotal: 80 kB\nSwapFree: 20 kB\n"
NET_HEAD = "Inter-| Receive | Transmit\n face |bytes packets errs\n"
MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
proc /proc proc rw 0 0
/dev/sdb1 /data\040set xfs rw 0 0
tmpfs /dev/shm tmpfs rw 0 0
"""
DISKSTATS = "8 0 sda 10 0 8 0 20 0 16 0 0 1500 0\n8 1 sda1 1 0 1 0 1 0 1 0 0 1 0\n"


class Host:
    """A fake /proc and /, and a source that reads them."""

    def __init__(self, folder: Path, context: Any) -> None:
        self.folder, self.context = folder, context
        self.proc, self.root = folder / "proc", folder / "root"
        (self.root / "data set").mkdir(parents=True)
        self.write("stat", STAT.format(user=1000, idle=8000))
        self.write("meminfo", MEMINFO)
        self.write("loadavg", "0.50 1.25 2.00 1/100 4711\n")
        self.write("diskstats", DISKSTATS)
        self.write("1/mounts", MOUNTS)
        self.write("42/stat", "")
        self.interfaces(lo=(999, 999), eth0=(100, 10))
        self.source: HostSource | None = None

    def write(self, name: str, text: str) -> None:
        path = self.proc / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def interfaces(self, **counters: tuple[int, int]) -> None:
        lines = [f"  {n}: {rx} 3 1 2 0 0 0 0 {tx} 4 5 6 0 0 0 0\n" for n, (rx, tx) in counters.items()]
        self.write("1/net/dev", NET_HEAD + "".join(lines))

    def read(self, **settings: Any) -> Mapping[str, Any]:
        """Read the machine; settings make the source anew."""
        if self.source is None or settings:
            paths = {"proc_path": str(self.proc), "host_root": str(self.root)}
            config = HostSource.Config.model_validate({**paths, **settings})
            self.source = HostSource(config, self.context)
        batch = self.source.collect(1_700_000_000_000)
        values = zip(batch.layout.ids.tolist(), batch.value.tolist(), batch.stales().tolist(), strict=True)
        found = {self._text(i): "stale" if stale else value for i, value, stale in values}
        assert len(found) == len(batch)
        return found

    def _text(self, series: int) -> str:
        labels = self.context.series.labels(series)
        assert labels.pop("service") == "system"
        return format_labels(labels)

    def failures(self, part: str, reason: str) -> float:
        labels = {"source": self.context.name, "part": part, "reason": reason}
        return float(self.context.telemetry.value("metricsmith_host_failures_total", **labels))


@pytest.fixture
def host(tmp_path: Path, context: Any) -> Host:
    return Host(tmp_path, context)


@pytest.fixture
def only() -> Callable[..., dict[str, Any]]:
    """Settings for some groups and devices and nothing else."""
    return lambda *groups, devices=(): {"groups": list(groups), "devices": list(devices)}
