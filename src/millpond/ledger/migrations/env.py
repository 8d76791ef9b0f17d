"""Run by alembic inside the transaction that :mod:`millpond.ledger.database` has opened and locked."""

from alembic import context

from millpond.ledger.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
)
context.run_migrations()
