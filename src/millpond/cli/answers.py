"""An answer of the reading door on the screen, as JSON, or in a file; never more than a few batches in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa

from millpond.access import Answer
from millpond.cli.output import console, json_line, print_table
from millpond.kernel import MillpondError


def print_answer(answer: Answer, limit: int) -> None:
    """Print the first *limit* rows, and what was hidden."""
    rows: list[tuple[object, ...]] = []
    more = False
    for batch in answer.batches:
        wanted = limit + 1 - len(rows)
        rows.extend(tuple(row.values()) for row in batch.slice(0, wanted).to_pylist())
        if len(rows) > limit:
            more = True
            break
    print_table(answer.schema.names, rows[:limit])
    count = f"{len(rows[:limit]):,} row{'' if len(rows) == 1 else 's'}"
    notes = [count + (" shown; there are more (--limit, --out)" if more else "")]
    if answer.masked:
        notes.append(f"masked for you: {', '.join(sorted(answer.masked))}")
    if answer.filtered:
        notes.append(f"rows filtered for you: {', '.join(sorted(answer.filtered))}")
    console.print("; ".join(notes), style="dim", markup=False)


def print_answer_json(answer: Answer) -> None:
    """Print every row as one line of JSON."""
    for batch in answer.batches:
        sys.stdout.write("".join(json_line(row) + "\n" for row in batch.to_pylist()))


def write_answer(answer: Answer, path: Path) -> int:
    """Write every row to a file by its ending; gives the number of rows. A failed write leaves no file.

    Raises:
        MillpondError: the ending is not one of .parquet, .csv, .arrow, .ndjson.
    """
    open_writer = _WRITERS.get(path.suffix)
    if open_writer is None:
        raise MillpondError(
            f"Millpond does not write {path.suffix or 'files without an ending'}.",
            hint=f"One of: {', '.join(_WRITERS)}.",
        )
    rows = 0
    part = path.with_name(f".{path.name}.part")
    try:
        with ExitStack() as stack:
            write = open_writer(part, answer.schema, stack)
            for batch in answer.batches:
                write(batch)
                rows += batch.num_rows
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return rows


Writer = Callable[[pa.RecordBatch], object]


def _parquet(path: Path, schema: pa.Schema, stack: ExitStack) -> Writer:
    import pyarrow.parquet as pq

    writer = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
    write: Writer = writer.write_batch
    return write


def _csv(path: Path, schema: pa.Schema, stack: ExitStack) -> Writer:
    import pyarrow.csv as pc

    writer = stack.enter_context(pc.CSVWriter(path, schema))
    write: Writer = writer.write_batch
    return write


def _arrow(path: Path, schema: pa.Schema, stack: ExitStack) -> Writer:
    writer = stack.enter_context(pa.ipc.new_file(path, schema))
    write: Writer = writer.write_batch
    return write


def _ndjson(path: Path, _: pa.Schema, stack: ExitStack) -> Writer:
    file = stack.enter_context(path.open("w", encoding="utf-8"))
    return lambda batch: file.writelines(json_line(row) + "\n" for row in batch.to_pylist())


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".arrow": _arrow, ".ndjson": _ndjson}
