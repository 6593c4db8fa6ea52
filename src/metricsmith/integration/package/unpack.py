"""Archives of strangers: read strictly, within limits, into a folder of their own.

What `integration build` writes is plain: regular files, short names. So everything else is refused, links,
devices, sparse files and headers that change what follows among them: there is no reason for one.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metricsmith.integration.package.layout import (
    EXECUTABLE,
    MANIFEST,
    PLAIN,
    SUMS,
    Manifest,
    PackageError,
    check_path,
    compare_sums,
    read_manifest,
    read_sums,
)
from metricsmith.integration.package.targets import here

_BLOCK = 512
_PIECE = 1 << 20
_KINDS = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe",
    b"S": "a sparse file", b"x": "an extended header", b"g": "an extended header", b"L": "an extended header",
    b"K": "an extended header",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may be: compressed bytes, bytes of all files, files."""

    packed: int = 512 << 20
    bytes: int = 1 << 30
    files: int = 5000
    small: int = 1 << 20
    """Bytes of the manifest, and of the checksums."""


LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A package whose files are those of its checksums; `sums` is their digest."""

    folder: Path
    manifest: Manifest
    sums: str
    files: int
    bytes: int

    def check_target(self) -> None:
        """Refuse a package of another machine.

        Raises:
            PackageError: it is one.
        """
        form, wanted = here(), self.manifest.target
        if wanted != form:
            raise PackageError(f"is for {wanted}, and this machine is {form or 'of another kind'}")


def unpack(file: Path, into: Path, limits: Limits = LIMITS) -> Unpacked:
    """Unpack an archive into an empty folder that nobody else can write to; check its checksums.

    Raises:
        PackageError: it is none of ours, damaged, hostile or too large.
        OSError: cannot be read or written.
    """
    if not file.is_file():
        raise PackageError("is no file, wanted NAME-VERSION-TARGET.tar.gz")
    size = file.stat().st_size
    if size > limits.packed:
        raise PackageError(f"got {size} bytes, wanted at most {limits.packed}")
    reading = _Reading(into, limits)
    try:
        with gzip.open(file, "rb") as stream:
            reading.read(stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        hint = "wanted NAME-VERSION-TARGET.tar.gz, as `integration build` makes it"
        raise PackageError(f"is damaged or no package: {error} ({hint})") from None
    return _checked(into, reading)


def check_folder(folder: Path, limits: Limits = LIMITS) -> Unpacked:
    """Return the package that was unpacked in a folder, when its files are those of its checksums.

    Raises:
        PackageError: they are not, or it is none.
    """
    reading = _Reading(folder, limits)
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise PackageError(f"{path.relative_to(folder)}: wanted a regular file")
        if path.is_file() and "__pycache__" not in path.parts:
            with path.open("rb") as file:
                reading.digests[path.relative_to(folder).as_posix()] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
            reading.bytes += path.stat().st_size
    return _checked(folder, reading)


def _checked(folder: Path, reading: _Reading) -> Unpacked:
    for needed in (MANIFEST, SUMS):
        if needed not in reading.digests:
            raise PackageError(f"has no {needed}: it is no package of an integration")
    sums = reading.digests.pop(SUMS)
    compare_sums(read_sums((folder / SUMS).read_bytes()), reading.digests)
    manifest = read_manifest((folder / MANIFEST).read_bytes())
    if reading.top is not None and reading.top != manifest.folder:
        raise PackageError(f'its folder is "{reading.top[:80]}", wanted {manifest.folder}')
    return Unpacked(folder, manifest, sums, len(reading.digests) + 1, reading.bytes)


class _Reading:
    """Files of one archive as they come, `top` the folder that all of them are in."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self.digests: dict[str, str] = {}
        self.top: str | None = None
        self.bytes = 0
        self._entries = 0
        self._seen: dict[str, tuple[str, bool]] = {}

    def read(self, stream: gzip.GzipFile) -> None:
        """Read to the end."""
        while (header := _exactly(stream, _BLOCK)) != bytes(_BLOCK):
            self._entry(stream, header)
        while rest := stream.read(_PIECE):
            self.bytes += len(rest)
            if rest.strip(b"\0") or self.bytes > self._limits.bytes:
                raise PackageError("has something after its end")

    def _entry(self, stream: gzip.GzipFile, header: bytes) -> None:
        try:
            info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        except (tarfile.TarError, UnicodeError, ValueError, OverflowError) as error:
            raise PackageError(f"is damaged: {error}") from None
        self._entries += 1
        if self._entries > 2 * self._limits.files:
            raise PackageError(f"has more than {self._limits.files} files")
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE):
            what = _KINDS.get(info.type, "something")
            raise PackageError(f"{info.name[:80]!a}: is {what}, wanted a regular file")
        directory = info.isdir()
        name = self._inside(info.name.rstrip("/") if directory else info.name, directory)
        if info.size < 0 or (directory and info.size):
            raise PackageError(f"{name[:80]}: got a size of {info.size}")
        if not directory:
            self._write(stream, name, info.size, EXECUTABLE if info.mode & 0o100 else PLAIN)

    def _inside(self, path: str, directory: bool) -> str:
        """Return a path in the package, whose archive has one folder; empty for that folder."""
        top, _, name = check_path(path).partition("/")
        if self.top not in (None, top) or not (name or directory):
            raise PackageError(f"{path[:80]!a}: is outside the one folder that all files are in")
        self.top = top
        if name:
            parts = name.split("/")
            for end in range(1, len(parts)):
                self._place("/".join(parts[:end]), directory=True)
            self._place(name, directory=directory)
        return name

    def _place(self, name: str, *, directory: bool) -> None:
        # Without case: on some file systems A and a are one file.
        key = name.casefold()
        if self._seen.setdefault(key, (name, directory)) != (name, directory) or name in self.digests:
            raise PackageError(f"{name[:80]}: is in the archive twice")

    def _write(self, stream: gzip.GzipFile, name: str, size: int, mode: int) -> None:
        limits = self._limits
        self.bytes += size
        if self.bytes > limits.bytes:
            raise PackageError(f"{name}: is beyond {limits.bytes} bytes in all")
        if len(self.digests) >= limits.files:
            raise PackageError(f"has more than {limits.files} files")
        if name in (MANIFEST, SUMS) and size > limits.small:
            raise PackageError(f"{name}: got {size} bytes, wanted at most {limits.small}")
        path, digest = self._folder / name, hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for piece in _pieces(stream, size):
                digest.update(piece)
                file.write(piece)
        path.chmod(mode)
        _exactly(stream, -size % _BLOCK)
        self.digests[name] = digest.hexdigest()


def _pieces(stream: gzip.GzipFile, size: int) -> Iterator[bytes]:
    while size:
        piece = _exactly(stream, min(size, _PIECE))
        size -= len(piece)
        yield piece


def _exactly(stream: gzip.GzipFile, count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError("it ends too early")
    return data
