"""Where workers find the collecting process: a Unix socket that only its user can open, or loopback TCP."""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

VARIABLE = "METRICSMITH_PROCESSES_ADDRESS"
TCP_PORT = 9486
BACKLOG = 128
_TRIES, _TRY_S = 100, 0.01
HAS_UNIX = hasattr(socket, "AF_UNIX")


class Untrusted(OSError):
    """A socket, or its folder, that another user could have made."""


def default_address(environment: Mapping[str, str] = os.environ) -> str:
    """Return what the environment says, else the socket of this user on this machine."""
    named = environment.get(VARIABLE, "").strip()
    if named:
        return named
    if not HAS_UNIX:
        return f"tcp://127.0.0.1:{TCP_PORT}"
    # Not where TMPDIR says, or a session: the agent may have been started in another one.
    return f"/tmp/metricsmith-{os.getuid()}/processes.sock"


def check_address(address: str) -> str:
    """Return the address.

    Raises:
        ValueError: neither an absolute path nor loopback TCP.
    """
    if address.startswith("tcp://"):
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        # Who can connect can push: there are no permissions on a port, so it is not opened to others.
        if host not in ("127.0.0.1", "localhost", "[::1]") or not (port.isascii() and port.isdigit()):
            raise ValueError(f"got {address!r}, wanted a loopback address such as tcp://127.0.0.1:{TCP_PORT}")
    elif not os.path.isabs(address) or len(os.fsencode(address)) > 100:  # noqa: PTH117
        raise ValueError(
            f"got {address!r}, wanted an absolute path of at most 100 bytes, or tcp://127.0.0.1:PORT"
        )
    return address


def connect(address: str, timeout_s: float) -> socket.socket:
    """Return a connection to the collecting process of this user.

    Raises:
        OSError: there is none; `Untrusted` if it is another user's.
    """
    if address.startswith("tcp://"):
        return socket.create_connection(_host_and_port(address), timeout_s)
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout_s)
        connected.connect(address)
        _check_peer(connected)
    except BaseException:
        connected.close()
        raise
    return connected


def listen(address: str) -> socket.socket:
    """Return a socket that listens for workers of this user. One that a dead process left is replaced.

    Raises:
        OSError: the address is in use, or cannot be used; `Untrusted` if others could get at it.
    """
    if address.startswith("tcp://"):
        return _listen_on_port(*_host_and_port(address))
    folder = os.path.dirname(address)  # noqa: PTH120
    _make_folder(folder)
    with _alone_in(folder):
        _remove_left_over(address)
        return _listen_on_path(address)


def _listen_on_port(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _listen_on_path(address: str) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(address)
        os.chmod(address, 0o600)  # noqa: PTH101  before `listen`: nobody can have connected yet
        listening.listen(BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


@contextmanager
def _alone_in(folder: str) -> Iterator[None]:
    """Let one at a time begin to listen: a socket that is not listened on yet looks like a left one."""
    import fcntl

    opened = os.open(folder, os.O_RDONLY)
    try:
        for _ in range(_TRIES):  # not for ever: in /tmp itself anybody can have the lock
            with suppress(BlockingIOError):
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(_TRY_S)
        else:
            raise OSError(f"another process begins to collect in {folder}, and does not come to an end")
        yield
    finally:
        fcntl.flock(opened, fcntl.LOCK_UN)  # a child that was forked meanwhile has it, too
        os.close(opened)


def accept(listening: socket.socket) -> socket.socket:
    """Return the next connection, of this user or root.

    Raises:
        OSError: there is none; `Untrusted` if it is another user's.
    """
    accepted, _ = listening.accept()
    try:
        accepted.setblocking(False)
        _check_peer(accepted)
    except BaseException:
        accepted.close()
        raise
    return accepted


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    return host.strip("[]"), int(port)


def _make_folder(folder: str) -> None:
    """Make a folder of our own, if it is not there; one in which others can put files is not used."""
    with suppress(FileExistsError):
        os.makedirs(folder, mode=0o700)  # noqa: PTH103
    found = os.stat(folder)  # noqa: PTH116
    sticky_or_closed = found.st_mode & stat.S_ISVTX or not found.st_mode & 0o022
    if found.st_uid not in (0, os.getuid()) or not sticky_or_closed:
        raise Untrusted(f"the folder {folder} can be written by others; wanted one of this user's own")


def _remove_left_over(address: str) -> None:
    try:
        found = os.lstat(address)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise Untrusted(f"there is something else at {address}; wanted no file, or a socket of this user")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except (ConnectionRefusedError, FileNotFoundError):
            with suppress(FileNotFoundError):
                os.unlink(address)  # noqa: PTH108
            return
    raise OSError(f"another process collects at {address}")


def _check_peer(connected: socket.socket) -> None:
    """Raise if the other side is another user's; where the system does not say, the folder has to do."""
    if connected.family != getattr(socket, "AF_UNIX", None) or not hasattr(socket, "SO_PEERCRED"):
        return
    credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", credentials)
    if user not in (0, os.getuid()):
        raise Untrusted(f"the other side is user {user}, wanted this one, {os.getuid()}")
