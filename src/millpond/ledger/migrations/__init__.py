"""How a ledger's schema came to be, step by step. Used by alembic; a step is never changed once released."""
