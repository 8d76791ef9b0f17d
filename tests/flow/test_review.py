"""The quarantine is worked through, not forgotten."""

from __future__ import annotations

import pytest

from millpond.flow import AuditFailed, NotIngested, Selection, review

OPEN = "SELECT id, rules, raw, status FROM sales.orders__quarantine WHERE status = 'open'"
COUNT = "SELECT count(*) AS n FROM sales.orders"


def _review(project, selection: Selection = Selection(), **settings):  # noqa: B008 - frozen
    with project.open() as workspace:
        chosen = {"action": "replay", "note": None, "edits": {}, "actor": "owner", **settings}
        return review(workspace, workspace.environment("prod"), "sales.orders", selection, **chosen)


def test_a_row_is_taken_in_after_the_contract_was_mended(ran) -> None:
    """A refund is no mistake after all: the rule is relaxed, the row replayed, and the models follow."""
    ran.edit("products/sales/contract.odcs.yaml", {"minimum: 0": "minimum: -100"})
    ran.apply()
    ran.run()
    done = _review(ran)
    assert (done.selected, done.accepted, done.still_bad) == (1, 1, 0)
    assert ran.rows(COUNT) == [{"n": 4}]
    assert ran.rows(OPEN) == []
    ran.run()
    days = ran.rows("SELECT orders, revenue FROM sales.daily_revenue ORDER BY day")
    assert [(row["orders"], str(row["revenue"])) for row in days] == [(2, "52.50"), (2, "92.90")]


def test_replaying_twice_takes_nothing_in_twice(ran) -> None:
    """A second replay finds no open row."""
    ran.edit("products/sales/contract.odcs.yaml", {"minimum: 0": "minimum: -100"})
    ran.apply()
    _review(ran)
    assert _review(ran).selected == 0
    assert ran.rows(COUNT) == [{"n": 4}]


def test_a_row_that_is_still_bad_stays(ran) -> None:
    """Without a change of contract or row, replay changes nothing but says why."""
    done = _review(ran)
    assert (done.selected, done.accepted, done.still_bad) == (1, 0, 1)
    assert done.reasons == {"amount.minimum": 1}
    assert len(ran.rows(OPEN)) == 1


def test_an_edited_row_goes_through_the_same_door(ran) -> None:
    """The mended text is judged; an edit that is still wrong is refused like any row."""
    row_id = ran.rows(OPEN)[0]["id"]
    wrong = _review(ran, Selection(ids=(row_id,)), edits={row_id: "3,2026-01-06 08:03:00,ada@example.com,seven"})
    assert wrong.still_bad == 1
    right = _review(ran, Selection(ids=(row_id,)), edits={row_id: "3,2026-01-06 08:03:00,ada@example.com,7.00"})
    assert right.accepted == 1
    assert ran.rows("SELECT amount FROM sales.orders WHERE order_id = 3")[0]["amount"] == 7


def test_an_edit_that_breaks_the_key_changes_nothing(ran) -> None:
    """A replayed row is audited with its table: a second order 1 is refused, and the row stays open."""
    row_id = ran.rows(OPEN)[0]["id"]
    with pytest.raises(AuditFailed, match="primary key"):
        _review(ran, Selection(ids=(row_id,)), edits={row_id: "1,2026-01-06 08:03:00,ada@example.com,7.00"})
    assert ran.rows(COUNT) == [{"n": 3}]
    assert len(ran.rows(OPEN)) == 1


def test_discarded_rows_stay_readable(ran) -> None:
    """Who closed them, and why, is kept with them."""
    done = _review(ran, Selection(rule="amount.minimum"), action="discard", note="a test order")
    assert done.selected == 1
    rows = ran.rows("SELECT status, note, reviewed_by FROM sales.orders__quarantine")
    assert rows == [{"status": "discarded", "note": "a test order", "reviewed_by": "owner"}]
    assert _review(ran).selected == 0


def test_a_dry_run_only_counts(ran) -> None:
    """Nothing is judged or written."""
    assert _review(ran, dry_run=True).selected == 1
    assert len(ran.rows(OPEN)) == 1


def test_a_model_has_no_quarantine(ran) -> None:
    """The message says so instead of finding nothing."""
    with ran.open() as workspace, pytest.raises(NotIngested):
        review(
            workspace,
            workspace.environment("prod"),
            "sales.daily_revenue",
            Selection(),
            action="replay",
            note=None,
            edits={},
            actor="owner",
        )
