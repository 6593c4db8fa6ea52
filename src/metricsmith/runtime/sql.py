"""SQL over the history through DuckDB: read-only, within limits, and without any file but the blocks'."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metricsmith.errors import (
    MissingExtra,
    QueryLimitExceeded,
    QueryRefused,
    QueryTimeout,
    StoreError,
)
from metricsmith.store.history_files import History, held_history
from metricsmith.store.sql_views import samples_sql, series_sql, text
from metricsmith.store.verify_block import verify_block

ROWS_AT_ONCE = 2048
"""DuckDB makes so many at a time."""
_SAFE = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",  # else a table may be a variable of this program
}


@dataclass(frozen=True, slots=True)
class SqlLimits:
    """What one query may take."""

    memory_bytes: int
    timeout_s: float
    threads: int | None = None


class SqlSession:
    """A connection with the views `samples` and `series`. For one thread."""

    def __init__(self, connection: Any, duckdb: Any, limits: SqlLimits, history: History) -> None:
        self._connection, self._duckdb, self._limits = connection, duckdb, limits
        self._history = history
        self._timed_out = False

    @contextmanager
    def query(self, sql: str) -> Iterator[tuple[list[str], Iterator[Sequence[Any]]]]:
        """Give the columns of a SELECT and its rows, as they are made.

        Raises:
            QueryRefused: it is none, or has mistakes.
            QueryTimeout: it takes too long.
            QueryLimitExceeded: it needs more memory.
            StoreError: a block is damaged.
        """
        timer = threading.Timer(self._limits.timeout_s, self._end)
        timer.start()
        try:
            with self._errors():
                self._refuse_others(sql)
                self._connection.execute(sql)
                titles = [column[0] for column in self._connection.description]
            yield titles, self._rows()
        finally:
            timer.cancel()

    def _rows(self) -> Iterator[Sequence[Any]]:
        while True:
            with self._errors():
                rows = self._connection.fetchmany(ROWS_AT_ONCE)
            if not rows:
                return
            yield from rows

    def _refuse_others(self, sql: str) -> None:
        """Raise unless it is one SELECT: others could write, were it only over the blocks themselves."""
        kinds = [each.type for each in self._connection.extract_statements(sql)]
        if len(kinds) != 1 or kinds[0] != self._duckdb.StatementType.SELECT:
            got = ", ".join(str(kind).rpartition(".")[2] for kind in kinds) or "nothing"
            raise QueryRefused(f"got {got}, wanted one SELECT: the history is only read")

    def _end(self) -> None:
        self._timed_out = True
        self._connection.interrupt()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        known = self._duckdb
        try:
            yield
        except known.InterruptException:
            if not self._timed_out:
                raise KeyboardInterrupt from None
            message = f"got no end in {self._limits.timeout_s:g} s (--timeout sets another limit)"
            raise QueryTimeout(message) from None
        except known.OutOfMemoryException as error:
            raise QueryLimitExceeded(
                f"{_first_line(error)} (--memory sets another limit)", "samples"
            ) from None
        except (
            known.ParserException,
            known.BinderException,
            known.CatalogException,
            known.PermissionException,
            known.ConversionException,
        ) as error:
            raise QueryRefused(str(error).strip()) from None
        except known.Error as error:  # its many words for a file that it cannot read do not name the file
            if damage := _damage(self._history):
                raise StoreError(damage) from None
            if ".parquet" in str(error):
                raise StoreError(f"{_first_line(error)} (run it again)") from None
            raise QueryRefused(str(error).strip()) from None
        except RuntimeError as error:
            if "interrupted" in str(error):  # what DuckDB makes of Ctrl-C
                raise KeyboardInterrupt from None
            raise


@contextmanager
def open_sql(folder: Path, limits: SqlLimits, check: bool = False) -> Iterator[SqlSession]:
    """Give a session over the blocks of a data directory, which an agent may use meanwhile.

    DuckDB knows nothing of the blocks' checksums, and of wrong bytes it makes wrong values: with `check`
    all blocks are held against theirs before.

    Raises:
        MissingExtra: DuckDB is not installed.
        StoreError: it is no data directory, or a block is found to be damaged.
    """
    duckdb = _duckdb()
    with held_history(folder) as history:
        if check and (damage := _damage(history)):
            raise StoreError(damage)
        config = _SAFE | {"memory_limit": f"{limits.memory_bytes}B"}
        if limits.threads is not None:
            config["threads"] = str(limits.threads)
        connection = duckdb.connect(":memory:", config=config)
        try:
            connection.execute(f"CREATE VIEW samples AS {samples_sql(history)}")
            connection.execute(f"CREATE VIEW series AS {series_sql(history)}")
            files = [text(str(f)) for block in history.blocks for f in (block.samples, block.series)]
            for setting in (
                f"allowed_paths = [{', '.join(files)}]",
                "TimeZone = 'UTC'",  # as the views' times are: now() is compared with them
                "temp_directory = ''",
                "enable_external_access = false",
                "lock_configuration = true",
            ):
                connection.execute(f"SET {setting}")
            yield SqlSession(connection, duckdb, limits, history)
        finally:
            connection.close()


def _damage(history: History) -> str:
    """Return the first damage that a block has, empty where all are whole."""
    for block in history.blocks:
        for fault in verify_block(block.folder, None, lambda _: None):
            file = fault.file.partition("/")[2]  # without the folder of links
            part = f", {fault.part}" if fault.part else ""
            hint = "PromQL and `store export` leave it out; `metricsmith store verify` says what to do"
            return f"{file}{part}: {fault.what} ({hint})"
    return ""


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise MissingExtra(
            "SQL needs DuckDB, which is not installed: pip install 'metricsmith[sql]'"
        ) from None
    return duckdb


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
