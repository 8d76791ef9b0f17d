"""What upkeep may take away, and what it must leave."""

from __future__ import annotations

import pytest

from millpond.flow import RunFailed, RunOptions, TableCompacted, compact, rollback, vacuum
from millpond.flow.leases import take_lease
from millpond.kernel import new_id
from millpond.lake import VersionGone
from projects import Project

ORDERS = "SELECT order_id, amount FROM sales.orders ORDER BY order_id"
DAYS = "SELECT day, orders, revenue FROM sales.daily_revenue ORDER BY day"
LATE = (9, "2026-01-05 23:00:00", "ada@example.com", "1.00")


def _keep(project: Project, days: int) -> None:
    text = (project.root / "millpond.yaml").read_text()
    project.write("millpond.yaml", f"{text}time_travel: {days} days\n")


def _vacuumed(project: Project, *, dry_run: bool = False) -> int:
    with project.open() as workspace:
        done = vacuum(workspace, actor="owner", dry_run=dry_run, report=lambda _: None)
    return sum(table.files for table in done)


def _compacted(project: Project) -> dict[str, TableCompacted]:
    with project.open() as workspace:
        done = compact(workspace, "prod", only=(), actor="owner", dry_run=False)
    return {table.dataset: table for table in done}


@pytest.fixture
def renewed(ran: Project) -> Project:
    """A day was computed again, so that a file was replaced."""
    ran.orders("late", LATE)
    ran.run()
    return ran


def test_within_the_window_nothing_goes_and_a_rollback_works(renewed: Project) -> None:
    """What was replaced less than time_travel ago stays, so the publication before can be shown again."""
    _keep(renewed, 7)
    assert _vacuumed(renewed) == 0
    with renewed.open() as workspace:
        rollback(workspace, "prod", to_seq=None, actor="owner")
    assert [row["orders"] for row in renewed.rows(DAYS)] == [2, 1]
    assert len(renewed.rows(ORDERS)) == 3


def test_outside_the_window_a_rollback_is_refused_and_changes_nothing(renewed: Project) -> None:
    """What was vacuumed is told as gone; readers and pointers stay where they are."""
    _keep(renewed, 0)
    assert _vacuumed(renewed, dry_run=True) == 1
    assert _vacuumed(renewed) == 1
    assert _vacuumed(renewed) == 0
    with renewed.open() as workspace:
        before = workspace.ledger.pointers("prod")
        with pytest.raises(VersionGone, match="lake history"):
            rollback(workspace, "prod", to_seq=None, actor="owner")
        assert workspace.ledger.pointers("prod") == before
    assert [row["orders"] for row in renewed.rows(DAYS)] == [3, 1]
    assert renewed.run().run_id is None


def test_what_another_environment_shows_stays(renewed: Project) -> None:
    """A version that any environment's pointer names is kept, however old it is."""
    with renewed.open() as workspace:
        rollback(workspace, "prod", to_seq=None, actor="owner")
    renewed.apply("dev")
    renewed.run("dev")
    _keep(renewed, 0)
    _vacuumed(renewed)
    assert [row["orders"] for row in renewed.rows(DAYS)] == [2, 1]
    assert [row["orders"] for row in renewed.rows(DAYS, env="dev")] in ([2, 1], [3, 1])


def test_files_of_a_run_in_progress_stay_until_it_is_over(ran: Project) -> None:
    """Whoever holds a lease may have files that no log names yet; without it they go, and so does a run's note."""
    _keep(ran, 0)
    run_id = new_id("run")
    with ran.open() as workspace:
        table = workspace.lake.table(workspace.ledger.pointers("prod")["sales.orders"].table)
        with take_lease(workspace.ledger, [f"table:{table.key}"], run_id, wait_s=0, mend=tuple):
            table.store.write(f"{run_id}-0.parquet", b"staged")
            note = workspace.lake.write_manifest(run_id, [], {})
            assert _vacuumed(ran) == 0
            assert table.store.stat(f"{run_id}-0.parquet") is not None
            assert workspace.lake.store.stat(note) is not None
        assert _vacuumed(ran) == 1
        assert table.store.stat(f"{run_id}-0.parquet") is None
        assert workspace.lake.store.stat(note) is None


def test_rows_of_a_failed_run_can_be_looked_at_within_the_window(ran: Project) -> None:
    """A vacuum leaves what the newest failed run staged; once the window is over it goes."""
    ran.orders("again", (1, "2026-03-01 10:00:00", "ada@example.com", "5.00"))
    with pytest.raises(RunFailed):
        ran.run()

    def can_be_looked_at() -> bool:
        with ran.open() as workspace:
            note = str(workspace.ledger.runs("prod", limit=1)[0].summary["manifest"])
            if workspace.lake.store.stat(note) is None:
                return False
            commits, _ = workspace.lake.read_manifest(note)
            files = [(workspace.lake.table(commit.table).store, file) for commit in commits for file in commit.adds]
        assert files
        return all(store.stat(file.path) is not None for store, file in files)

    assert can_be_looked_at()
    _keep(ran, 7)
    assert _vacuumed(ran) == 0
    assert can_be_looked_at()
    ran.edit("millpond.yaml", {"7 days": "0 days"})
    assert _vacuumed(ran) > 0
    assert not can_be_looked_at()


def test_compact_makes_one_file_of_many_and_changes_no_row(ran: Project) -> None:
    """Small files become few, rows and figures stay, nothing is computed again, and the next file adds its day only."""
    for number in range(10, 18):
        ran.orders(f"d{number}", (number, f"2026-02-{number} 10:00:00", "ada@example.com", "5.00"))
        ran.run()
    before = ran.rows(ORDERS), ran.rows(DAYS)
    done = _compacted(ran)
    assert (done["sales.orders"].files_before, done["sales.orders"].files_after) == (9, 1)
    assert (ran.rows(ORDERS), ran.rows(DAYS)) == before
    assert _compacted(ran) == {}
    assert ran.run().run_id is None, "the same rows in other files are nothing new"
    _keep(ran, 0)
    assert _vacuumed(ran) >= 9
    assert (ran.rows(ORDERS), ran.rows(DAYS)) == before
    ran.orders("last", (30, "2026-02-28 10:00:00", "ada@example.com", "5.00"))
    built = {step.dataset: step for step in ran.run().steps}
    assert built["sales.daily_revenue"].rows_written == 1
    assert ran.rows(ORDERS)[:-1] == before[0]


def test_a_model_is_built_whole_where_what_it_read_before_is_gone(ran: Project) -> None:
    """Without the version that a model was built from there is nothing to compare with: it is computed anew."""
    ran.edit("products/sales/orders.source.yaml", {"bad_share_max: 0.5": "bad_share_max: 0.5\nmode: replace"})
    ran.apply(allow_breaking=True)
    ran.run()
    _keep(ran, 0)
    ran.orders("late", LATE)
    ran.run(options=RunOptions(select=("sales.orders",)))
    assert _vacuumed(ran) >= 1
    ran.run()
    assert [row["orders"] for row in ran.rows(DAYS)] == [3, 1]
