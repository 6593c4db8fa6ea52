"""What the system allows this process: files, memory, CPU, processes, and as whom it runs."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from metricsmith.config.load import Configuration
from metricsmith.model.findings import Findings
from metricsmith.model.settings_types import format_size
from metricsmith.runtime.doctor.agent import data_folder
from metricsmith.sdk.runtime_metrics.memory import cgroup_limit
from metricsmith.store.settings import EmbeddedConfig

CGROUP, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
BASE_FILES, FILES_PER_TARGET, FILES_PER_BLOCK = 256, 2, 2
BASE_BYTES = 150 << 20
"""Of an agent that holds next to nothing."""
SAMPLE_BYTES = 16
LEAST_CPUS = 0.5
LEAST_PROCESSES = 100
Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Allowed:
    """What control groups allow this process; None where they do not limit it."""

    bytes: int | None = None
    cpus: float | None = None
    processes: int | None = None
    """Besides those that there are."""


def examine_limits(configuration: Configuration, others: Sequence[Findings], findings: Findings) -> None:
    """Tell of limits. Reads files: call it in a thread."""
    _user(findings)
    _files(configuration, sum(other.targets for other in others), findings)
    allowed = cgroup_limits()
    _memory(configuration, allowed.bytes, findings)
    _cpu(allowed.cpus, findings)
    _processes(allowed.processes, findings)


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


def _memory(configuration: Configuration, allowed: int | None, findings: Findings) -> None:
    whole = psutil.virtual_memory().total
    limit = whole if allowed is None else min(allowed, whole)
    whose = "this container" if limit < whole else "this machine"
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


def _cpu(allowed: float | None, findings: Findings) -> None:
    machine = os.cpu_count() or 1
    cpus = machine if allowed is None else allowed
    if cpus < LEAST_CPUS:
        wanted, hint = f"{LEAST_CPUS:g} at least", "scrapes and queries are late when the quota is used up"
        findings.warning("CPU", f"{cpus:g} by quota", wanted, hint)
    else:
        findings.ok("CPU", f"{cpus:g}" + (f" of {machine} by quota" if cpus < machine else ""))


def _processes(left: int | None, findings: Findings) -> None:
    if left is None:
        return
    if left < LEAST_PROCESSES:
        hint = "threads count, too: raise the pid limit of the container"
        findings.warning("processes", f"{left} more are allowed", f"{LEAST_PROCESSES} at least", hint)
    else:
        findings.ok("processes", f"{left} more are allowed")


def cgroup_limits(root: Path = CGROUP, own: Path = OWN_GROUPS) -> Allowed:
    """Return what our control group and those around it allow: the kernel holds us to each of them."""
    groups = _groups(root, own)
    cpus = (_cpus(_text(folder / "cpu.max")) for folder in groups)
    processes = (_left(_text(folder / "pids.max"), _text(folder / "pids.current")) for folder in groups)
    quota, period = _text(root / "cpu" / "cpu.cfs_quota_us"), _text(root / "cpu" / "cpu.cfs_period_us")
    return Allowed(cgroup_limit(own, root), _least([*cpus, _cpus(f"{quota} {period}")]), _least([*processes]))


def _least(limits: list[Number | None]) -> Number | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _cpus(text: str | None) -> float | None:
    """Return the processors of a quota such as `20000 100000`, in time and period."""
    quota, _, period = (text or "").partition(" ")
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _left(most: str | None, now: str | None) -> int | None:
    """Return how many more processes a group has room for."""
    return int(most) - int(now) if most and now and most.isdigit() and now.isdigit() else None


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
