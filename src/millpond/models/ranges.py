"""Which part of a by-time model can differ, from the files that came and went in what it reads.

Errs on the side of more: where a file's statistics or a query's shape do not prove a bound, everything is made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from millpond.catalog import TimeSource
from millpond.contracts import Dataset
from millpond.lake import DataFile, Snapshot
from millpond.models.spec import Everything, Model, Range

_LENGTHS: Final[Mapping[str, timedelta]] = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=31),
    "quarter": timedelta(days=92),
    "year": timedelta(days=366),
}
"""At most so long is what a time can be cut to; finer units than an hour count as one."""
_ZONED: Final = "TIMESTAMP WITH TIME ZONE"
_ZONE_SLACK: Final = timedelta(days=1)
"""A time with zone falls on another day elsewhere."""


def changed_range(  # noqa: PLR0911 - each return is a reason of its own
    model: Model, dataset: Dataset, before: Mapping[str, Snapshot], after: Mapping[str, Snapshot]
) -> Range | Everything | None:
    """Find what can differ in a model's output between two states of what it reads; None: nothing.

    Only a by-time model has ranges. Its time column must come from one column of each changed dataset, unchanged or
    cut (date_trunc, a cast to DATE), and nothing in the query may carry rows to other times (a window without that
    column in PARTITION BY, LIMIT, a self-join): else everything is made again. Reads no data: statistics of files only.
    """
    spec = model.spec
    changed = [name for name in model.upstream if _differs(before.get(name), after.get(name))]
    if not changed:
        return None
    if spec.materialize != "by time" or spec.time_column is None:
        return Everything(reason=f"{', '.join(changed)} changed")
    sources = {source.dataset: source for source in model.time_sources}
    column = dataset.column(spec.time_column)
    bounds: list[tuple[datetime, datetime]] = []
    for name in changed:
        source, was, now = sources.get(name), before.get(name), after.get(name)
        if was is None or now is None or was.table != now.table:
            return Everything(reason=f"{name} is another table now")
        if source is None:
            return Everything(reason=f"{name} changed, and no column of it alone decides {spec.time_column}")
        nulls_matter = column is None or not column.required
        found = _bounds(source, was, now, nulls_matter=nulls_matter, zoned=column is None or column.type == _ZONED)
        if isinstance(found, Everything):
            return found
        bounds.extend(found)
    if not bounds:
        return None
    low, high = min(low for low, _ in bounds), max(high for _, high in bounds)
    kind = column.type if column is not None else "TIMESTAMP"
    low = step(_floor(low, spec.grain), spec.grain, -spec.lookback)
    grain = _grain(spec.grain, kind)
    low, high = _floor(low, grain), step(_floor(high, grain), grain, 1)
    return Range(low=_text(low, kind), high=_text(high, kind))


def _differs(before: Snapshot | None, after: Snapshot | None) -> bool:
    if before is None or after is None or before.table != after.table:
        return True
    return before.version != after.version and next(_moved(before, after), None) is not None


def _moved(before: Snapshot, after: Snapshot) -> Iterator[DataFile]:
    """Files that are in one of the two snapshots only."""
    old, new = ({file.path for file in snapshot.files} for snapshot in (before, after))
    yield from (file for file in before.files if file.path not in new)
    yield from (file for file in after.files if file.path not in old)


def _bounds(
    source: TimeSource, before: Snapshot, after: Snapshot, *, nulls_matter: bool, zoned: bool
) -> list[tuple[datetime, datetime]] | Everything:
    zoned = zoned or dict(after.schema.columns).get(source.column) == _ZONED
    slack = _ZONE_SLACK if zoned else timedelta()
    found = []
    for file in _moved(before, after):
        if file.rows == 0:
            continue
        nulls = _nulls(file, source.column)
        if nulls_matter and nulls != 0:
            why = "has" if nulls else "may have"
            reason = (
                f"a changed file of {source.dataset} {why} rows without {source.column}; make the time column required"
            )
            return Everything(reason=reason)
        if nulls == file.rows:
            continue
        span = _span(file, source.column)
        if span is None:
            return Everything(reason=f"a changed file of {source.dataset} has no statistics of {source.column}")
        try:
            found.append((_floor(span[0] - slack, source.unit), _floor(span[1] + slack, source.unit)))
        except OverflowError:
            return Everything(reason=f"{source.dataset}.{source.column} holds times at the end of the calendar")
    return found


def relevant(model: Model, dataset: Dataset, inputs: Mapping[str, Snapshot], ranges: Range) -> dict[str, Snapshot]:
    """Leave out the files whose rows cannot bear on *ranges*, for the inputs that have a time source."""
    low = _parse(ranges.low) if ranges.low is not None else datetime.min  # noqa: DTZ901 - times in here have no zone
    high = _parse(ranges.high) if ranges.high is not None else datetime.max  # noqa: DTZ901
    column = dataset.column(model.spec.time_column or "")
    result = dict(inputs)
    for source in model.time_sources:
        snapshot = inputs.get(source.dataset)
        if snapshot is None:
            continue
        kinds = {dict(snapshot.schema.columns).get(source.column), column.type if column is not None else _ZONED}
        slack = _ZONE_SLACK if _ZONED in kinds else timedelta()
        # A time before a unit's end is cut to its begin, so the unit that *high* lies in counts whole.
        reach = slack if _floor(high, source.unit) == high else slack + _LENGTHS.get(source.unit, _LENGTHS["hour"])
        outside = []
        for file in snapshot.files:
            span = _span(file, source.column)
            if span is not None and (span[1] - low < -slack or span[0] - high >= reach):
                outside.append(file)
        result[source.dataset] = snapshot.changed(removes=outside)
    return result


def aligned(ranges: Range, grain: str, kind: str) -> Range:
    """Widen a range to whole grains, as text of type *kind*.

    Raises:
        ValueError: an end is not an ISO date or time.
    """
    grain = _grain(grain, kind)
    low = _text(_floor(_parse(ranges.low), grain), kind) if ranges.low is not None else None
    high = None
    if ranges.high is not None:
        end = _parse(ranges.high)
        floor = _floor(end, grain)
        high = _text(floor if floor == end else step(floor, grain, 1), kind)
    return Range(low=low, high=high)


def _grain(grain: str, kind: str) -> str:
    """A DATE column has no hours."""
    return "day" if kind == "DATE" and grain == "hour" else grain


def _nulls(file: DataFile, column: str) -> int | None:
    if column in file.partition:
        return file.rows if file.partition[column] is None else 0
    stats = file.stats.get(column)
    return stats.nulls if stats is not None else None


def _span(file: DataFile, column: str) -> tuple[datetime, datetime] | None:
    """First and last time of *column* in a file; None where that is not known."""
    if column in file.partition:
        texts: Iterable[str | None] = (file.partition[column],) * 2
    else:
        stats = file.stats.get(column)
        texts = (stats.min, stats.max) if stats is not None else ()
    try:
        times = [_parse(text) for text in texts if text is not None]
    except ValueError:
        return None
    return (times[0], times[1]) if len(times) == 2 else None


def _parse(text: str) -> datetime:
    """Read ISO text as a time in UTC without zone."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo is not None else moment


def _text(moment: datetime, kind: str) -> str:
    if kind == "DATE":
        return moment.date().isoformat()
    return moment.isoformat(sep=" ") + ("+00:00" if kind == _ZONED else "")


def _floor(moment: datetime, unit: str) -> datetime:
    if unit in {"identity", "microsecond"}:
        return moment
    if unit == "millisecond":
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    if unit in {"second", "minute", "hour"}:
        second = moment.second if unit == "second" else 0
        minute = 0 if unit == "hour" else moment.minute
        return moment.replace(minute=minute, second=second, microsecond=0)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    month = {"month": day.month, "quarter": (day.month - 1) // 3 * 3 + 1, "year": 1}[unit]
    return day.replace(month=month, day=1)


def step(moment: datetime, grain: str, count: int) -> datetime:
    """Go *count* grains on (back where it is negative) from a time that begins one.

    Ends at the calendar's first and last times.
    """
    try:
        if grain in {"hour", "day"}:
            return moment + count * _LENGTHS[grain]
        months = moment.year * 12 + moment.month - 1 + count * (12 if grain == "year" else 1)
        return moment.replace(year=months // 12, month=months % 12 + 1)
    except (OverflowError, ValueError):
        return datetime.max if count > 0 else datetime.min  # noqa: DTZ901 - times in here have no zone
