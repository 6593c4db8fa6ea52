"""The host source before it runs: the machine is read once."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from metricsmith.contracts import Context
from metricsmith.model.findings import Findings
from metricsmith.model.overheard import Overheard
from metricsmith.net.threads import in_thread
from metricsmith.sources.host.settings import HostConfig

_MARKS_OF_CONTAINERS = ("/.dockerenv", "/run/.containerenv", "/var/run/secrets/kubernetes.io")


async def examine(config: HostConfig, context: Context, findings: Findings) -> None:
    """Tell what can be read, and of which machine."""
    from metricsmith.sources.host.source import HostSource

    heard = Overheard()
    own = replace(context, telemetry=heard)
    batch = await in_thread(context.name, lambda: HostSource(config, own).collect(context.clock.now_ms()))
    for message in heard.heard:
        hint = "run as a user that may, or leave the group or device out"
        findings.warning("reading", message, "the machine's values", hint)
    findings.expect(len(batch), config.interval)
    findings.ok("reading", f"{len(batch)} series each time")
    if sys.platform.startswith("linux"):
        _examine_mounts(config, findings)


def _examine_mounts(config: HostConfig, findings: Findings) -> None:
    contained = any(Path(mark).exists() for mark in _MARKS_OF_CONTAINERS)
    for setting, given, default in (
        ("proc_path", config.proc_path, "/host/proc"),
        ("host_root", config.host_root, "/host/root"),
    ):
        if given is not None and not Path(given).is_dir():
            findings.problem(setting, f"no folder {given}", "that of the host", "mount it there, read-only")
        elif given is None and contained and not Path(default).is_dir():
            got = "this is a container, and what is read of it is not all of the machine"
            findings.warning(setting, got, f"the host's, mounted at {default}", "docs/host.md says how")
