"""Environments are maps of pointers."""

from __future__ import annotations

import pytest

from millpond.flow import NothingToRollBack, difference, rollback

COUNT = "SELECT count(*) AS n FROM sales.orders"


def test_a_development_environment_costs_nothing_until_it_differs(ran) -> None:
    """After apply, dev shows production's tables: no run, no new file."""
    ran.apply("dev")
    assert ran.rows(COUNT, env="dev") == ran.rows(COUNT)
    with ran.open() as workspace:
        assert difference(workspace, "prod", "dev") == ()
    assert ran.run("dev").run_id is None


def test_dev_does_not_touch_production(ran) -> None:
    """A model changed in dev is built into its own table; production reads what it did."""
    ran.apply("dev")
    ran.edit("products/sales/daily_revenue.sql", {"count(*) AS orders": "count(*) + 100 AS orders"})
    ran.apply("dev", allow_breaking=True)
    ran.run("dev")
    sql = "SELECT max(orders) AS n FROM sales.daily_revenue"
    assert ran.rows(sql, env="dev") == [{"n": 102}]
    assert ran.rows(sql) == [{"n": 2}]
    with ran.open() as workspace:
        assert [found.dataset for found in difference(workspace, "prod", "dev")] == ["sales.daily_revenue"]


def test_rollback_moves_every_pointer_of_the_last_run_back(ran) -> None:
    """One call, no data touched, all tables as before; the next run does not undo it."""
    ran.orders("2026-02", (5, "2026-02-01 10:00:00", "ada@example.com", "5.00"))
    ran.run()
    assert ran.rows(COUNT) == [{"n": 4}]
    with ran.open() as workspace:
        moved = rollback(workspace, "prod", to_seq=None, actor="owner")
    assert set(moved) == {"sales.orders", "sales.daily_revenue"}
    assert ran.rows(COUNT) == [{"n": 3}]
    again = ran.run()
    assert again.run_id is None
    assert any("held" in step.decision.reason for step in again.steps)
    assert ran.rows(COUNT) == [{"n": 3}]


def test_rollback_of_nothing_says_so(project) -> None:
    """An environment that never published has nothing to go back to."""
    with project.open() as workspace, pytest.raises(NothingToRollBack, match="never published"):
        rollback(workspace, "prod", to_seq=None, actor="owner")
