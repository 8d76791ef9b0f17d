"""An answer on its way out: batches of Arrow, and what must be known of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import pyarrow as pa

from millpond.access.deadline import Deadline
from millpond.access.errors import AnswerFailed, AnswerStopped

Outcome = Literal["complete", "cut off", "closed early", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What left through the door for one query."""

    rows: int
    bytes: int
    """Of the Arrow buffers, before any protocol writes them otherwise."""
    seconds: float
    outcome: Outcome


class Batches(Iterator[pa.RecordBatch]):
    """The batches of one answer, once, in order; holds an engine session until it is exhausted or closed."""

    def __init__(
        self,
        reader: pa.RecordBatchReader,
        deadline: Deadline,
        *,
        row_limit: int | None,
        failed: Callable[[Exception], AnswerFailed],
        finished: Callable[[Delivered], None],
    ) -> None:
        """Read from *reader*; *failed* turns the engine's errors into ours, *finished* is called once, at the end."""
        self._reader: pa.RecordBatchReader | None = reader
        self._deadline = deadline
        self._rows_left = row_limit
        self._failed = failed
        self._finished = finished
        self._began_s = time.monotonic()
        self.rows = 0
        """Given out so far."""
        self.bytes = 0
        """Given out so far."""

    def __iter__(self) -> Self:
        """Give itself."""
        return self

    def __next__(self) -> pa.RecordBatch:
        """Give the next batch.

        Raises:
            AnswerFailed: the engine could not go on.
            AnswerStopped: the query ran longer than it may.
        """
        batch = None
        while self._reader is not None and batch is None:
            batch = self._pull(self._reader)
        if batch is None:
            raise StopIteration
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        return batch

    def _pull(self, reader: pa.RecordBatchReader) -> pa.RecordBatch | None:
        problem: Exception | None = None
        batch: pa.RecordBatch | None = None
        try:
            with self._deadline:
                batch = reader.read_next_batch()
        except StopIteration:
            self._end("complete")
            return None
        except Exception as error:  # noqa: BLE001 - whatever the engine raises may hold data
            problem = error
        if problem is not None:
            stopped = self._deadline.passed
            self._end("failed")
            raise (
                AnswerStopped("The query ran longer than it may, and was stopped.")
                if stopped
                else self._failed(problem)
            )
        if batch is not None and self._rows_left is not None and batch.num_rows > self._rows_left:
            cut = batch.slice(0, self._rows_left)
            self.rows += cut.num_rows
            self.bytes += cut.nbytes
            self._end("cut off")
            self.rows -= cut.num_rows
            self.bytes -= cut.nbytes
            return cut if cut.num_rows else None
        if self._rows_left is not None and batch is not None:
            self._rows_left -= batch.num_rows
        return batch if batch is not None and batch.num_rows else None

    def close(self) -> None:
        """Stop here and free the session; no error where the answer has ended."""
        self._end("closed early")

    def _end(self, outcome: Outcome) -> None:
        reader, self._reader = self._reader, None
        if reader is None:
            return
        with contextlib.suppress(Exception):
            reader.close()
        seconds = time.monotonic() - self._began_s
        self._finished(Delivered(rows=self.rows, bytes=self.bytes, seconds=seconds, outcome=outcome))

    def __del__(self) -> None:
        """Free the session of an answer that was dropped half read."""
        with contextlib.suppress(Exception):
            self.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a principal gets for a query; closing it frees the engine."""

    query_id: str
    schema: pa.Schema
    batches: Batches
    tables: Mapping[str, int]
    """Dataset → the version that was read."""
    masked: tuple[str, ...]
    """``product.dataset.column``: whose values are not the true ones."""
    filtered: tuple[str, ...]
    """Datasets of which rows may be missing."""
    policies: tuple[str, ...]
    """Ids of the policies that bore on the answer."""

    def table(self) -> pa.Table:
        """Read the rest into memory: for small answers."""
        return pa.Table.from_batches(list(self.batches), schema=self.schema)

    def close(self) -> None:
        """Stop reading."""
        self.batches.close()

    def __enter__(self) -> Self:
        """Use as a context manager: closes at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()
