"""Files and modules to collectors. Their code runs here: call it in a thread that may hang."""

from __future__ import annotations

import hashlib
import importlib
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from metricsmith.errors import SourceError
from metricsmith.sources.python.clients import REGISTRY
from metricsmith.sources.python.find import Unit, units_of

MAX_BYTES = 4 << 20
ENTRY_POINTS = "metricsmith.collectors"
_LOCK = threading.Lock()


class LoadError(SourceError):
    """A file or module cannot be used; the message begins with the file, and the line where there is one."""


def load_file(path: str) -> list[Unit]:
    """Return the collectors of a file, as it is now.

    Raises:
        LoadError: it cannot be read, has mistakes, raises, or holds no collector.
    """
    try:
        with Path(path).open("rb") as file:
            source = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LoadError(f"{path}: cannot be read: {error.strerror}") from None
    if len(source) > MAX_BYTES:
        raise LoadError(f"{path}: got more than {MAX_BYTES} bytes, wanted a Python file")
    name = f"metricsmith_collectors_{hashlib.blake2b(path.encode(), digest_size=6).hexdigest()}"
    module = ModuleType(name)
    module.__file__ = path
    former = sys.modules.get(name)
    with _told(path), registering() as registered:
        code = compile(source, path, "exec", dont_inherit=True)
        sys.modules[name] = module  # dataclasses and pickle look there
        try:
            exec(code, vars(module))
            return units_of(module, Path(path).stem, path, registered)
        except BaseException:
            sys.modules.pop(name)
            if former is not None:
                sys.modules[name] = former
            raise


def load_module(text: str) -> list[Unit]:
    """Return the collectors of `package.module`, or what `package.module:Name` is.

    Raises:
        LoadError: not there, raises, or no collector.
    """
    module_name, _, attribute = text.partition(":")
    with _told(text), registering() as registered:
        found: Any = importlib.import_module(module_name)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        return units_of(found, module_name.rpartition(".")[2], text, [] if attribute else registered)


def load_entry_point(point: EntryPoint) -> list[Unit]:
    """Return the collectors that an installed package offers.

    Raises:
        LoadError: as `load_module`.
    """
    with _told(f"{ENTRY_POINTS}: {point.name}"), registering() as registered:
        found = point.load()
        return units_of(found, point.name, point.value, registered if isinstance(found, ModuleType) else [])


def offered() -> list[EntryPoint]:
    """Return the entry points of installed packages, by name."""
    return sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)


@contextmanager
def registering() -> Iterator[list[Any]]:
    """Give what code registers with the registry of prometheus_client, and keep it out of that.

    So a file that registers its collectors can be read again, and nothing is
    collected before it is due.
    """
    registered: list[Any] = []
    loader = threading.get_ident()
    with _LOCK:
        registry: Any = REGISTRY
        register = registry.register

        def keep(collector: Any) -> None:
            if threading.get_ident() == loader:
                registered.append(collector)
            else:
                register(collector)

        registry.register = keep
    try:
        yield registered
    finally:
        with _LOCK:
            if vars(registry).get("register") is keep:
                del registry.register


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever somebody's code raises into an error that says where."""
    try:
        yield
    except LoadError:
        raise
    except SyntaxError as error:
        raise LoadError(f"{error.filename or what}:{error.lineno or 0}: {error.msg}") from None
    except SourceError as error:
        raise LoadError(f"{what}: {error}") from None
    except BaseException as error:
        raise LoadError(f"{where(error, what)}: {type(error).__name__}: {error!s:.500}") from None


def where(error: BaseException, otherwise: str) -> str:
    """Return file and line of the author's code that raised; of library code, of the line that called it.

    `otherwise` is the file that is asked about.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == otherwise]
    return f"{otherwise}:{own[-1].lineno}" if own else otherwise
