"""`metricsmith integration build`, `install`, `verify`: packages of own integrations."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.exits import Exit
from metricsmith.cli.integration_report import finish
from metricsmith.integration.package.targets import TARGETS, Form

if TYPE_CHECKING:
    from metricsmith.integration.package.install import Installed, Place
    from metricsmith.integration.package.layout import Built

BUILD_EXAMPLES = """Examples:

metricsmith integration build queue-depth

metricsmith integration build --version 1.2.0 --target linux-amd64 --target wheel
"""
INSTALL_EXAMPLES = """Examples:

metricsmith integration install queue-depth-0.1.0-linux-amd64.tar.gz --into /etc/metricsmith

metricsmith integration install queue-depth-0.1.0-linux-amd64.tar.gz --newrelic --dry-run
"""
VERIFY_EXAMPLES = """Examples:

metricsmith integration verify queue-depth-0.1.0-linux-amd64.tar.gz

metricsmith integration verify /etc/metricsmith/integrations/queue-depth/current
"""
JsonOption = Annotated[bool, typer.Option("--json", metavar="", help="Print what was done as JSON.")]


def build(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of the project.")] = Path(),
    version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Version of the packages.  [that of integration.yaml]"),
    ] = None,
    target: Annotated[
        list[Form] | None,
        typer.Option(help="What for; may be repeated.  [all four machines]", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder to write to.  [DIR/dist]", show_default=False)
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(metavar="3.N", help="Python that libraries are for.  [the one that runs this]"),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make packages that others install: the same sources give the same bytes.

    One .tar.gz for each machine, with the libraries of pyproject.toml or requirements.lock
    inside, as pip finds them for that machine; also a folder for an image, and a wheel.
    """
    from dataclasses import replace

    from metricsmith.integration.package.beside import looks_beside_itself
    from metricsmith.integration.package.build import Order
    from metricsmith.integration.package.build import build as make
    from metricsmith.integration.project import read_project

    project = read_project(folder)
    wanted = version or project.declaration.integration.version
    _check("--version", wanted, _is_version(wanted), "a version such as 1.2.3")
    forms = tuple(dict.fromkeys(target or TARGETS))
    order = Order(forms, wanted, out=out if out is not None else folder / "dist")
    if python is not None:
        _check("--python", python, _is_python(python), "a version such as 3.12")
        order = replace(order, python=python)
    with _refusals(str(folder)):
        remarks = [] if forms == (Form.WHEEL,) else looks_beside_itself(project)
        built = make(project, order, _progress(as_json))
    if as_json:
        typer.echo(json.dumps([each.json() for each in built], indent=2))
    else:
        for each in built:
            typer.echo(_line(each))
    for remark in remarks:
        typer.echo(f"note: {remark}", err=True)
    if wanted != project.declaration.integration.version and project.kind.value != "python":
        typer.echo(f"note: {project.name} itself must say version {wanted}, or `verify` fails", err=True)


def install(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Package: NAME-VERSION-TARGET.tar.gz.")],
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of an agent's configuration.", show_default=False),
    ] = None,
    newrelic: Annotated[
        bool, typer.Option("--newrelic", metavar="", help="Into the folders of New Relic's agent.")
    ] = False,
    prefix: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --newrelic: a folder that stands for /.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar="", help="Check the package, tell what would be done.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check a package and install it, all of it or nothing; an older one goes back.

    A file in integrations.d that somebody has changed is kept; the new one is then beside it.
    """
    from metricsmith.integration.package.install import agent_place, newrelic_place
    from metricsmith.integration.package.install import install as put

    if (into is None) == (not newrelic):
        raise typer.BadParameter("got both or none of --into and --newrelic, wanted one of them")
    if prefix is not None and not newrelic:
        raise typer.BadParameter("got --prefix without --newrelic, wanted --into DIR alone")
    place = newrelic_place(prefix or Path("/")) if into is None else agent_place(into)
    with _refusals(str(file)):
        done = put(file, place, dry=dry_run)
    if as_json:
        typer.echo(json.dumps(done.json(), indent=2))
    else:
        _tell(done, place)


def verify(
    path: Annotated[
        Path, typer.Argument(metavar="FILE|DIR", help="Package, or the folder that it was installed in.")
    ],
    collections: Annotated[
        int, typer.Option(metavar="N", min=0, max=1_000_000, help="Collections that look for leaks.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print the report as JSON.")] = False,
) -> None:
    """Run a package on this machine under the contract harness, with its real inputs."""
    from metricsmith.integration.package.verify import verify as examine

    with _refusals(str(path)):
        report = examine(path, collections)
    finish(report, as_json)


def _is_version(text: str) -> bool:
    from pydantic import ValidationError

    from metricsmith.integration.declaration import Identity

    try:
        Identity.model_validate({"name": "x", "kind": "exec", "command": ["x"], "version": text})
    except ValidationError:
        return False
    return True


def _is_python(text: str) -> bool:
    major, _, minor = text.partition(".")
    return major == "3" and minor.isascii() and minor.isdigit() and 11 <= int(minor) < 100


def _check(option: str, got: str, good: bool, wanted: str) -> None:
    if not good:
        raise typer.BadParameter(f'{option}: got "{got[:40]}", wanted {wanted}')


def _progress(as_json: bool) -> Callable[[str], None]:
    return lambda text: None if as_json else typer.echo(text, err=True)


def _line(built: Built) -> str:
    count = built.libraries
    libraries = f", {count} librar{'y' if count == 1 else 'ies'}" if count else ""
    return f"{built.path}  {built.bytes:,} bytes{libraries}  sha256 {built.sha256}"


def _tell(done: Installed, place: Place) -> None:
    what = "would be installed" if done.dry else "installed"
    former = f" in place of {done.former}" if done.former else ""
    typer.echo(f"{done.name} {done.version}: {what}{former} in {done.folder}")
    typer.echo(f"{done.file}: {done.file_outcome}")
    if done.file_outcome == "kept":
        typer.echo(f"  somebody has changed it; what comes with {done.version} is in {done.file.name}.sample")
    if done.removed:
        typer.echo(f"removed: {', '.join(done.removed)}")
    if not done.dry and place.agent == "metricsmith":
        typer.echo(f"Read by a source of `type: exec` with `files: {place.files}/*.yml`")


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Tell what could not be read or written in one line; errors of our own say what they are about."""
    from metricsmith.integration.package.layout import PackageError

    try:
        yield
    except PackageError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or what}: {error.strerror}"
        what = ""
    else:
        return
    typer.echo(f"error: {what}: {message}" if what else f"error: {message}", err=True)
    raise typer.Exit(Exit.FAILURE)
