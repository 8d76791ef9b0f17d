"""The first schema: chain, head, leases, projections."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text, primary_key=True)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _number_key(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def upgrade() -> None:
    """Make everything, and the head row of an empty chain."""
    _make_chain()
    _make_projections()


def _make_chain() -> None:
    op.create_table(
        "ledger_event",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        _number("at_us"),
        _text("kind"),
        _text("actor"),
        _text("env", nullable=True),
        _text("subject", nullable=True),
        _text("run_id", nullable=True),
        _text("payload"),
        _text("hash"),
    )
    op.create_index("ledger_event_by_kind", "ledger_event", ["kind", "seq"])
    op.create_index("ledger_event_by_env", "ledger_event", ["env", "kind", "seq"])
    op.create_index("ledger_event_by_subject", "ledger_event", ["subject", "seq"])
    op.create_index("ledger_event_by_run", "ledger_event", ["run_id", "seq"])
    head = op.create_table(
        "ledger_head",
        _number_key("id"),
        _number("seq"),
        _text("hash"),
        _number("at_us"),
        _number("token"),
        comment="One row: the chain's end and the last fencing token. Whoever writes locks it.",
    )
    op.bulk_insert(head, [{"id": 1, "seq": 0, "hash": "", "at_us": 0, "token": 0}])
    op.create_table("ledger_lease", _key("name"), _text("holder"), _number("token"), _number("expires_us"))
    op.create_index("ledger_lease_by_token", "ledger_lease", ["token"])


def _make_projections() -> None:
    op.create_table("ledger_pointer", _key("env"), _key("dataset"), _text("table_key"), _number("version"))
    op.create_table(
        "ledger_shown",
        _key("table_key"),
        _number_key("version"),
        _number("replaced_us"),
        comment="Versions that a pointer showed once, with the last time that one moved away from it.",
    )
    op.create_table(
        "ledger_definition", _key("env"), _key("dataset"), _text("digest"), _text("deployment"), _number("seq")
    )
    op.create_table("ledger_policy", _key("env"), _number("seq"))
    op.create_table(
        "ledger_step",
        _key("table_key"),
        _number("version"),
        _text("fingerprint"),
        _text("inputs"),
        _text("run_id"),
        _number("finished_us"),
    )
    op.create_table(
        "ledger_source_file",
        _key("table_key"),
        _key("uri"),
        _number("size"),
        _number("modified_us"),
        _text("etag", nullable=True),
        _text("run_id"),
        _number("rows_read"),
        _number("rows_accepted"),
        _number("rows_quarantined"),
    )
    op.create_table(
        "ledger_run",
        _key("run_id"),
        _text("env"),
        _text("state"),
        _number("started_us"),
        _number("finished_us", nullable=True),
        _text("actor"),
        _text("manifest", nullable=True),
        _text("summary", nullable=True),
    )
    op.create_index("ledger_run_by_env", "ledger_run", ["env", "started_us"])
    op.create_table("ledger_checks", _key("table_key"), _number("seq"), comment="The last judgement of each table.")


def downgrade() -> None:
    """Refuse: a ledger is never made older."""
    raise NotImplementedError("a ledger is never made older; restore it from a backup")
