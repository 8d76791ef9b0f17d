from __future__ import annotations

import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from millpond.kernel import Secret
from millpond.ledger import Event, Ledger, LedgerTooNew, LedgerUnreachable
from millpond.ledger.tables import METADATA, SCHEMA_VERSION, VERSION_TABLE


def test_a_ledger_is_there_again_when_opened_again(ledger_url: str) -> None:
    """What was appended is read by the next who opens the ledger."""
    with Ledger.open(Secret(ledger_url)) as ledger:
        ledger.append([Event(kind="query.answered", actor="ann", payload={"n": 1})])
    with Ledger.open(ledger_url) as ledger:
        assert [recorded.event.payload for recorded in ledger.events()] == [{"n": 1}]


def test_migrations_make_the_tables_that_the_code_uses(ledger: Ledger) -> None:
    """The migrated schema and the tables in the code are the same, on both databases."""
    with ledger._database._engine.connect() as connection:
        found = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
        )  # fmt: skip
        assert found.get_current_revision() == SCHEMA_VERSION
        assert compare_metadata(found, METADATA) == []


def test_a_newer_ledger_is_left_alone(ledger_url: str) -> None:
    """A ledger that a newer Millpond migrated is refused, with what to do."""
    with Ledger.open(ledger_url) as ledger, ledger._database._engine.connect() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = 'r9999'"))
        connection.commit()
    with pytest.raises(LedgerTooNew, match="pip install --upgrade") as caught:
        Ledger.open(ledger_url)
    assert (caught.value.found, caught.value.known) == ("r9999", SCHEMA_VERSION)


def test_opening_a_ledger_again_is_quick_and_light(tmp_path: Path) -> None:
    """Opening an up-to-date ledger takes under 30 ms and does not load the migration library."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url).close()
    took = []
    for _ in range(5):
        start = time.perf_counter()
        Ledger.open(url).close()
        took.append(time.perf_counter() - start)
    assert min(took) < 0.03
    code = (
        f"import sys; from millpond.ledger import Ledger; Ledger.open({url!r}).close(); print('alembic' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_commits_survive_a_power_cut(tmp_path: Path) -> None:
    """A SQLite ledger writes ahead and waits for the disk at every commit."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger, ledger._database.read() as connection:
        modes = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("journal_mode", "synchronous")]
    assert modes == ["wal", 2]


@pytest.mark.parametrize("slashes", ["sqlite://", "sqlite:///"])
def test_a_sqlite_path_is_absolute_however_many_slashes(tmp_path: Path, slashes: str) -> None:
    """``sqlite:///abs/path`` and ``sqlite:////abs/path`` are the same ledger; its folder is made."""
    with Ledger.open(f"{slashes}{tmp_path}/new folder/100%.db") as ledger:
        assert ledger.place == f"sqlite://{tmp_path}/new folder/100%.db"
    assert (tmp_path / "new folder" / "100%.db").exists()


@pytest.mark.parametrize(
    "url",
    [
        "mysql://ann:hunter2@db/ledger",
        "sqlite:///ledger.db",
        "sqlite:///:memory:",
        "postgresql://ann:hunter2@127.0.0.1:1/ledger",
        "postgresql://ann@127.0.0.1:1/ledger?password=hunter2",
        "postgresql://ann:hunter2@127.0.0.1:port/ledger",
        "ann:hunter2@db",
    ],
)
def test_a_ledger_that_is_not_there_says_so_without_the_password(url: str) -> None:
    """A URL that leads nowhere is told with a next step; the password is in no line of the traceback."""
    with pytest.raises(LedgerUnreachable) as caught:
        Ledger.open(url)
    assert caught.value.hint
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.postgres
def test_a_wrong_password_is_not_repeated(postgres_url: str) -> None:
    """A refused login names the place and the server's reason, not the password."""
    wrong = postgres_url.replace("p%40nd-secret", "hunter2")
    with pytest.raises(LedgerUnreachable, match="authentication failed") as caught:
        Ledger.open(wrong)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.postgres
def test_a_place_hides_the_password(postgres_url: str) -> None:
    """An open ledger's place can be printed."""
    with Ledger.open(postgres_url) as ledger:
        assert "secret" not in ledger.place
        assert ledger.place.startswith("postgresql://postgres@127.0.0.1:")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A file of something else is named as such and left as it is."""
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database, however long it is" * 100)
    with pytest.raises(LedgerUnreachable, match="not a database"):
        Ledger.open(f"sqlite:///{path}")
    assert path.read_bytes().startswith(b"this is no database")
