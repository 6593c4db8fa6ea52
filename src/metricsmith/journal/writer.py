"""Writing one segment file; all or nothing per commit."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path

from metricsmith.errors import DiskFull, JournalError
from metricsmith.journal.format import pack_segment_header, segment_name
from metricsmith.journal.segment import Segment, sync_folder


def journal_error(error: OSError, path: Path) -> JournalError:
    """Return the error of ours for a failed write."""
    text = f"{path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"{text} (free space on this file system; senders are asked to retry)")
    return JournalError(text)


class SegmentWriter:
    """Appends to a new segment file."""

    def __init__(self, folder: Path, first_sequence: int, head: Sequence[bytes | memoryview] = ()) -> None:
        """Create the file with its header, durably and at once: a segment always has its header.

        `head` are the pieces of frames that it begins with.

        Raises:
            OSError: it could not be.
        """
        path = folder / segment_name(first_sequence)
        beside = path.with_name(f"{path.name}.tmp")
        header = pack_segment_header(first_sequence)
        self.segment = Segment(path, first_sequence, 0, (0, 0))
        self._fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        try:
            self.write([header, *head])
            os.fsync(self._fd)
            beside.rename(path)
            sync_folder(folder)
        except OSError:
            self.close()
            beside.unlink(missing_ok=True)
            raise
        self.keep()

    def write(self, pieces: Sequence[bytes | memoryview]) -> int:
        """Append pieces and return their bytes; they count only after `keep`."""
        data = memoryview(b"".join(pieces))
        written = 0
        while written < len(data):
            written += os.write(self._fd, data[written:])
        self._written = self.segment.size_bytes + written
        return written

    def sync(self) -> None:
        """Force what was written to the disk."""
        os.fdatasync(self._fd)

    def keep(self) -> None:
        """Count what was written as committed."""
        self.segment.size_bytes = self._written

    def abandon(self) -> None:
        """Cut what is not committed and close: after a failed write or sync the file gets nothing more."""
        try:
            os.ftruncate(self._fd, self.segment.size_bytes)
        finally:
            self.close()

    def close(self) -> None:
        """Release the file."""
        with contextlib.suppress(OSError):  # after a failed sync, close may report the same error again
            os.close(self._fd)
