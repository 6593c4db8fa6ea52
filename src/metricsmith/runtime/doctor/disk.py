"""The data folder: usable by us, held by whom, on a disk that is fit for it."""

from __future__ import annotations

import os
import stat
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from metricsmith.config.load import Configuration
from metricsmith.errors import StoreError
from metricsmith.model.findings import Findings
from metricsmith.model.folder_examination import examine_folder
from metricsmith.runtime.doctor.agent import data_folder
from metricsmith.runtime.doctor.room import examine_room
from metricsmith.store.datadir import current_version, holder, version_of

LEAST_INODES = 10_000
SLOW_SYNC_S = 0.05
SYNCS = 7
NETWORK = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.s3fs")
IN_MEMORY = ("tmpfs", "ramfs")


def examine_disk(configuration: Configuration, others: Sequence[Findings], findings: Findings) -> None:
    """Tell of the data folder; `others` hold what will be collected. Waits: call it in a thread."""
    folder = data_folder(configuration).absolute()
    there = examine_folder(findings, folder, "storage.path")
    if there is None:
        return
    _examine_contents(folder, findings)
    _examine_access(folder, findings)
    _examine_file_system(there, findings)
    examine_room(configuration, folder, there, sum(o.samples_per_s for o in others), findings)
    _examine_sync(there, findings)


def _examine_contents(folder: Path, findings: Findings) -> None:
    try:
        held_by = holder(folder)
    except OSError as error:
        held_by = None
        hint = "the agent runs, or ran, as another user"
        findings.problem("LOCK", f"it cannot be looked at: {error.strerror}", "our own file", hint)
    if held_by is not None:
        findings.ok("LOCK", f"held by the agent that runs, process {held_by}")
    elif os.path.exists(folder / "LOCK"):  # noqa: PTH110 - false, too, where we may not look
        findings.ok("LOCK", "free")
    try:
        version = version_of(folder)
    except (StoreError, OSError) as error:
        findings.problem("FORMAT", str(error), "a data folder of metricsmith", "is storage.path right?")
        return
    if version is not None and version > current_version():
        got = f"format version {version}: a newer metricsmith wrote it"
        findings.problem(
            "FORMAT", got, f"{current_version()} or older", "use that version, or another storage.path"
        )
    elif version is not None:
        findings.ok("FORMAT", f"version {version}")


def _examine_access(folder: Path, findings: Findings) -> None:
    """Tell whether other users can read blocks: in a folder that was made with a usual umask they can."""
    try:
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (folder, folder / "blocks")]
    except OSError:  # there is none yet, or not one that we may look into, which was told
        return
    if all(mode & stat.S_IXOTH for mode in modes) and modes[-1] & stat.S_IROTH:
        got = f"mode {modes[0]:04o}: all users of this machine can read the blocks"
        findings.warning("access", got, "0700, as new ones have", f"chmod 700 {folder}")
    else:
        findings.ok("access", f"mode {modes[0]:04o}")


def _examine_file_system(there: Path, findings: Findings) -> None:
    kind = file_system_of(there)
    if kind.startswith(NETWORK):
        got = f"{kind}, a file system of the network: locks and power cuts are less sure on it"
        findings.warning("file system", got, "a disk of this machine", "set storage.path")
    elif kind in IN_MEMORY:
        got = f"{kind}, which is memory: all samples are gone after a restart of the machine"
        findings.warning("file system", got, "a disk", "set storage.path, or mount a volume")
    elif kind == "overlay":
        got = "overlay, the layer of a container: all samples go with it"
        findings.warning("file system", got, "a volume", "mount one at storage.path")
    else:
        findings.ok("file system", kind or "of unknown type")
    space = os.statvfs(there)
    if space.f_files > 0 and space.f_favail < LEAST_INODES:
        findings.warning("inodes", f"{space.f_favail} free", f"{LEAST_INODES} at least", "remove small files")


def file_system_of(path: Path) -> str:
    """Return the type of the file system that a path lies in, empty when it is not known."""
    mounts = [m for m in psutil.disk_partitions(all=True) if path.resolve().is_relative_to(m.mountpoint)]
    # Of two mounts at one place the later is seen.
    return max(reversed(mounts), key=lambda mount: len(mount.mountpoint)).fstype if mounts else ""


def _examine_sync(there: Path, findings: Findings) -> None:
    """Tell how long the disk takes to keep a page, as each acknowledgement waits. The file has no name."""
    took = []
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            for _ in range(SYNCS):
                file.write(b"\0" * 4096)
                file.flush()
                began = time.monotonic()
                os.fsync(file.fileno())
                took.append(time.monotonic() - began)
    except OSError as error:
        findings.problem("fsync", f"{error.strerror}", "a file that can be written", "is the disk full?")
        return
    middle = statistics.median(took)
    told = f"{middle * 1000:.1f} ms (the middle of {SYNCS})"
    if middle > SLOW_SYNC_S:
        hint = "each acknowledgement waits for one; use a faster disk, or journal.sync: interval"
        findings.warning("fsync", told, f"below {SLOW_SYNC_S * 1000:g} ms", hint)
    else:
        findings.ok("fsync", told)
