"""What a collector reads, in a way that can be recorded once and replayed in tests.

    from metricsmith.integration.inputs import fetch, run

    body = fetch("queues", "http://127.0.0.1:8025/queues")   # or a path
    text = run("disks", ["df", "-k"])

In an agent these just read. `metricsmith integration test --record` keeps what
they read in `recordings/NAME`, as it came; without it, tests read it from
there. Only what could be read is recorded, the body alone: no headers, so no
tokens. This module imports nothing but the standard library.

The same works in any language, by two environment variables: METRICSMITH_INPUTS
is `record`, `replay`, `fail` or not set, METRICSMITH_RECORDINGS is the folder.
"""

from __future__ import annotations

import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

MODE, FOLDER = "METRICSMITH_INPUTS", "METRICSMITH_RECORDINGS"
MODES = ("", "record", "replay", "fail")
MAX_BYTES = 16 << 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_reads: dict[str, int] = {}


class InputFailed(OSError):
    """An input could not be read, for a reason that the message tells."""


def fetch(
    name: str, place: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 5.0
) -> bytes:
    """Return the body of an `http://` or `https://` address, or the content of a file.

    Raises:
        InputFailed: not there, not answered in time, a status other than success, over 16 MiB.
    """
    return _read(name, lambda: _fetched(place, headers or {}, timeout_s))


def run(name: str, arguments: Sequence[str], *, timeout_s: float = 5.0) -> bytes:
    """Return what a program writes to its standard output; no shell is involved.

    Raises:
        InputFailed: not there, not done in time, an exit code other than 0, over 16 MiB.
    """
    return _read(name, lambda: _output(arguments, timeout_s))


def reads() -> dict[str, int]:
    """Return how often each input was read in this process, in whatever mode."""
    return dict(_reads)


@contextmanager
def inputs(mode: str, folder: str | Path | None = None) -> Iterator[None]:
    """Read in another mode for a while: `replay`, `record`, `fail`, or nothing for the real thing.

    For tests of a collector: `with inputs("replay", PROJECT / "recordings"): …`.
    """
    if mode not in MODES:
        raise ValueError(f'got mode "{mode}", wanted record, replay, fail or nothing')
    former = {name: os.environ.get(name) for name in (MODE, FOLDER)}
    _set(MODE, mode)
    if folder is not None:
        _set(FOLDER, str(folder))
    try:
        yield
    finally:
        for name, text in former.items():
            _set(name, text)


def _set(name: str, text: str | None) -> None:
    if text:
        os.environ[name] = text
    else:
        os.environ.pop(name, None)


def _read(name: str, really: Callable[[], bytes]) -> bytes:
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise ValueError(f'got "{name[:60]}", wanted a name for a file, such as queues or disk-sda')
    _reads[name] = _reads.get(name, 0) + 1
    mode = os.environ.get(MODE, "")
    if mode == "fail":
        raise InputFailed(f"{name}: made to fail by a test")
    if mode not in ("record", "replay"):
        return _limited(name, really())
    path = Path(os.environ.get(FOLDER) or "recordings") / name
    if mode == "replay":
        try:
            return path.read_bytes()
        except OSError as error:
            hint = "`metricsmith integration test --record` makes it"
            raise InputFailed(f"{name}: no recording {path}: {error.strerror} ({hint})") from None
    body = _limited(name, really())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return body


def _limited(name: str, body: bytes) -> bytes:
    if len(body) > MAX_BYTES:
        raise InputFailed(f"{name}: got more than {MAX_BYTES} bytes")
    return body


def _fetched(place: str, headers: Mapping[str, str], timeout_s: float) -> bytes:
    if not place.startswith(("http://", "https://")):
        try:
            with Path(place).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        except OSError as error:
            raise InputFailed(f"{place}: {error.strerror}") from None
    request = urllib.request.Request(place, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            body: bytes = answer.read(MAX_BYTES + 1)
            return body
    except urllib.error.HTTPError as error:
        with error:
            raise InputFailed(f"{place}: status {error.code} {error.reason}") from None
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise InputFailed(f"{place}: {reason}") from None


def _output(arguments: Sequence[str], timeout_s: float) -> bytes:
    program = arguments[0] if arguments else ""
    try:
        done = subprocess.run(
            list(arguments), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputFailed(f"{program}: took longer than {timeout_s:g} s") from None
    except OSError as error:
        raise InputFailed(f"{program}: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-200:]
        raise InputFailed(f"{program}: exit code {done.returncode}{': ' + said if said else ''}")
    return done.stdout
