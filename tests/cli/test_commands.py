"""The command line, as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

REFUSED, NOT_APPLIED, FAILED = 6, 3, 4


class Cli:
    """Runs the real command in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "millpond", *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    def json(self, *arguments: str, code: int = 0):
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """A project made by ``init``, applied and run, as the tutorial does it."""
    folder = tmp_path_factory.mktemp("cli")
    Cli(folder)("init", "shop")
    cli = Cli(folder / "shop")
    cli("apply")
    cli("run")
    return cli


def test_the_first_minutes(tmp_path: Path) -> None:
    """init, check, plan, apply, run and query work one after the other, and say what comes next."""
    assert "millpond apply" in Cli(tmp_path)("init", "first")
    cli = Cli(tmp_path / "first")
    assert "1 sources, 1 models" in cli("check")
    assert "sales.orders" in cli("plan")
    assert "Next: millpond run" in cli("apply")
    assert "Published" in cli("run")
    assert "52.50" in cli("query", "SELECT * FROM sales.daily_revenue")
    assert "Nothing to do" in cli("run")
    assert "Nothing to change" in cli("plan")


def test_init_never_overwrites(tmp_path: Path) -> None:
    """A second init in the same folder is refused and changes nothing."""
    Cli(tmp_path)("init", "again")
    (tmp_path / "again/millpond.yaml").write_text("name: mine\n")
    assert "is there already" in Cli(tmp_path)("init", "again", code=2)
    assert (tmp_path / "again/millpond.yaml").read_text() == "name: mine\n"


def test_outside_a_project_the_error_says_how_to_begin(tmp_path: Path) -> None:
    """No stack trace, exit code 2, and the next command to type."""
    said = Cli(tmp_path)("run", code=2)
    assert "millpond init" in said


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """A misspelt key and a wrong column are both named, with file and line, in one go."""
    Cli(tmp_path)("init", "typos")
    cli = Cli(tmp_path / "typos")
    source = tmp_path / "typos/products/sales/orders.source.yaml"
    source.write_text(source.read_text().replace("format: csv", "fromat: csv"))
    contract = tmp_path / "typos/products/sales/contract.odcs.yaml"
    contract.write_text(contract.read_text().replace("logicalType: date\n", "logicalType: dat\n"))
    said = cli("check", code=2)
    assert "orders.source.yaml:1" in said
    assert "format" in said
    assert "contract.odcs.yaml:" in said
    found = cli.json("check", code=2)["error"]
    assert found["code"] == "definitions-invalid"
    assert len(found["problems"]) >= 2


def test_run_without_apply_is_refused(tmp_path: Path) -> None:
    """The exit code and the message say that apply comes first."""
    Cli(tmp_path)("init", "early")
    assert "millpond apply" in Cli(tmp_path / "early")("run", code=NOT_APPLIED)


def test_a_query_is_masked_for_whom_it_should_be(shop: Cli) -> None:
    """The owner sees addresses; the analyst sees them masked, and is told so."""
    sql = "SELECT customer_email FROM sales.orders ORDER BY order_id LIMIT 1"
    assert "ada@example.com" in shop("query", sql)
    masked = shop("query", sql, "--as", "ana")
    assert "ada@" not in masked
    assert "masked for you" in masked


def test_who_may_not_read_gets_a_refusal_that_is_recorded(shop: Cli) -> None:
    """The analyst may not read the quarantine: exit code, no rows, and an event in the record."""
    said = shop("query", "SELECT raw FROM sales.orders__quarantine", "--as", "ana", code=REFUSED)
    assert "-7.00" not in said
    log = shop.json("access", "log")
    assert log[0]["event"]["kind"] == "query.refused"
    assert log[0]["event"]["actor"] == "ana"


def test_answers_go_to_files_by_their_ending(shop: Cli, tmp_path: Path) -> None:
    """Parquet, CSV, Arrow and NDJSON hold the same rows; another ending is refused and leaves nothing."""
    import pyarrow.csv
    import pyarrow.ipc
    import pyarrow.parquet

    sql = "SELECT order_id, amount FROM sales.orders ORDER BY order_id"
    for ending in ("parquet", "csv", "arrow", "ndjson"):
        shop("query", sql, "--out", str(tmp_path / f"orders.{ending}"))
    assert pyarrow.parquet.read_table(tmp_path / "orders.parquet").num_rows == 3
    assert pyarrow.csv.read_csv(tmp_path / "orders.csv").column("order_id").to_pylist() == [1, 2, 4]
    with pyarrow.ipc.open_file(tmp_path / "orders.arrow") as file:
        assert file.read_all().num_rows == 3
    lines = (tmp_path / "orders.ndjson").read_text().splitlines()
    assert json.loads(lines[0]) == {"order_id": 1, "amount": "40.00"}
    shop("query", sql, "--out", str(tmp_path / "orders.xls"), code=1)
    assert not (tmp_path / "orders.xls").exists()


def test_catalog_shows_searches_and_traces(shop: Cli) -> None:
    """A dataset by its short name, a word in a description, and a column back to its file."""
    assert shop.json("catalog", "show", "daily_revenue")["dataset"]["name"] == "sales.daily_revenue"
    assert shop.json("catalog", "search", "revenue")[0]["dataset"] == "sales.daily_revenue"
    up = shop.json("catalog", "lineage", "daily_revenue.revenue", "--direct")["up"]
    assert [edge["from"] for edge in up] == [
        "sales.orders.amount",
        "file:products/sales/data/orders-*.csv.amount",
    ]
    down = shop.json("catalog", "lineage", "orders.amount", "--down")["down"]
    assert down[0]["to"] == "sales.daily_revenue.revenue"
    assert "Did you mean" in shop("catalog", "show", "daily_revenu", code=2)


def test_the_record_verifies_and_is_exported(shop: Cli, tmp_path: Path) -> None:
    """Verification passes on the ledger and on an export, and fails on an export in which one byte changed."""
    assert shop.json("audit", "verify")["broken_at"] is None
    export = tmp_path / "record.jsonl"
    shop("audit", "export", str(export))
    shop("audit", "verify", str(export))
    export.write_text(export.read_text().replace('"owner"', '"other"', 1))
    assert shop.json("audit", "verify", str(export), code=7)["broken_at"] is not None


def test_rebuilding_the_ledger_changes_nothing(shop: Cli) -> None:
    """After the projections are made again, a run still has nothing to do."""
    before = shop.json("catalog", "list")
    shop("ledger", "rebuild")
    assert shop.json("catalog", "list") == before
    assert shop.json("run")["run_id"] is None


def test_a_plan_file_is_followed_or_refused(tmp_path: Path) -> None:
    """Apply takes the file while the world is as it was, and refuses when a definition changed since."""
    Cli(tmp_path)("init", "planned")
    cli = Cli(tmp_path / "planned")
    cli("plan", "--out", "plan.json")
    model = tmp_path / "planned/products/sales/daily_revenue.sql"
    text = model.read_text()
    model.write_text(text.replace("count(*)", "count(order_id)"))
    assert "changed since" in cli("apply", "plan.json", code=NOT_APPLIED)
    model.write_text(text)
    assert cli.json("apply", "plan.json")["changed"] == 2


def test_a_breaking_change_stops_ci(tmp_path: Path) -> None:
    """Dropping a column that is promised exits with 3 under --fail-on breaking, and apply wants to be told."""
    Cli(tmp_path)("init", "broken")
    cli = Cli(tmp_path / "broken")
    cli("apply")
    cli("run")
    contract = tmp_path / "broken/products/sales/contract.odcs.yaml"
    contract.write_text(contract.read_text().partition("      - name: revenue\n")[0])
    model = tmp_path / "broken/products/sales/daily_revenue.sql"
    model.write_text(model.read_text().replace(",\n  sum(amount) AS revenue", ""))
    said = cli("plan", "--fail-on", "breaking", code=3)
    assert "revenue" in said
    assert "--allow-breaking" in cli("apply", code=3)
    cli("apply", "--allow-breaking")
    cli("run")
    assert "revenue" not in cli("query", "SELECT * FROM sales.daily_revenue")


def test_quality_shows_the_rows_of_a_failed_run(tmp_path: Path) -> None:
    """A failing audit leaves readers where they were, and shows what was wrong."""
    Cli(tmp_path)("init", "failing")
    cli = Cli(tmp_path / "failing")
    cli("apply")
    cli("run")
    data = tmp_path / "failing/products/sales/data/orders-2026-02.csv"
    data.write_text("order_id,ordered_at,customer_email,amount\n1,2026-02-01 10:00:00,a@example.com,1.00\n")
    assert "published nothing" in cli("run", code=FAILED)
    view = cli.json("quality", "show", "orders")
    assert view["failed"][0]["rule"] == "primary key"
    assert cli.json("query", "SELECT count(*) AS n FROM sales.orders") == {"n": 3}


def test_model_tests_fail_with_a_difference(tmp_path: Path) -> None:
    """A wrong expectation exits with 4, shows both rows, and lands in the JUnit file."""
    Cli(tmp_path)("init", "tested")
    cli = Cli(tmp_path / "tested")
    assert "1 passed, 0 failed" in cli("test")
    case = tmp_path / "tested/products/sales/tests/daily_revenue.yaml"
    case.write_text(case.read_text().replace("orders: 2,", "orders: 3,"))
    said = cli("test", "--junit", "junit.xml", code=FAILED)
    assert "0 passed, 1 failed" in said
    assert 'failures="1"' in (tmp_path / "tested/junit.xml").read_text()
