"""What a run does, and does not."""

from __future__ import annotations

import pytest

from millpond.flow import NotApplied, RunFailed, RunOptions, decisions
from millpond.ingest import SourceFileChanged

DAYS = "SELECT day, orders, revenue FROM sales.daily_revenue ORDER BY day"


def test_a_first_run_lands_builds_and_publishes_all(ran) -> None:
    """One run takes the file in, quarantines the row that breaks the contract, builds the model and publishes both."""
    days = [(str(row["day"]), row["orders"], str(row["revenue"])) for row in ran.rows(DAYS)]
    assert days == [("2026-01-05", 2, "52.50"), ("2026-01-06", 1, "99.90")]
    bad = ran.rows("SELECT row_number, rules, raw FROM sales.orders__quarantine")
    assert [(row["row_number"], row["rules"]) for row in bad] == [(3, ["amount.minimum"])]
    assert "-7.00" in bad[0]["raw"]


def test_a_run_refuses_what_was_not_applied(project) -> None:
    """Files that were never applied are not run, and the message says what to do."""
    with pytest.raises(NotApplied, match="millpond apply"):
        project.run()


def test_a_second_run_does_nothing(ran) -> None:
    """Where neither files nor definitions changed there is no run at all."""
    again = ran.run()
    assert again.run_id is None
    assert {step.state for step in again.steps} == {"unchanged"}


def test_only_the_days_that_changed_are_computed(ran) -> None:
    """A new file with one new day adds that day; the others' files stay as they are."""
    ran.orders("2026-02", (5, "2026-02-01 10:00:00", "ada@example.com", "5.00"))
    result = ran.run()
    built = {step.dataset: step for step in result.steps}
    assert built["sales.daily_revenue"].rows_written == 1
    assert "2026-02-01" in built["sales.daily_revenue"].note
    assert [str(row["day"]) for row in ran.rows(DAYS)] == ["2026-01-05", "2026-01-06", "2026-02-01"]


def test_a_late_row_changes_the_day_it_belongs_to(ran) -> None:
    """A row of an old day in a new file is added to that day's figures."""
    ran.orders("2026-01-late", (9, "2026-01-05 23:00:00", "ada@example.com", "1.00"))
    ran.run()
    assert [(row["orders"], str(row["revenue"])) for row in ran.rows(DAYS)] == [(3, "53.50"), (1, "99.90")]


def test_a_failing_audit_publishes_nothing(ran) -> None:
    """Rows that break a key stop the run; readers see all tables as they were, and are told."""
    ran.orders("2026-03", (1, "2026-03-01 10:00:00", "ada@example.com", "5.00"))
    with pytest.raises(RunFailed, match="primary key"):
        ran.run()
    assert len(ran.rows(DAYS)) == 2
    assert ran.rows("SELECT count(*) AS n FROM sales.orders")[0]["n"] == 3


def test_a_failed_load_is_taken_in_again_when_it_is_mended(ran) -> None:
    """A file that stopped a run counts as not loaded."""
    ran.orders("2026-03", (1, "2026-03-01 10:00:00", "ada@example.com", "5.00"))
    with pytest.raises(RunFailed):
        ran.run()
    ran.orders("2026-03", (10, "2026-03-01 10:00:00", "ada@example.com", "5.00"))
    ran.run()
    assert ran.rows("SELECT count(*) AS n FROM sales.orders")[0]["n"] == 4


def test_explain_says_why(ran) -> None:
    """Each step's decision has its reason, before anything is done."""
    ran.orders("2026-02", (5, "2026-02-01 10:00:00", "ada@example.com", "5.00"))
    with ran.open() as workspace:
        decided = decisions(workspace, workspace.environment("prod"), RunOptions())
    assert decided["sales.orders"].action == "land"
    assert decided["sales.orders"].reason == "1 new file"
    assert decided["sales.daily_revenue"].reason == "after sales.orders"


def test_a_changed_model_is_built_beside_the_old_one(ran) -> None:
    """A changed SELECT fills a new table; the old one is there for a rollback."""
    ran.edit("products/sales/daily_revenue.sql", {"sum(amount) AS revenue": "sum(amount) * 2 AS revenue"})
    with ran.open() as workspace:
        before = workspace.ledger.pointers("prod")["sales.daily_revenue"]
    ran.apply(allow_breaking=True)
    ran.run()
    with ran.open() as workspace:
        after = workspace.ledger.pointers("prod")["sales.daily_revenue"]
        assert after.table != before.table
        assert workspace.snapshot(before).rows == 2
    assert str(ran.rows(DAYS)[0]["revenue"]) == "105.00"


def test_formatting_and_comments_rebuild_nothing(ran) -> None:
    """The same SELECT written differently is the same definition."""
    ran.edit("products/sales/daily_revenue.sql", {"SELECT\n": "-- the figures of a day\nselect\n"})
    ran.apply()
    assert ran.run().run_id is None


def test_a_new_rule_is_judged_on_the_data_that_is_there(ran) -> None:
    """Rules that change are checked again without computing anything."""
    ran.edit(
        "products/sales/contract.odcs.yaml",
        {"description: How many orders.": "description: How many orders.\n        logicalTypeOptions: {minimum: 1}"},
    )
    ran.apply()
    result = ran.run()
    steps = {step.dataset: step for step in result.steps}
    assert steps["sales.daily_revenue"].decision.action == "audit"
    assert any(check.rule == "orders.minimum" for check in steps["sales.daily_revenue"].checks)


def test_a_file_that_grew_after_it_was_appended_is_refused(ran) -> None:
    """Taking it in again would double its rows; the message says what to do instead."""
    ran.orders("2026-01", (1, "2026-01-05 09:12:00", "ada@example.com", "40.00"))
    with pytest.raises(SourceFileChanged, match="mode: replace"):
        ran.run()
    assert ran.rows("SELECT count(*) AS n FROM sales.orders")[0]["n"] == 3


def test_a_replaced_source_does_not_quarantine_a_row_twice(ran) -> None:
    """In mode replace an unchanged bad row is in the quarantine once, however often its file is taken in."""
    ran.edit("products/sales/orders.source.yaml", {"format: csv": "format: csv\nmode: replace"})
    ran.apply(allow_breaking=True)
    ran.run()
    ran.orders("2026-02", (5, "2026-02-01 10:00:00", "ada@example.com", "5.00"))
    ran.run()
    assert ran.rows("SELECT count(*) AS n FROM sales.orders")[0]["n"] == 4
    assert ran.rows("SELECT count(*) AS n FROM sales.orders__quarantine")[0]["n"] == 1
