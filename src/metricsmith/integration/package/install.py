"""Installs a package: all of it or nothing, with the version before it left to go back to.

ROOT/NAME/VERSION-DIGEST/    each version whole, never changed
ROOT/NAME/current            a link, replaced at once
FILES/NAME.yml               what agents read; it runs what is in `current`
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from metricsmith.errors import MetricsmithError
from metricsmith.integration.package import declared, unpack
from metricsmith.integration.package.layout import EXECUTABLE, FILES_FOLDER, PLAIN, PackageError
from metricsmith.integration.project import Project, read_project
from metricsmith.model.durable_files import replace_file, sync_folder

CURRENT = "current"
KEPT = 2
"""Versions: the one that runs, and the one before it."""
_DIGITS = 8
_NEW = ".new-"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent has integrations: `programs` their folders, `files` what it reads; `root` is /."""

    programs: Path
    files: Path
    root: Path = Path("/")
    agent: str = "metricsmith"

    def shown(self, path: Path) -> str:
        """Return a path as the agent sees it."""
        return f"/{path.relative_to(self.root)}" if self.root != Path("/") else str(path)


def agent_place(folder: Path) -> Place:
    """Return where an agent with its configuration in that folder has integrations."""
    folder = folder.resolve()
    return Place(folder / "integrations", folder / FILES_FOLDER)


def newrelic_place(root: Path) -> Place:
    """Return where New Relic's agent has integrations."""
    root = root.absolute()
    programs = root / "var/db/newrelic-infra/custom-integrations"
    return Place(programs, root / "etc/newrelic-infra/integrations.d", root, "New Relic")


@dataclass(frozen=True, slots=True)
class Installed:
    """What was done, or with a dry run would be."""

    name: str
    version: str
    former: str | None
    folder: Path
    file: Path
    file_outcome: str
    dry: bool
    removed: tuple[str, ...] = field(default=())

    def json(self) -> dict[str, object]:
        """Return it as plain data."""
        return {"name": self.name, "version": self.version, "former": self.former, "folder": str(self.folder),
                "file": str(self.file), "file_outcome": self.file_outcome, "dry_run": self.dry,
                "removed": list(self.removed)}  # fmt: skip


def install(file: Path, place: Place, *, dry: bool = False) -> Installed:
    """Install a package and return what was done. A file of agents that people have changed is kept.

    Raises:
        PackageError: it is refused; nothing was changed then.
        OSError: cannot be read or written; what was installed before is as it was.
    """
    check_beside(file)
    with _scratch(place, dry) as scratch:
        found = unpack.unpack(file, scratch)
        found.check_target()
        project = read_project(scratch)
        if project.name != found.manifest.name:
            raise PackageError(f"says {found.manifest.name} and {project.name}, wanted one name")
        step = _Step(place, project, found)
        return step.planned() if dry else step.done()


def check_beside(file: Path) -> None:
    """Compare an archive with the checksum file beside it, where there is one.

    Raises:
        PackageError: it is another.
    """
    sums = file.with_name(file.name + ".sha256")
    if sums.is_file():
        wanted = sums.read_text("ascii", "replace")[:64]
        with file.open("rb") as opened:
            got = hashlib.file_digest(opened, "sha256").hexdigest()
        if got != wanted:
            raise PackageError(f"is not what {sums.name} says (damaged or changed: get it again)")


@contextmanager
def _scratch(place: Place, dry: bool) -> Iterator[Path]:
    """Give a folder of our own to unpack in, on the file system of the destination; one install at a time."""
    if dry:
        with tempfile.TemporaryDirectory(prefix="metricsmith-install-") as folder:
            yield Path(folder)
        return
    for needed in (place.programs, place.files):
        _make_folder(needed)
    with (place.programs / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PackageError(f"{place.programs}: another installation is under way") from None
        _remove_unfinished(place.programs)
        made = Path(tempfile.mkdtemp(prefix=_NEW, dir=place.programs))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _remove_unfinished(programs: Path) -> None:
    """Remove what installations that were killed had unpacked; under the lock, nobody uses it."""
    for left in programs.glob(f"{_NEW}*"):
        _LOG.warning("removed %s, which an installation that was killed has left", left)
        shutil.rmtree(left, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    """Make a folder, and those above it, that agents can look into: they may run as another user."""
    for each in (*reversed(folder.parents), folder):
        if not each.exists():
            each.mkdir()
            each.chmod(EXECUTABLE)


class _Step:
    """From what is there to the new version."""

    def __init__(self, place: Place, project: Project, found: unpack.Unpacked) -> None:
        self._place, self._found = place, found
        self._project = project
        self._home = place.programs / project.name
        self._current = self._home / CURRENT
        self._folder = self._home / f"{found.manifest.version}-{found.sums[:_DIGITS]}"
        self._file = place.files / f"{project.name}.yml"
        self._text = self._rendered(project)
        self._before = self._current.readlink().name if self._current.is_symlink() else None
        for path, fits in ((self._home, Path.is_dir), (self._current, Path.is_symlink)):
            if (path.is_symlink() and path is self._home) or (path.exists() and not fits(path)):
                raise PackageError(f"{path}: is there and was not installed by this command (move it away)")

    def planned(self) -> Installed:
        """Return what would be done."""
        return self._report(self._outcome(), dry=True)

    def done(self) -> Installed:
        """Do it; what fails is undone."""
        outcome = self._outcome()
        _make_folder(self._home)
        self._put_folder()
        self._point(self._folder.name)
        try:
            self._put_file(outcome)
        except OSError:
            if self._before is None:
                self._current.unlink()
            else:
                self._point(self._before)
            raise
        return self._report(outcome, dry=False, removed=self._remove_old())

    def _put_folder(self) -> None:
        """Move the new version to its place; one that is there and damaged is replaced."""
        self._found.folder.chmod(EXECUTABLE)
        for path in self._found.folder.rglob("*"):
            if path.is_dir():
                path.chmod(EXECUTABLE)
        if self._folder.exists():
            try:
                unpack.check_folder(self._folder)
                return
            except PackageError:
                self._folder.rename(self._found.folder.with_name(f"{self._found.folder.name}-damaged"))
                shutil.rmtree(self._found.folder.with_name(f"{self._found.folder.name}-damaged"))
        self._found.folder.rename(self._folder)
        sync_folder(self._home)

    def _point(self, version: str) -> None:
        made = self._home / f".{CURRENT}"
        made.unlink(missing_ok=True)
        made.symlink_to(version)
        made.replace(self._current)
        sync_folder(self._home)

    def _outcome(self) -> str:
        if not self._file.exists():
            return "created"
        there = self._file.read_text("utf-8", "replace")
        if there == self._text:
            return "unchanged"
        return "changed" if there == self._of_before() else "kept"

    def _of_before(self) -> str | None:
        """Return the file that the version before came with."""
        if self._before is None:
            return None
        with suppress(MetricsmithError, OSError):
            return self._rendered(read_project(self._home / self._before))
        return None

    def _rendered(self, project: Project) -> str:
        return declared.integration_file(project.declaration, self._place.shown(self._current))

    def _put_file(self, outcome: str) -> None:
        if outcome in ("created", "changed"):
            self._write(self._file)
        elif outcome == "kept":
            self._write(self._file.with_suffix(".yml.sample"))

    def _write(self, path: Path) -> None:
        mode = path.stat().st_mode & 0o777 if path.exists() else PLAIN
        replace_file(path, self._text.encode())
        path.chmod(mode)

    def _remove_old(self) -> tuple[str, ...]:
        """Remove all versions but the new one and the one before it."""
        keep = {self._folder.name, self._before}
        old = [p for p in self._home.iterdir() if p.is_dir() and not p.is_symlink() and p.name not in keep]
        old.sort(key=lambda path: path.stat().st_ctime)
        more = KEPT - len(keep - {None})  # the same once more, or the first: one of the others may stay
        gone = old[: max(0, len(old) - more)]
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        return tuple(path.name for path in gone)

    def _report(self, outcome: str, *, dry: bool, removed: tuple[str, ...] = ()) -> Installed:
        manifest = self._found.manifest
        former = self._before.rpartition("-")[0] if self._before else None
        return Installed(
            manifest.name, manifest.version, former, self._folder, self._file, outcome, dry, removed
        )
