"""A file with broken rows of ten kinds, from delivery to the last open row."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from millpond.flow import Reviewed, Selection, review
from projects import Project

ROWS = 10_000
MIB = 1024 * 1024
HEADER = b"order_id,ordered_at,customer_email,amount"
KINDS: dict[str, Callable[[int], bytes]] = {
    "type:amount": lambda i: b"%d,2026-01-05 09:00:00,a@example.com,twelve" % i,
    "type:order_id": lambda i: b"9%030d,2026-01-05 09:00:00,a@example.com,1.00" % i,  # overflow
    "type:ordered_at": lambda i: b"%d,2026-02-30 09:00:00,a@example.com,1.00" % i,
    "encoding": lambda i: b"%d,2026-01-05 09:00:00,caf\xe9@example.com,1.00" % i,
    "columns": lambda i: b"%d,2026-01-05 09:00:00" % i if i % 2 else b"%d,2026-01-05 09:00:00,a,1.00,more" % i,
    "nul": lambda i: b"%d,2026-01-05 09:00:00,a\0b,1.00" % i,
    "quotes": lambda i: b'%d,2026-01-05 09:00:00,"open,1.00' % i,
    "required:ordered_at": lambda i: b"%d,,a@example.com,1.00" % i,
    "amount.minimum": lambda i: b"%d,2026-01-05 09:00:00,a@example.com,-1.00" % i,
    "row too long": lambda i: b"%d,2026-01-05 09:00:00,%s,1.00" % (i, b"y" * (10 * MIB)),
}
COUNTS = dict.fromkeys(KINDS, 11) | {"row too long": 1}
"""1% of the rows; one row of 10 MB is enough."""
HELD = "SELECT id, row_number, rules, raw, reason, status FROM sales.orders__quarantine ORDER BY row_number"


@pytest.fixture
def broken(project: Project) -> dict[int, str]:
    """Deliver the file; gives row number → what is broken there."""
    kinds = [kind for kind, count in COUNTS.items() for _ in range(count)]
    assert len(kinds) == ROWS // 100
    places = dict(zip(random.Random(7).sample(range(1, ROWS + 1), len(kinds)), kinds, strict=True))
    lines = [HEADER]
    for i in range(1, ROWS + 1):
        good = b"%d,2026-01-%02d 09:00:00,u%d@example.com,%d.50" % (i, i % 28 + 1, i, i % 90)
        lines.append(KINDS[places[i]](i) if i in places else good)
    (project.root / "products/sales/data/orders-2026-01.csv").write_bytes(b"\n".join(lines) + b"\n")
    source = "products/sales/orders.source.yaml"
    project.edit(source, {"bad_share_max: 0.5": "bad_share_max: 0.05\nrow_bytes_max: 1 MiB"})
    project.apply()
    return places


def _review(project: Project, action: str, **selected: Any) -> Reviewed:
    with project.open() as workspace:
        return review(
            workspace,
            workspace.environment("prod"),
            "sales.orders",
            Selection(**selected),
            action=action,
            note="given up",
            edits={},
            actor="owner",
        )


def _count(project: Project, table: str = "sales.orders") -> int:
    return project.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]


def _open(project: Project) -> Counter[str]:
    return Counter(rule for row in project.rows(HELD) if row["status"] == "open" for rule in row["rules"])


def test_every_broken_row_is_held_with_its_true_reason_and_worked_off(project: Project, broken: dict[int, str]) -> None:
    """Accepted and quarantined make up all rows read; each held row says why; replay and discard close every one."""
    result = project.run()
    landed = next(step for step in result.steps if step.dataset == "sales.orders")
    assert (landed.rows_read, landed.rows_accepted, landed.rows_quarantined) == (ROWS, ROWS - 100, 100)
    assert (_count(project), _count(project, "sales.orders__quarantine")) == (ROWS - 100, 100)
    held = project.rows(HELD)
    assert {row["row_number"]: row["rules"] for row in held} == {place: [kind] for place, kind in broken.items()}
    assert all(row["reason"] for row in held)
    assert max(len(row["raw"]) for row in held) <= 10 * MIB

    project.edit("products/sales/contract.odcs.yaml", {"minimum: 0": "minimum: -100"})
    project.apply(allow_breaking=True)
    project.run()
    replayed = _review(project, "replay")
    assert replayed.accepted == COUNTS["amount.minimum"]
    assert _count(project) == ROWS - 100 + replayed.accepted
    still_open = Counter({kind: count for kind, count in COUNTS.items() if kind != "amount.minimum"})
    assert _open(project) == still_open

    again = _review(project, "replay")
    assert again.accepted == 0
    assert _count(project) == ROWS - 100 + replayed.accepted
    assert _open(project) == still_open

    assert _review(project, "discard", rule="columns").selected == COUNTS["columns"]
    assert _review(project, "discard").selected == still_open.total() - COUNTS["columns"]
    assert _open(project) == Counter()
    assert _review(project, "discard").selected == 0
    assert Counter(row["status"] for row in project.rows(HELD)) == {"discarded": 89, "replayed": 11}
    project.run()
    assert project.run().run_id is None


def test_quarantine_show_tells_row_reason_and_raw_text(project: Project, broken: dict[int, str]) -> None:
    """The command shows the rows of a rule as they came, with number and reason."""
    from typer.testing import CliRunner

    from millpond.cli.main import app

    project.run()
    place = next(place for place, kind in broken.items() if kind == "type:amount")
    args = ["quarantine", "show", "sales.orders", "--rule", "type:amount", "--json", "--project", str(project.root)]
    shown = CliRunner().invoke(app, args)
    assert shown.exit_code == 0, shown.output
    rows = {row["row_number"]: row for row in map(json.loads, shown.output.splitlines())}
    assert len(rows) == COUNTS["type:amount"]
    assert "twelve" in rows[place]["raw"]
    assert "twelve" in rows[place]["reason"]
