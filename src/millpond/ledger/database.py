"""The one place that knows SQLite from PostgreSQL: opening, migrating, transactions, the head's lock, upserts.

Every write locks the head row first, so writers of one ledger go one after another and cannot deadlock.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event as hooks
from sqlalchemy.engine import URL, make_url

from millpond.kernel import Secret, now_us
from millpond.ledger.errors import LedgerTooNew, LedgerUnreachable
from millpond.ledger.tables import HEAD, SCHEMA_VERSION, VERSION_TABLE

BUSY_S_MAX: Final = 30
"""How long a writer waits for another one."""
_SQLITE: Final = "sqlite://"
_MIGRATION_LOCK: Final = 0x6D696C6C706F6E64  # "millpond" in ASCII, as a 64-bit advisory lock
_migrating: Final = threading.Lock()  # alembic keeps its context in module globals
_VERSION: Final = sa.table(VERSION_TABLE, sa.column("version_num"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The chain's end as read under the writers' lock."""

    seq: int
    hash: str
    at_us: int
    token: int
    """The last fencing token granted."""
    now_us: int
    """The database's clock on PostgreSQL, so that leases of several machines share one."""


class Database:
    """An open ledger database: read and write transactions, with errors told in Millpond's words."""

    def __init__(self, engine: sa.Engine, place: str, password: str | None) -> None:
        """Use :func:`open_database` instead."""
        self.place = place
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._engine = engine
        self._password = password
        self._writing = threading.Lock()  # threads of one process need not poll SQLite's lock
        clock: sa.ColumnElement[int] = sa.literal_column(
            "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
        ).label("now_us")
        columns = (HEAD.c.seq, HEAD.c.hash, HEAD.c.at_us, HEAD.c.token)
        self._lock_head = sa.select(*columns) if self.is_sqlite else sa.select(*columns, clock).with_for_update()

    @contextmanager
    def read(self, *, snapshot: bool = False, lenient: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction that only reads.

        Args:
            snapshot: every statement sees the same state (always so on SQLite).
            lenient: text that is no UTF-8 comes through as surrogates, instead of an error.
        """
        with self._told(), self._engine.connect() as connection:
            if snapshot and not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
            with connection.begin(), _lenient_text(connection) if lenient and self.is_sqlite else nullcontext():
                yield connection

    @contextmanager
    def write(self) -> Iterator[tuple[sa.Connection, Head]]:
        """Open a transaction that holds the writers' lock; commit at its end, or undo everything on an error."""
        with self._told(), self._writing, self._engine.connect() as connection:
            connection = connection.execution_options(ledger_writes=True)  # noqa: PLW2901
            with connection.begin():
                self._bound_waiting(connection)
                row: Any = connection.execute(self._lock_head).one()
                now = now_us() if self.is_sqlite else int(row.now_us)
                yield connection, Head(seq=row.seq, hash=row.hash, at_us=row.at_us, token=row.token, now_us=now)

    def upsert(self, table: sa.Table, update: Sequence[str]) -> sa.Insert:
        """Build ``INSERT ... ON CONFLICT (key) DO UPDATE SET`` the columns *update*."""
        keys = list(table.primary_key.columns)
        if self.is_sqlite:
            from sqlalchemy.dialects import sqlite

            lite = sqlite.insert(table)
            return lite.on_conflict_do_update(index_elements=keys, set_={name: lite.excluded[name] for name in update})
        from sqlalchemy.dialects import postgresql

        postgres = postgresql.insert(table)
        changed = {name: postgres.excluded[name] for name in update}
        return postgres.on_conflict_do_update(index_elements=keys, set_=changed)

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def migrate(self) -> None:
        """Bring the schema up to date; two processes that do so at once both succeed.

        Raises:
            LedgerTooNew: a newer Millpond made it.
        """
        with self._told(), self._engine.connect() as connection, connection.begin():
            found = _schema_version(connection)
        if found == SCHEMA_VERSION:
            return
        with _migrating, self._told(), self._engine.connect() as connection:
            connection = connection.execution_options(ledger_writes=True)  # noqa: PLW2901
            with connection.begin():
                self._bound_waiting(connection)
                if not self.is_sqlite:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                found = _schema_version(connection)
                if found != SCHEMA_VERSION:
                    self._upgrade(connection, found)

    def _upgrade(self, connection: sa.Connection, found: str | None) -> None:
        # alembic takes 0.15 s to import and only a new or old ledger needs it
        from alembic import command
        from alembic.config import Config
        from alembic.script import ScriptDirectory

        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if found is not None and found not in known:
            raise LedgerTooNew(self.place, found=found, known=SCHEMA_VERSION)
        command.upgrade(config, "head")

    def _bound_waiting(self, connection: sa.Connection) -> None:
        if not self.is_sqlite:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_S_MAX}s'")

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a database's failure into ours; mistakes in our own SQL come through as they are."""
        try:
            yield
        except (sa.exc.ProgrammingError, sa.exc.IntegrityError, sa.exc.DataError, sa.exc.NotSupportedError):
            raise
        except (sa.exc.DBAPIError, sa.exc.TimeoutError) as error:
            reason = str(getattr(error, "orig", None) or error).strip()
            if self._password:
                reason = reason.replace(self._password, "***")
            raise LedgerUnreachable(self.place, reason) from error


def open_database(url: str | Secret) -> Database:
    """Open the database at *url*, make it where it is missing, and migrate it.

    ``sqlite:///abs/path`` (always absolute) or ``postgresql://user@host/name``.

    Raises:
        LedgerUnreachable: no such database, or a URL of another kind.
        LedgerTooNew: a newer Millpond made it.
    """
    text = url.reveal() if isinstance(url, Secret) else url
    database = _sqlite(text.removeprefix(_SQLITE)) if text.startswith(f"{_SQLITE}/") else _postgres(text)
    try:
        database.migrate()
    except BaseException:
        database.close()
        raise
    return database


def _sqlite(path_text: str) -> Database:
    path = Path("/" + path_text.lstrip("/"))
    place = f"sqlite://{path}"
    hint = "A SQLite ledger's URL holds an absolute path: sqlite:///home/me/project/ledger.db"
    if len(path.parts) < 3 or not Path(*path.parts[:2]).exists():
        raise LedgerUnreachable(place, f"{path} is in no folder that exists", hint=hint)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerUnreachable(place, f"{path.parent} cannot be made: {error.strerror}") from error
    engine = sa.create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": BUSY_S_MAX, "isolation_level": None},
        hide_parameters=True,
    )
    hooks.listen(engine, "connect", _prepare_sqlite)
    hooks.listen(engine, "begin", _begin_sqlite)
    return Database(engine, place, None)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")  # WAL alone would lose the last commits at a power cut


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + BUSY_S_MAX
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:  # SQLite does not wait here while another process does the same
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("ledger_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _lenient_text(connection: sa.Connection) -> Iterator[None]:
    raw: Any = connection.connection.driver_connection
    raw.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        raw.text_factory = str


def _postgres(text: str) -> Database:
    scheme = text.partition(":")[0]
    hint = "A ledger's URL is sqlite:///abs/path or postgresql://user@host:5432/name"
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise LedgerUnreachable(f"{scheme}:...", "this is no kind of ledger that Millpond knows", hint=hint)
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # the cause would print the URL
        raise LedgerUnreachable(f"{scheme}:...", "its URL cannot be read", hint=hint) from None
    place = URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()
    options = {name: value for name, value in _CONNECTION.items() if name not in url.query}
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            connect_args=options,
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        install = 'Install the driver: pip install "millpond[postgres]"'
        raise LedgerUnreachable(place, f"{error.name} is not installed", hint=install) from error
    password = url.password if url.password is not None else url.query.get("password")
    return Database(engine, place, str(password) if password else None)


_CONNECTION: Final = {"connect_timeout": 10, "application_name": "millpond"}


def _schema_version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(sa.select(_VERSION.c.version_num)).scalar_one_or_none()
    return found
