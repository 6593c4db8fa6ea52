"""Runs a package where it is, under the contract harness: does it keep there what it promises?"""

from __future__ import annotations

import tempfile
from pathlib import Path

from metricsmith.integration.harness import Options
from metricsmith.integration.kit import examine
from metricsmith.integration.package import unpack
from metricsmith.integration.package.install import check_beside
from metricsmith.integration.report import Check, Report, Verdict


def verify(path: Path, collections: int = 0) -> Report:
    """Return what the harness finds in a package: an archive, or the folder that one was installed in.

    It reads real inputs, with the settings of the environment.

    Raises:
        PackageError: it is none, not what its checksums say, or for another machine.
    """
    with tempfile.TemporaryDirectory(prefix="metricsmith-verify-") as scratch:
        if path.is_dir():
            found = unpack.check_folder(path.resolve())
        else:
            check_beside(path)
            found = unpack.unpack(path, Path(scratch))
        found.check_target()
        report = examine(found.folder, Options("", False, collections))
    told = f"{found.files} files, {found.bytes:,} bytes are those of SHA256SUMS"
    return Report(report.name, report.version, (Check("package", Verdict.PASSED, told), *report.checks))
