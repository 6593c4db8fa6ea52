"""First file of a packaged program, `__main__.py` in its zip. Runs under any Python 3, to say which it needs.

C libraries and data files must be real files: when there are any, the zip is unpacked once into the
user's cache, else, where there is none to write to, into a temporary folder for this run.
"""

import atexit
import fcntl
import json
import os
import re
import shutil
import stat
import sys
import tempfile
import time
import zipfile

KEPT_S = 86400
"""For so long versions that run in turn are kept, as those of two agents."""
ARCHIVE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120


def main() -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        settings = json.loads(archive.read("settings.json").decode())
    wrong = misfit(settings)
    if wrong:
        sys.exit("%s: %s" % (settings["name"], wrong))  # noqa: UP031
    folder = unpacked(settings) if settings["unpack"] else ARCHIVE
    sys.path[:1] = [folder + "/app", folder + "/site"]
    run = settings["run"]
    if "script" in run:
        import runpy

        sys.argv[0] = folder + "/app/" + run["script"]
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        from metricsmith.integration.package import standalone

        sys.exit(standalone.main(folder + "/app", settings))


def misfit(settings: dict) -> str:  # type: ignore[type-arg]
    """Return why this Python cannot run it, nothing when it can."""
    got, wanted = sys.version_info[:2], tuple(settings["python"])
    shown = "Python " + ".".join(map(str, wanted))
    if got < wanted or (settings["exact"] and got != wanted):
        told = "got Python %d.%d, wanted " % got + shown  # noqa: UP031
        return told + (" (its libraries are made for that one)" if settings["exact"] else " or later")
    return ""


def unpacked(settings: dict) -> str:  # type: ignore[type-arg]
    """Return a folder with what the zip holds; it is made once for each content.

    While it runs it holds the folder, so that no other version's first run removes it.
    """
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    shared = os.path.join(base, "metricsmith")  # noqa: PTH118
    place = os.path.join(shared, "%(name)s-%(digest)s" % settings)  # noqa: PTH118, UP031
    if held(place):
        return place
    try:
        os.makedirs(shared, mode=0o700, exist_ok=True)  # noqa: PTH103
        made = tempfile.mkdtemp(prefix="." + settings["name"] + "-", dir=shared)
        try:
            unpack(made)
            os.rename(made, place)  # noqa: PTH104
        except OSError:  # full, or another run was faster, or somebody else has the name
            shutil.rmtree(made, ignore_errors=True)
        if held(place):
            remove_old(shared, settings["name"], place)
            return place
    except OSError:  # read-only: a temporary folder may be elsewhere
        pass
    made = tempfile.mkdtemp(prefix="metricsmith-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    unpack(made)
    return made


def held(place: str) -> bool:
    """Return whether a folder is there and our own, and hold it until this process ends."""
    if not is_own(place):
        return False
    try:
        descriptor = os.open(place, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        os.utime(place)
    except (BlockingIOError, FileNotFoundError):  # another run removes it
        return False
    except OSError:  # read-only, or a file system without locks: nobody can remove it then
        return True
    return is_own(place) and os.path.samestat(os.fstat(descriptor), os.stat(place))  # noqa: PTH116


def remove_old(shared: str, name: str, kept: str) -> None:
    """Remove what other versions have unpacked, where none has run for a day and none runs now."""
    ours = re.compile(r"(%(name)s-[0-9a-f]{16}|\.%(name)s-[a-z0-9_]{8})" % {"name": name})  # noqa: UP031
    for each in os.listdir(shared):  # noqa: PTH208
        place = os.path.join(shared, each)  # noqa: PTH118
        if place == kept or not ours.fullmatch(each) or not is_own(place):
            continue
        try:
            descriptor = os.open(place, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_mtime < time.time() - KEPT_S:
                    shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(descriptor)
        except OSError:  # it runs, or another removes it
            pass


def is_own(place: str) -> bool:
    """Return whether a folder is there that nobody else can have filled."""
    try:
        found = os.lstat(place)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022


def unpack(folder: str) -> None:
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)


if __name__ == "__main__":
    main()
