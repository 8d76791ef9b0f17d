"""The same project with its lake and its files in a bucket."""

from __future__ import annotations

import itertools

import pytest

from millpond.flow import compact, vacuum
from millpond.kernel import Secret, Store
from projects import Project

pytestmark = pytest.mark.s3
DAYS = "SELECT day, orders, revenue FROM sales.daily_revenue ORDER BY day"
HEADER = "order_id,ordered_at,customer_email,amount"


class Bucket:
    """Where the shop delivers to."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def orders(self, name: str, *rows: str) -> None:
        """Deliver a file of orders."""
        self.store.write(f"in/orders-{name}.csv", "\n".join([HEADER, *rows, ""]).encode())


@pytest.fixture
def bucket(project: Project, s3_store: Store, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Move the project's lake and its deliveries to a bucket; credentials come from the environment."""
    lines = []
    for key, value in s3_store.options.items():
        if isinstance(value, Secret):
            monkeypatch.setenv("SHOP_SECRET", value.reveal())
            lines.append(f"  {key}: {{env: SHOP_SECRET}}")
        else:
            lines.append(f"  {key}: {json_text(value)}")
    project.edit("millpond.yaml", {"lake: .millpond/lake": f"lake: {s3_store.uri}/lake\ntime_travel: 0 days"})
    text = (project.root / "millpond.yaml").read_text()
    project.write("millpond.yaml", "\n".join([text.rstrip(), "storage:", *lines, ""]))
    location = {"location: products/sales/data/orders-*.csv": f"location: {s3_store.uri}/in/orders-*.csv"}
    project.edit("products/sales/orders.source.yaml", location)
    made = Bucket(s3_store)
    made.orders(
        "a",
        "1,2026-01-05 09:12:00,ada@example.com,40.00",
        "2,2026-01-05 17:40:00,grace@example.com,12.50",
        "3,2026-01-06 08:03:00,ada@example.com,-7.00",
        "4,2026-01-06 11:30:00,linus@example.com,99.90",
    )
    project.apply()
    return made


def json_text(value: str) -> str:
    """Write a setting so that YAML takes it for text."""
    return f'"{value}"'


def _days(project: Project) -> list[tuple[str, int, str]]:
    return [(str(row["day"]), row["orders"], str(row["revenue"])) for row in project.rows(DAYS)]


def test_a_project_in_a_bucket_works_as_on_disk(project: Project, bucket: Bucket) -> None:
    """Files from the bucket land, models are built, published and asked; a second run does nothing."""
    project.run()
    assert _days(project) == [("2026-01-05", 2, "52.50"), ("2026-01-06", 1, "99.90")]
    held = project.rows("SELECT source, row_number FROM sales.orders__quarantine")
    assert [row["row_number"] for row in held] == [3]
    assert str(held[0]["source"]).startswith("s3://")
    assert project.run().run_id is None
    assert not (project.root / ".millpond" / "lake").exists()
    bucket.orders("b", "9,2026-01-05 23:00:00,ada@example.com,1.00")
    project.run()
    assert _days(project)[0] == ("2026-01-05", 3, "53.50")


def test_upkeep_in_a_bucket(project: Project, bucket: Bucket) -> None:
    """Compact makes one file of many, vacuum takes the others away, and every row is still there."""
    project.run()
    for number in itertools.islice(itertools.count(10), 4):
        bucket.orders(f"d{number}", f"{number},2026-02-{number} 10:00:00,ada@example.com,5.00")
        project.run()
    before = _days(project)
    with project.open() as workspace:
        done = {table.dataset: table for table in compact(workspace, "prod", only=(), actor="owner", dry_run=False)}
        assert (done["sales.orders"].files_before, done["sales.orders"].files_after) == (5, 1)
        assert vacuum(workspace, actor="owner", dry_run=False, report=lambda _: None)
        pointer = workspace.ledger.pointers("prod")["sales.orders"]
        table = workspace.lake.table(pointer.table)
        kept = [file.path for file in table.store.list() if file.path.endswith(".parquet")]
        assert kept == [file.path for file in table.snapshot().files]
        assert list(workspace.lake.store.list("_runs")) == []
    assert _days(project) == before
    assert project.run().run_id is None
