"""What tells a process from others of its service, and stays the same when it is started again.

A process id would make every series anew with each restart. The name of the host alone would let two
processes write into the same series. So the first process of a service on a host has the name of the host,
the next one `host/2`, and so on; a process that ends frees its place.
"""

from __future__ import annotations

import os
import socket
import sys
from hashlib import blake2b

MOST = 64
"""Processes of one service on one host; further ones have their process id."""


class Instance:
    """The name of this process within its service, taken until it is released or the process ends."""

    def __init__(self, service: str, given: str = "") -> None:
        """`given` is the name where somebody chose one."""
        self._place: socket.socket | None = None
        self.name = given or self._take(service, socket.gethostname())

    def release(self) -> None:
        """Free the place for another process; in a forked child: leave it to the parent."""
        if self._place is not None:
            self._place.close()
            self._place = None

    def _take(self, service: str, host: str) -> str:
        if sys.platform == "linux":
            # An abstract address: nothing on disk, and gone with the process, however that ends.
            key = blake2b(f"{host}\n{service}".encode(errors="replace"), digest_size=12).hexdigest()
            place = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            for number in range(1, MOST + 1):
                try:
                    place.bind(f"\0metricsmith/{key}/{number}")
                except OSError:
                    continue
                self._place = place
                return host if number == 1 else f"{host}/{number}"
            place.close()
        return f"{host}:{os.getpid()}"
