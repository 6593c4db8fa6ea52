"""What the system allows this process: files, memory, CPU, processes, and as whom it runs."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from pathlib import Path

import psutil

from metricsmith.config.load import Configuration
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import format_size
from metricsmith.runtime.doctor.agent import data_folder
from metricsmith.store.settings import EmbeddedConfig

CGROUP = Path("/sys/fs/cgroup")
BASE_FILES, FILES_PER_TARGET, FILES_PER_BLOCK = 256, 2, 2
BASE_BYTES = 150 << 20
"""Of an agent that holds next to nothing."""
SAMPLE_BYTES = 16
LEAST_CPUS = 0.5
LEAST_PIDS = 100
_UNLIMITED_V1 = 1 << 60


def examine_limits(configuration: Configuration, others: Sequence[Findings], findings: Findings) -> None:
    """Tell of limits. Reads files: call it in a thread."""
    _user(findings)
    _files(configuration, sum(other.targets for other in others), findings)
    limits = cgroup_limits()
    _memory(configuration, limits.get("memory.max"), findings)
    _cpu(limits.get("cpu.max"), findings)
    _pids(limits.get("pids.max"), limits.get("pids.current"), findings)


def _user(findings: Findings) -> None:
    if os.geteuid():
        findings.ok("user", f"user {os.geteuid()}, not root")
    else:
        hint = (
            "Python collectors and programs that it runs would be root, too; deploy/ has a unit with its own"
        )
        findings.warning("user", "root", "a user of its own", hint)


def _files(configuration: Configuration, targets: int, findings: Findings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    blocks = _entries(data_folder(configuration) / "blocks")
    need = BASE_FILES + FILES_PER_TARGET * targets + FILES_PER_BLOCK * blocks
    got, wanted = f"{soft} (hard limit {hard})", f"{need} for {targets} targets and {blocks} blocks"
    if soft != resource.RLIM_INFINITY and soft < need:
        findings.problem(
            "ulimit -n", got, wanted, "raise it: LimitNOFILE= in systemd, `ulimit -n` in a shell"
        )
    else:
        findings.ok("ulimit -n", f"{got}; needed: {wanted}")


def _entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))  # noqa: PTH208 - only their number
    except OSError:  # not there yet, or another user's, which is told with the disk
        return 0


def _memory(configuration: Configuration, text: str | None, findings: Findings) -> None:
    whole = psutil.virtual_memory().total
    limit = int(text) if text is not None and text.isdigit() and int(text) < _UNLIMITED_V1 else whole
    limit, whose = min(limit, whole), "this container" if limit < whole else "this machine"
    store, query = configuration.store.config, configuration.settings.query
    need = BASE_BYTES
    if isinstance(store, EmbeddedConfig):
        need += store.head_bytes + store.cache_bytes
    got = f"{format_size(limit)} of {whose}"
    wanted = f"{format_size(need)} for the agent, storage.head_bytes and storage.cache_bytes"
    if need > limit:
        hint = "lower storage.cache_bytes and storage.head_bytes, or allow more"
        findings.problem("memory", got, wanted, hint)
        return
    largest = query.max_samples * SAMPLE_BYTES
    if need + largest > limit:
        fits = max(1, (limit - need) // SAMPLE_BYTES)
        told = f"{wanted}, and {format_size(largest)} for the largest query"
        hint = f"set query.max_samples to {fits} or less, or the kernel ends the agent at a large query"
        findings.warning("memory", got, told, hint)
    else:
        findings.ok("memory", f"{got}; needed: {wanted}")


def _cpu(text: str | None, findings: Findings) -> None:
    quota, _, period = (text or "max").partition(" ")
    machine = os.cpu_count() or 1
    cpus = int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else machine
    if cpus < LEAST_CPUS:
        wanted, hint = f"{LEAST_CPUS:g} at least", "scrapes and queries are late when the quota is used up"
        findings.warning("CPU", f"{cpus:g} by quota", wanted, hint)
    else:
        findings.ok("CPU", f"{cpus:g}" + (f" of {machine} by quota" if cpus < machine else ""))


def _pids(text: str | None, now: str | None, findings: Findings) -> None:
    if text is None or now is None or not (text.isdigit() and now.isdigit()):
        return
    left = int(text) - int(now)
    if left < LEAST_PIDS:
        hint = "threads count, too: raise the pid limit of the container"
        findings.warning("processes", f"{left} more are allowed", f"{LEAST_PIDS} at least", hint)
    else:
        findings.ok("processes", f"{left} more are allowed")


def cgroup_limits(root: Path = CGROUP, own: Path = Path("/proc/self/cgroup")) -> dict[str, str]:
    """Return the texts of the files of limits in our control group, under their names of version 2.

    Of a group and those around it, the nearest that is limited counts: the
    container's own is the root of what it sees.
    """
    names = ("memory.max", "cpu.max", "pids.max", "pids.current")
    found: dict[str, str] = {}
    for folder in _groups(root, own):
        for name in names:
            text = _text(folder / name)
            if text is not None and not text.startswith("max"):
                found.setdefault(name, text)
    old = _text(root / "memory" / "memory.limit_in_bytes")
    if old is not None:
        found.setdefault("memory.max", old)
    quota, period = _text(root / "cpu" / "cpu.cfs_quota_us"), _text(root / "cpu" / "cpu.cfs_period_us")
    if quota is not None and period is not None and quota.isdigit():
        found.setdefault("cpu.max", f"{quota} {period}")
    return found


def _groups(root: Path, own: Path) -> list[Path]:
    text = _text(own) or ""
    path = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "/")
    folder = root / path.strip("/")
    return [folder, *(f for f in folder.parents if f.is_relative_to(root))]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
