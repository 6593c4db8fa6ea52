"""Why there is no connection, for people."""

from __future__ import annotations

import os


def why_not_connected(error: OSError) -> str:
    """Return the reason that the system gives, without the address.

    >>> why_not_connected(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)"))
    'Connection refused'
    """
    # Errors of name look-ups have negative numbers and a text of their own.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)
