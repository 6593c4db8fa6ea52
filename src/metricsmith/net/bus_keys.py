"""Files with a pair of keys for the bus: read, written, and what is wrong with one."""

from __future__ import annotations

import re
from pathlib import Path

MAX_BYTES = 64 << 10
WANTED = "wanted a pair of keys (`metricsmith bus keys FILE` makes one)"
_KEY = re.compile(rb"""^\s*(public|secret)-key\s*=\s*["'](.{40})["']\s*$""", re.MULTILINE)


def read_keys(file: str) -> tuple[bytes, bytes]:
    """Return the public and the secret key of a file.

    Raises:
        PermissionError: it may not be read by us.
        ValueError: it cannot be read otherwise, or holds no pair of keys.
    """
    import zmq  # who has no keys needs no ZeroMQ to check the settings

    try:
        with open(file, "rb") as opened:
            found = dict(_KEY.findall(opened.read(MAX_BYTES)))
    except PermissionError:
        raise
    except OSError as error:
        raise ValueError(f'got "{file}", which cannot be read ({error.strerror}), {WANTED}') from None
    public, secret = found.get(b"public", b""), found.get(b"secret", b"")
    if not public or not secret:
        absent = "keys" if not public and not secret else "public key" if secret else "secret key"
        raise ValueError(f'got "{file}", which holds no {absent}, {WANTED}')
    try:
        belongs = zmq.curve_public(secret) == public
    except zmq.ZMQError:
        belongs = False
    if not belongs:
        raise ValueError(f'got "{file}", whose public key does not belong to its secret key, {WANTED}')
    return public, secret


def write_keys(path: Path) -> str:
    """Write a new pair of keys to a file that only its owner may read; return the public key.

    Raises:
        FileExistsError: there is such a file.
    """
    import zmq

    public, secret = zmq.curve_keypair()
    while b"${" in public:  # which a configuration takes for the begin of a variable's name
        public, secret = zmq.curve_keypair()
    text = f'metadata\ncurve\n    public-key = "{public.decode()}"\n    secret-key = "{secret.decode()}"\n'
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text)
    return public.decode()
