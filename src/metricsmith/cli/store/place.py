"""Where the samples are that a command works on: a data directory, or the agent that uses it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from metricsmith.cli.client import DEFAULT_URL, URL_VARIABLE, Unreachable, fetch, http_address
from metricsmith.errors import ExecutionError, StoreError

if TYPE_CHECKING:
    from metricsmith.config.load import Configuration
    from metricsmith.journal.config import JournalConfig
    from metricsmith.store.settings import EmbeddedConfig

HERE = Path("data")
"""Where an agent without a configuration keeps its samples."""
_WANTED = "wanted --path DIR, -c metricsmith.yaml, or --url of an agent on this machine"
Folder = Annotated[
    Path | None,
    typer.Option("--path", metavar="DIR", help="Data directory.", exists=True, file_okay=False),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Configuration: data directory, retention, address."),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar=URL_VARIABLE, help=f"Address of the agent. [default: {DEFAULT_URL}]"
    ),
]
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Place:
    """A data directory, if one is known here, and the address of the agent that may use it."""

    folder: Path | None
    url: str
    configuration: Configuration | None = None

    def in_use(self) -> bool:
        """Return whether some process holds the directory."""
        from metricsmith.store.datadir import holder

        return holder(self.needed_folder()) is not None

    def agent(self) -> str | None:
        """Return the address of the agent that is to be asked; None when the directory can be opened here.

        Who holds the directory and who answers at the address may be two: only one that says that it keeps
        its samples there is asked.

        Raises:
            Unreachable: nobody answers.
            StoreError: the agent at the address keeps its samples elsewhere.
        """
        from metricsmith.store.datadir import holder

        if self.folder is None:
            return self.url
        process = holder(self.folder)
        if process is None:
            return None
        try:
            theirs = _told_folder(self.url)
        except Unreachable as error:
            raise Unreachable(f"{self.folder} is used by process {process}, and {error}") from None
        except StoreError:
            raise StoreError(
                f"{self.folder} is used by process {process}, and the agent at {self.url} keeps no samples"
                " in a directory, or cannot say where (name the agent that uses it with --url)"
            ) from None
        if not _same(theirs, self.folder):
            raise StoreError(
                f"{self.folder} is used by process {process}, and the agent at {self.url} keeps its samples"
                f" in {theirs} (name the agent that uses it with --url, or no directory to mean that one)"
            )
        return self.url

    def located(self) -> Place:
        """Return it with a directory: where none was named, with that of the agent.

        Raises:
            Unreachable: nobody answers.
            StoreError: the agent keeps its samples elsewhere than in a directory that can be read from here.
        """
        return self if self.folder is not None else replace(self, folder=_folder_of_agent(self.url))

    def refuse_others(self, new: bool = False) -> None:
        """Refuse a folder that is no data directory: to open it would make one of it.

        `new` lets an empty folder and one that is still to be made pass.

        Raises:
            StoreError: there is nothing of a data directory in it.
        """
        from metricsmith.store.datadir import DataDir, version_of

        if self.folder is None or version_of(self.folder) or DataDir(self.folder).manifest.exists():
            return
        if not new:
            raise StoreError(f"got {self.folder}, wanted a data directory or a snapshot (check --path or -c)")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise StoreError(
                f"got {self.folder} with other files in it, wanted a data directory or an empty folder"
            )

    def needed_folder(self) -> Path:
        """Return the directory.

        Raises:
            typer.BadParameter: none was named.
        """
        if self.folder is None:
            raise typer.BadParameter("wanted the data directory: --path DIR, or -c metricsmith.yaml")
        return self.folder

    def journal(self) -> JournalConfig | None:
        """Return the settings of the journal, None for the defaults."""
        return None if self.configuration is None else self.configuration.settings.journal

    def settings(self) -> EmbeddedConfig:
        """Return the settings of the store: without a configuration nothing is too old."""
        from metricsmith.runtime.offline import KEPT_FOR_EVER_MS
        from metricsmith.store.settings import EmbeddedConfig

        folder = self.needed_folder()
        if self.configuration is None:
            return EmbeddedConfig(path=str(folder)).model_copy(update={"retention": KEPT_FOR_EVER_MS})
        config = self.configuration.store.config
        assert isinstance(config, EmbeddedConfig)
        return config


def find_place(folder: Path | None, config: Path | None, url: str | None) -> Place:
    """Return what `--path`, `-c` and `--url` say.

    Raises:
        ConfigError: the configuration cannot be used.
        StoreError: its samples are not kept on this machine.
        typer.BadParameter: a directory is named twice.
    """
    if config is None:
        return Place(folder, http_address(url or DEFAULT_URL))
    if folder is not None:
        raise typer.BadParameter("got --path and -c, wanted one of them")
    from metricsmith.config import load_file

    loaded = load_file(config)
    if loaded.store.type != "embedded":
        raise StoreError(f"{config}: got storage.type {loaded.store.type}, wanted embedded")
    address = http_address(url or loaded.settings.server.local_url())
    return Place(Path(loaded.settings.storage.path), address, loaded)


def find_folder(folder: Path | None, config: Path | None, url: str | None) -> Place:
    """Return what `--path`, `-c` and `--url` say, with a directory in any case.

    Where none is named it is ./data, and where that is none, the directory of
    the agent at the address.

    Raises:
        ConfigError, StoreError, typer.BadParameter: as `find_place`; or there is no directory to be found.
    """
    if folder is not None or config is not None:
        return find_place(folder, config, url)
    from metricsmith.store.datadir import version_of

    address = http_address(url or DEFAULT_URL)
    try:
        there = version_of(HERE) is not None
    except OSError:  # another user's, or no folder
        there = False
    try:
        return Place(HERE if there else None, address).located()
    except Unreachable as error:
        raise StoreError(f"got no data directory at {HERE}, {_WANTED}: {error}") from None


def _told_folder(url: str) -> Path:
    """Return where an agent says that it keeps its samples."""
    nowhere = f"got no data directory of the agent at {url}, {_WANTED}"
    try:
        settings = fetch(url, "/api/v1/status/flags", {})
        began_in = fetch(url, "/api/v1/status/runtimeinfo", {})["CWD"]
        kind, folder = settings["storage.type"], Path(began_in, settings["storage.path"])
    except (ExecutionError, KeyError):
        raise StoreError(nowhere) from None
    if kind != "embedded":
        raise StoreError(f"got storage.type {kind} of the agent at {url}, wanted embedded, or --path DIR")
    if not folder.is_absolute():  # somebody has removed the folder that it was started in
        raise StoreError(nowhere)
    return folder


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # another machine's, or another user's
        return False


def _folder_of_agent(url: str) -> Path:
    from metricsmith.store.datadir import holder

    folder = _told_folder(url)
    if not os.access(folder / "LOCK", os.R_OK) or holder(folder) is None:
        raise StoreError(
            f"the agent at {url} keeps its samples in {folder}, which cannot be read from here"
            " (run this command on its machine and as its user, or name another directory with --path)"
        )
    return folder
