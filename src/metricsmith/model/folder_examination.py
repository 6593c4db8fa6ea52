"""Whether a folder can be written to by this user, or made."""

from __future__ import annotations

import os
from pathlib import Path

from metricsmith.model.findings import Findings

_EFFECTIVE = os.access in os.supports_effective_ids


def examine_folder(findings: Findings, folder: Path, setting: str) -> Path | None:
    """Tell whether we may write there; return the folder, or the one that it will be made in, None if not."""
    folder = folder.absolute()
    about, user = str(folder), f"user {os.geteuid()}"
    there = next(path for path in (folder, *folder.parents) if _exists(path))
    if not there.is_dir():
        findings.problem(about, f"{there} is no folder", "a folder to write to", f"check {setting}")
    elif os.statvfs(there).f_flag & os.ST_RDONLY:
        hint = f"mount it for writing, or set {setting}"
        findings.problem(about, "the file system is read-only", "one to write to", hint)
    elif not os.access(there, os.R_OK | os.W_OK | os.X_OK, effective_ids=_EFFECTIVE):
        hint = f"chown it to {user}, run the agent as its owner, or set {setting}"
        findings.problem(about, f"{user} may not write to {there}", "a folder to write to", hint)
    else:
        findings.ok(about, f"{user} may write to it" if folder == there else "it will be made")
        return there
    return None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # of a folder on the way, which is looked at next
        return False
