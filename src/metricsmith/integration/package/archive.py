"""Archives whose bytes follow from their files alone: sorted, nobody's, of one time."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import time
import zipfile
from collections.abc import Mapping

from metricsmith.integration.package.layout import EXECUTABLE, Entry, PackageError

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
OLDEST_S = 315_532_800
"""1980-01-01: the first time that a zip can hold, and that of all files unless the environment says another.

Not the time of the newest file: another checkout of the same sources has other ones.
"""
_REGULAR = 0o100000


def build_time() -> int:
    """Return the time of all files, in seconds since 1970: SOURCE_DATE_EPOCH, else 1980.

    Raises:
        PackageError: the variable is no time that archives can hold.
    """
    text = os.environ.get(EPOCH_VARIABLE, "")
    if not text:
        return OLDEST_S
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and OLDEST_S <= int(text) < 4_354_819_200):
        raise PackageError(f'{EPOCH_VARIABLE}: got "{text[:40]}", wanted seconds since 1970, from 1980 on')
    return int(text)


def tar_gz(folder: str, entries: Mapping[str, Entry], time_s: int) -> bytes:
    """Return a compressed archive of one folder.

    Raises:
        PackageError: a path is too long.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 9, packed, mtime=0) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name in sorted(entries):
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size, info.mode, info.mtime = len(entries[name].data), entries[name].mode, time_s
            try:
                tar.addfile(info, io.BytesIO(entries[name].data))
            except ValueError:
                raise PackageError(f"{name}: its path is too long for an archive") from None
    return packed.getvalue()


def zipapp(entries: Mapping[str, Entry], time_s: int) -> Entry:
    """Return a zip that runs: the kernel sees Python's line, Python sees the zip.

    Its files are stored: the archive around it compresses, and imports are faster.
    """
    packed = io.BytesIO()
    packed.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(packed, "w") as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, time.gmtime(time_s)[:6])
            info.create_system = 3  # else that of the machine that builds
            info.external_attr = (_REGULAR | entries[name].mode) << 16
            archive.writestr(info, entries[name].data, zipfile.ZIP_STORED)
    return Entry(packed.getvalue(), EXECUTABLE)
