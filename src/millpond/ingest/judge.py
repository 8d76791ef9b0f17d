"""What a row is judged by, said once for both paths: the contract's columns and rules as the engine takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from millpond.contracts import Dataset, Severity
from millpond.engines import FileScan, RowTest
from millpond.ingest.errors import ColumnMissing
from millpond.ingest.spec import FileSource
from millpond.ingest.split import Dialect
from millpond.quality import RowRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How the rows of one source are read and judged."""

    source: FileSource
    dataset: Dataset
    tests: tuple[RowTest, ...]
    required: tuple[str, ...]
    critical: frozenset[str]
    """Ids of the rules that stop the load."""

    @property
    def warnings(self) -> tuple[RowTest, ...]:
        """The rules whose broken rows are counted and kept."""
        return tuple(test for test in self.tests if not test.rejects)

    @property
    def schema(self) -> tuple[tuple[str, str], ...]:
        """The table's columns."""
        return tuple((column.name, column.type) for column in self.dataset.columns)

    @property
    def dialect(self) -> Dialect:
        """The characters that structure the file, which is UTF-8 when it is read."""
        source = self.source
        if source.format != "csv":
            return Dialect(quote=b"", escape=b"", row_bytes_max=source.row_bytes_max)
        return Dialect(
            delimiter=source.delimiter.encode(),
            quote=source.quote.encode(),
            escape=source.escape.encode(),
            row_bytes_max=source.row_bytes_max,
        )

    def scan(self, paths: Sequence[str]) -> FileScan:
        """Give the scan of plain local UTF-8 files."""
        source = self.source
        null_values = source.null_values
        if source.format != "csv" and null_values == ("",):
            null_values = ()
        return FileScan(
            format=source.format,
            paths=tuple(paths),
            columns=tuple((c.physical_name or c.name, c.name, c.type) for c in self.dataset.columns),
            delimiter=source.delimiter,
            quote=source.quote,
            escape=source.escape,
            header=source.header,
            null_values=null_values,
            timestamp_format=source.timestamp_format,
            date_format=source.date_format,
            decimal_separator=source.decimal_separator,
            row_bytes_max=source.row_bytes_max,
        )

    def check_columns(self, uri: str, found: Sequence[str]) -> tuple[str, ...]:
        """Compare a file's columns with the contract; gives what is different and harmless.

        Raises:
            ColumnMissing: a required column is not there, or a wanted one is there twice.
        """
        wanted = {column.physical_name or column.name: column.name for column in self.dataset.columns}
        problems = [
            f"the required column {name} is not in the file" + (f" (for {column})" if name != column else "")
            for name, column in wanted.items()
            if name not in found and column in self.required
        ]
        twice = [name for name in wanted if found.count(name) > 1]
        problems += [f"the column {name} is in the file {found.count(name)} times" for name in twice]
        if problems:
            raise ColumnMissing(self.dataset.name, uri, problems, found)
        extra = [name for name in dict.fromkeys(found) if name not in wanted]
        absent = [name for name in wanted if name not in found]
        return (
            *(f"column {name} is in the file and not in the contract: ignored" for name in extra),
            *(f"column {name} is in the contract and not in the file: NULL" for name in absent),
        )


def judgement(source: FileSource, dataset: Dataset, rules: Sequence[RowRule]) -> Judgement:
    """Bind *rules* to *dataset*; a required value is asked for once, whoever wants it."""
    required = tuple(c.name for c in dataset.columns if c.required or c.primary_key is not None)
    asked = {f"required:{name}" for name in required}
    rejecting = {Severity.ERROR, Severity.CRITICAL}
    tests = tuple(
        RowTest(
            id=rule.id,
            column=rule.column,
            columns=rule.columns or ((rule.column,) if rule.column else ()),
            predicate=rule.predicate,
            reason=rule.description or rule.predicate,
            rejects=rule.severity in rejecting,
        )
        for rule in rules
        if rule.id not in asked
    )
    critical = frozenset(rule.id for rule in rules if rule.severity is Severity.CRITICAL)
    return Judgement(source=source, dataset=dataset, tests=tests, required=required, critical=critical)
