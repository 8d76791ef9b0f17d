"""The ledger's tables: the chain, its head, the projections, the leases.

The chain (``ledger_event``) is the truth. Projections hold what can be derived from it and point back to it by *seq*
instead of copying bodies. Leases and the head row are the only other state; neither is ever rebuilt.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

SCHEMA_VERSION: Final = "r0001"
"""The newest migration's revision; a test compares it with the migrations folder."""
VERSION_TABLE: Final = "ledger_schema_version"

METADATA: Final = MetaData()

# an INTEGER key is SQLite's own row number: the chain lies on disk in its order, without a second index
EVENT: Final = Table(
    "ledger_event",
    METADATA,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("env", Text),
    Column("subject", Text),
    Column("run_id", Text),
    Column("payload", Text, nullable=False),
    Column("hash", Text, nullable=False),
)
Index("ledger_event_by_kind", EVENT.c.kind, EVENT.c.seq)
Index("ledger_event_by_env", EVENT.c.env, EVENT.c.kind, EVENT.c.seq)
Index("ledger_event_by_subject", EVENT.c.subject, EVENT.c.seq)
Index("ledger_event_by_run", EVENT.c.run_id, EVENT.c.seq)

HEAD: Final = Table(
    "ledger_head",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    comment="One row: the chain's end and the last fencing token. Whoever writes locks it.",
)

LEASE: Final = Table(
    "ledger_lease",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
)
Index("ledger_lease_by_token", LEASE.c.token)

POINTER: Final = Table(
    "ledger_pointer",
    METADATA,
    Column("env", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("table_key", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
)

SHOWN: Final = Table(
    "ledger_shown",
    METADATA,
    Column("table_key", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("replaced_us", BigInteger, nullable=False),
    comment="Versions that a pointer showed once, with the last time that one moved away from it.",
)

DEFINITION: Final = Table(
    "ledger_definition",
    METADATA,
    Column("env", Text, primary_key=True),
    Column("dataset", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("deployment", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
)

POLICY: Final = Table(
    "ledger_policy",
    METADATA,
    Column("env", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

STEP: Final = Table(
    "ledger_step",
    METADATA,
    Column("table_key", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("finished_us", BigInteger, nullable=False),
)

SOURCE_FILE: Final = Table(
    "ledger_source_file",
    METADATA,
    Column("table_key", Text, primary_key=True),
    Column("uri", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("modified_us", BigInteger, nullable=False),
    Column("etag", Text),
    Column("run_id", Text, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_accepted", BigInteger, nullable=False),
    Column("rows_quarantined", BigInteger, nullable=False),
)

RUN: Final = Table(
    "ledger_run",
    METADATA,
    Column("run_id", Text, primary_key=True),
    Column("env", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("actor", Text, nullable=False),
    Column("manifest", Text),
    Column("summary", Text),
)
Index("ledger_run_by_env", RUN.c.env, RUN.c.started_us)

CHECKS: Final = Table(
    "ledger_checks",
    METADATA,
    Column("table_key", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    comment="The last judgement of each table.",
)

PROJECTIONS: Final = (POINTER, SHOWN, DEFINITION, POLICY, STEP, SOURCE_FILE, RUN, CHECKS)
"""What :meth:`Ledger.rebuild` drops and makes again."""
