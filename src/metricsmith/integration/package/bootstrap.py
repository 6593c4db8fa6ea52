"""First file of a packaged program, `__main__.py` in its zip. Runs under any Python 3, to say which it needs.

C libraries and data files must be real files: when there are any, the zip is unpacked once into the
user's cache, else, where there is none to write to, into a temporary folder for this run.
"""

import atexit
import json
import os
import shutil
import stat
import sys
import tempfile
import zipfile

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
    """Return a folder with what the zip holds; it is made once for each content."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    place = os.path.join(base, "metricsmith", "%(name)s-%(digest)s" % settings)  # noqa: PTH118, UP031
    if is_own(place):
        return place
    try:
        os.makedirs(os.path.dirname(place), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120
        made = tempfile.mkdtemp(dir=os.path.dirname(place))  # noqa: PTH120
        unpack(made)
        try:
            os.rename(made, place)  # noqa: PTH104
        except OSError:  # another run was faster, or somebody else has the name
            shutil.rmtree(made)
        if is_own(place):
            return place
    except OSError:  # read-only or full: a temporary folder may be elsewhere
        pass
    made = tempfile.mkdtemp(prefix="metricsmith-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    unpack(made)
    return made


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
