"""What can go wrong with a table."""

from __future__ import annotations

from millpond.kernel import MillpondError


class CommitConflict(MillpondError):
    """Another writer committed to the table first. Transient: compute again from the newest version."""

    code = "commit-conflict"
    transient = True

    def __init__(self, table: str, expected: int, found: int) -> None:
        """Keep the *table*'s key, the version the work was based on and the version found."""
        self.table = table
        self.expected = expected
        self.found = found
        super().__init__(
            f"{table} is at version {found}, this run was computed from version {expected}: another writer won",
            hint="Nothing was changed. Run again; it starts from the newest version.",
        )


class VersionGone(MillpondError):
    """A version was asked for that never was, or whose files are deleted."""

    code = "version-gone"

    def __init__(self, table: str, version: int | str, reason: str) -> None:
        """Keep the *table*'s key, the *version* (or the time) asked for, and why it is not there."""
        self.table = table
        self.version = version
        self.reason = reason
        super().__init__(
            f"{table} has no version {version}: {reason}",
            hint="See the versions that can be read with: millpond lake history",
        )


class SchemaNotEvolvable(MillpondError):
    """A commit would change the table's columns in a way that its older files do not allow."""

    code = "schema-not-evolvable"

    def __init__(self, table: str, column: str, reason: str) -> None:
        """Keep the *table*'s key, the *column* and the *reason*."""
        self.table = table
        self.column = column
        self.reason = reason
        super().__init__(
            f"{table}.{column}: {reason}",
            hint="Columns can be added, and widened where old files stay readable. Else the table is built anew.",
        )


class TypeNotStorable(MillpondError):
    """A column's type has no place in a Delta table."""

    code = "type-not-storable"

    def __init__(self, type_: str) -> None:
        """Keep the DuckDB type."""
        self.type = type_
        super().__init__(f"{type_} cannot be stored in a Delta table", hint="Cast the column to another type.")


class PartitionNotStorable(MillpondError):
    """A partition's value would be another one when it is read back."""

    code = "partition-not-storable"

    def __init__(self, table: str, column: str) -> None:
        """Keep the *table*'s key and the partition *column*."""
        self.table = table
        self.column = column
        super().__init__(
            f"{table}.{column} has an empty text, which Delta cannot tell from NULL in a column that partitions",
            hint=f"Say which is meant, for example nullif({column}, '').",
        )


class LogDamaged(MillpondError):
    """A table's log does not hold together, so nothing can be decided from it."""

    code = "log-damaged"

    def __init__(self, table: str, reason: str) -> None:
        """Keep the *table*'s key and what was found."""
        self.table = table
        self.reason = reason
        super().__init__(f"The log of {table} is damaged: {reason}", hint="Restore the table's folder from a backup.")
