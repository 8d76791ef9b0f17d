"""What names mean at one place in a query: relations, their fields, and where each field's values come from.

Values only; ``tracing.py`` makes them from a syntax tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast

from sqlglot import exp
from sqlglot.errors import SqlglotError

Ref = tuple[str, str]
"""(dataset, column)."""
Flow = Mapping[Ref, bool]
"""Columns whose values flow somewhere → whether every way goes through a function that hides single values."""
Kind = Literal["filter", "join", "group", "sort", "window"]
Indirect = set[tuple[Kind, Ref]]

NOTHING: Final[Flow] = {}
UNITS: Final = (
    "identity",
    "microsecond",
    "millisecond",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
)
"""What a time can be cut to, finer first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSource:
    """An input column that alone decides where in time the rows lie that its dataset has a part in."""

    dataset: str
    column: str
    unit: str = "identity"
    """What the time is cut to on the way: one of ``UNITS``."""

    def cut(self, unit: str) -> TimeSource | None:
        """Cut once more; None where two cuts do not nest (week within month)."""
        coarser = max(self.unit, unit, key=UNITS.index)
        finer = min(self.unit, unit, key=UNITS.index)
        if finer == "week" and coarser in {"month", "quarter", "year"}:
            return None
        return TimeSource(dataset=self.dataset, column=self.column, unit=coarser)


Times = Mapping[str, TimeSource]
"""Dataset → its time source."""
NO_TIMES: Final[Times] = {}


class Field:
    """One column of a relation inside a query; never changed once made (a plain class: it is made very often)."""

    __slots__ = ("flow", "name", "times", "type")

    def __init__(self, name: str, flow: Flow = NOTHING, type_: str | None = None, times: Times = NO_TIMES) -> None:
        """Hold a column's sources; *type_* is its DuckDB type where known: datasets' columns, passed on unchanged."""
        self.name = name
        self.flow = flow
        self.type = type_
        self.times = times

    def renamed(self, name: str) -> Field:
        """Give the same field under another name."""
        return self if name == self.name else Field(name, self.flow, self.type, self.times)


class Relation:
    """Something with columns: a dataset, a CTE, a subquery, a table function."""

    __slots__ = ("_base", "_fields", "datasets", "indirect")

    def __init__(
        self, fields: Iterable[Field], *, datasets: frozenset[str] = frozenset(), indirect: Indirect | None = None
    ) -> None:
        """Hold *fields* in order; of two with one name the first is found by it."""
        self._fields: dict[str, Field | None] = {}
        for one in fields:
            key = one.name.lower()
            while key in self._fields:
                key += "\0"
            self._fields[key] = one
        self._base: tuple[str, Mapping[str, str], Mapping[str, str]] | None = None
        self.datasets = datasets
        self.indirect: Indirect = indirect if indirect is not None else set()

    @classmethod
    def of_dataset(cls, dataset: str, columns: Mapping[str, str]) -> Relation:
        """Make the relation of a dataset; its fields are made when asked for."""
        relation = cls((), datasets=frozenset((dataset,)))
        names = {name.lower(): name for name in columns}
        relation._fields = dict.fromkeys(names)
        relation._base = (dataset, columns, names)
        return relation

    def get(self, key: str) -> Field | None:
        """Find a field by its lower-case name."""
        found = self._fields.get(key)
        if found is None and self._base is not None and key in self._fields:
            dataset, columns, names = self._base
            name, kind = names[key], columns[names[key]]
            timed = kind == "DATE" or kind.startswith("TIMESTAMP")
            times = {dataset: TimeSource(dataset=dataset, column=name)} if timed else NO_TIMES
            found = self._fields[key] = Field(name, {(dataset, name): False}, kind, times)
        return found

    def keys(self) -> Iterator[str]:
        """Lower-case names of the fields, in order."""
        return iter(self._fields)

    def fields(self) -> Iterator[Field]:
        """Every field, in order."""
        return (cast("Field", self.get(key)) for key in list(self._fields))


class Source:
    """A relation under the name that FROM gives it."""

    __slots__ = ("alias", "changed", "product", "relation", "timeless", "visible")

    def __init__(self, alias: str, relation: Relation, *, product: str | None = None) -> None:
        """Name *relation*; *product* is its schema where it is a dataset without an alias of its own."""
        self.alias = alias
        self.product = product
        self.relation = relation
        self.changed: dict[str, Field] = {}
        self.timeless = False
        self.visible = True

    def get(self, key: str) -> Field | None:
        """Find a field as seen through this source."""
        if key in self.changed:
            return self.changed[key]
        found = self.relation.get(key)
        if found is not None and self.timeless and found.times:
            return Field(found.name, found.flow, found.type)
        return found

    def add_times(self, key: str, times: Times) -> None:
        """An equality with another column gives this one the other's time sources too."""
        found = self.get(key)
        if found is not None and times:
            self.changed[key] = Field(found.name, found.flow, found.type, {**times, **found.times})

    def lose_times(self) -> None:
        """Rows of this side can be missing or chosen by others: its columns tell nothing of time any more."""
        self.timeless = True
        self.changed = {key: Field(one.name, one.flow, one.type) for key, one in self.changed.items()}


class Scope:
    """One SELECT: its sources, and what was found on the way."""

    __slots__ = ("aliases", "bound", "ctes", "datasets", "indirect", "loose", "merged", "outer", "sources", "windows")

    def __init__(self, ctes: Mapping[str, Relation], outer: Scope | None) -> None:
        """Begin with the CTEs in sight and the scope around it, for correlated subqueries."""
        self.ctes = ctes
        self.outer = outer
        self.sources: list[Source] = []
        self.aliases: dict[str, Field] = {}
        self.bound: list[str] = []
        """Parameters of lambdas being read."""
        self.merged: dict[str, Field] = {}
        """Columns of USING: one column for both sides."""
        self.indirect: Indirect = set()
        self.datasets: set[str] = set()
        self.loose: set[str] | None = set()
        """Datasets whose rows can bear on rows of any time; None: all."""
        self.windows: list[Times] = []

    def visible(self) -> Iterator[Source]:
        """Sources whose columns can be named."""
        return (source for source in self.sources if source.visible)

    def add(self, source: Source) -> None:
        """Put a source into FROM."""
        shared = self.datasets & source.relation.datasets
        if shared and self.loose is not None:
            self.loose |= shared
        self.datasets |= source.relation.datasets
        self.indirect |= source.relation.indirect
        self.sources.append(source)

    def depends(self, relation: Relation) -> None:
        """Note a subquery inside an expression: its rows bear on rows of any time."""
        self.datasets |= relation.datasets
        self.indirect |= relation.indirect
        if self.loose is not None:
            self.loose |= relation.datasets

    def star(self) -> Iterator[tuple[str, Field]]:
        """Each (source alias, field) of ``*``, with columns of USING once."""
        done: set[str] = set()
        for source in self.visible():
            for key in source.relation.keys():  # noqa: SIM118 - not a mapping
                plain = key.rstrip("\0")
                if plain in self.merged:
                    if plain in done:
                        continue
                    done.add(plain)
                    yield source.alias, self.merged[plain]
                else:
                    yield source.alias, cast("Field", source.get(key))

    def find(self, key: str) -> list[tuple[Source, Field]]:
        """Every source that has a column called *key*."""
        if key in self.merged:
            return [(self.sources[0], self.merged[key])]
        return [(source, found) for source in self.visible() if (found := source.get(key)) is not None]

    def named(self, parts: list[str]) -> tuple[Source, int] | None:
        """Find the source that the first *parts* name, and how many parts that took."""
        for source in self.visible():
            if len(parts) > 1 and source.product == parts[0] and source.alias == parts[1]:
                return source, 2
        for source in self.visible():
            if source.alias == parts[0]:
                return source, 1
        return None

    def settle(self, fields: Iterable[Field]) -> list[Field]:
        """Keep of each field's time sources those that still hold for this SELECT's rows."""
        return [one if not one.times else self._settled(one) for one in fields]

    def _settled(self, one: Field) -> Field:
        if self.loose is None:
            return Field(one.name, one.flow, one.type)
        rank = UNITS.index
        kept = {
            dataset: time
            for dataset, time in one.times.items()
            if dataset not in self.loose
            and all(dataset in window and rank(window[dataset].unit) <= rank(time.unit) for window in self.windows)
        }
        return one if len(kept) == len(one.times) else Field(one.name, one.flow, one.type, kept)


def merge(flows: Iterable[Flow]) -> Flow:
    """Join flows: a column is hidden only where it is hidden on every way."""
    result: Flow = NOTHING
    owned: dict[Ref, bool] | None = None
    for flow in flows:
        if not flow or flow is result:
            continue
        if not result:
            result = flow
            continue
        if owned is None:
            result = owned = dict(result)
        for ref, hidden in flow.items():
            owned[ref] = hidden and owned.get(ref, True)
    return result


def hide(flow: Flow) -> Flow:
    """Mark every way as hidden."""
    return dict.fromkeys(flow, True)


def shared_times(left: Times, right: Times, left_datasets: frozenset[str], right_datasets: frozenset[str]) -> Times:
    """Time sources of a column of a set operation, from its two sides."""
    result = {}
    for dataset in {**left, **right}:
        one, other = left.get(dataset), right.get(dataset)
        if dataset in left_datasets and dataset in right_datasets and one != other:
            continue
        time = one or other
        if time is not None:
            result[dataset] = time
    return result


@lru_cache(maxsize=4096)
def struct_fields(kind: str) -> tuple[tuple[str, str], ...] | None:
    """Give the (name, type) fields of a STRUCT type; None for any other type."""
    if not kind.upper().startswith("STRUCT"):
        return None
    try:
        parsed = exp.DataType.build(kind, dialect="duckdb")
    except (SqlglotError, ValueError):
        return None
    if parsed.this != exp.DataType.Type.STRUCT:
        return None
    return tuple(
        (part.name, part.args["kind"].sql(dialect="duckdb"))
        for part in parsed.expressions
        if isinstance(part, exp.ColumnDef)
    )
