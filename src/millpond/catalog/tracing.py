"""One walk over a query's tree: every column's sources, the columns that decide rows, and the tables read.

Each scope is visited once, inner before outer, whatever the number of its columns. Knows DuckDB's rules for names:
CTEs, lateral aliases, USING, stars, structs, correlation. What it cannot resolve becomes a problem, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from millpond.catalog.expressions import ExpressionTracer, is_aggregate, output_name
from millpond.catalog.scope import (
    Field,
    Kind,
    Relation,
    Scope,
    Source,
    Times,
    merge,
    shared_times,
)
from millpond.kernel import Location, Problem, suggest

_SERIES = {exp.GenerateSeries: "generate_series", exp.GenerateDateArray: "generate_series"}
_RECURSION_ROUNDS_MAX = 64
_Place = tuple[Source, str]
"""A column of a source, by its lower-case name."""


@dataclass(slots=True, kw_only=True)
class Place:
    """Where a query stands, for problems."""

    path: str
    first_line: int = 1

    def at(self, node: exp.Expr | None) -> Location:
        """Find the place of *node*: that of the first name in it."""
        for part in node.find_all(exp.Identifier) if node is not None else ():
            meta = part.meta
            if "line" in meta:
                # Token columns count to a token's end.
                width = meta["end"] - meta["start"]
                return Location(self.path, self.first_line + meta["line"] - 1, max(1, meta["col"] - width))
        return Location(self.path, self.first_line)


@dataclass(slots=True, kw_only=True)
class TableUse:
    """One place in the text that names a dataset."""

    dataset: str
    start: int
    """Offset of the name's first character."""
    end: int
    """Offset behind its last."""


@dataclass(slots=True)
class Tracer(ExpressionTracer):
    """The state of one walk."""

    schemas: Mapping[str, Mapping[str, str]]
    product: str | None
    place: Place
    problems: list[Problem] = field(default_factory=list)
    tables: list[TableUse] = field(default_factory=list)

    def problem(self, what: str, node: exp.Expr | None, fix: str | None = None) -> None:
        """Note a problem at *node*."""
        self.problems.append(Problem(what=what, at=self.place.at(node), fix=fix))

    def query(self, node: exp.Expr, ctes: Mapping[str, Relation], outer: Scope | None = None) -> Relation:
        """Trace any query: SELECT, set operation, VALUES, or one of them in parentheses."""
        ctes = self._with(node, ctes, outer)
        if isinstance(node, exp.Select):
            return self._select(node, ctes, outer)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, ctes, outer)
        if isinstance(node, exp.Subquery | exp.Values | exp.Table | exp.Pivot):
            scope = Scope(ctes, outer)
            if isinstance(node, exp.Subquery) and not node.args.get("joins") and not node.args.get("pivots"):
                scope.add(Source("", self.query(node.this, ctes, outer)))
            else:
                self._from(node, scope)
            return self._finish(node, scope, [one for _, one in scope.star()])
        self.problem(f"{node.key.upper()} is not a query", node, "A model is one SELECT.")
        return Relation(())

    def _with(self, node: exp.Expr, ctes: Mapping[str, Relation], outer: Scope | None) -> Mapping[str, Relation]:
        with_ = node.args.get("with_")
        if with_ is None:
            return ctes
        known = dict(ctes)
        for cte in with_.expressions:
            name = cte.alias.lower()
            if with_.args.get("recursive") and isinstance(cte.this, exp.SetOperation):
                known[name] = self._recursive(cte, known, outer)
            else:
                known[name] = _renamed(self.query(cte.this, known, outer), cte.args.get("alias"))
        return known

    def _recursive(self, cte: exp.CTE, ctes: Mapping[str, Relation], outer: Scope | None) -> Relation:
        """Follow a recursive CTE until no column gains a source; its rows can come from rows of any time."""
        name, alias = cte.alias.lower(), cte.args.get("alias")
        inner = self._with(cte.this, ctes, outer)
        relation = _timeless(_renamed(self.query(cte.this.this, inner, outer), alias))
        for _ in range(_RECURSION_ROUNDS_MAX):
            noted, seen = len(self.problems), len(self.tables)
            step = self.query(cte.this.expression, {**inner, name: relation}, outer)
            fields = [
                Field(one.name, merge((one.flow, other.flow)), one.type)
                for one, other in zip(relation.fields(), step.fields(), strict=False)
            ]
            before = [dict(one.flow) for one in relation.fields()]
            indirect = relation.indirect | step.indirect
            grown = [dict(one.flow) for one in fields] != before or indirect != relation.indirect
            relation = Relation(fields, datasets=relation.datasets | step.datasets, indirect=indirect)
            if not grown:
                break
            del self.problems[noted:], self.tables[seen:]
        return relation

    def _set_operation(self, node: exp.SetOperation, ctes: Mapping[str, Relation], outer: Scope | None) -> Relation:
        parts: list[exp.Expr] = []
        chain: list[exp.SetOperation] = []
        spine: exp.Expr = node
        while isinstance(spine, exp.SetOperation) and (spine is node or not spine.args.get("with_")):
            chain.append(spine)
            parts.append(spine.expression)
            spine = spine.this
        relation = self.query(spine, ctes, outer)
        for operation, part in zip(reversed(chain), reversed(parts), strict=True):
            relation = self._combined(operation, relation, self.query(part, ctes, outer))
        scope = Scope(ctes, outer)
        scope.add(Source("", relation))
        return self._finish(node, scope, list(relation.fields()))

    def _combined(self, node: exp.SetOperation, left: Relation, right: Relation) -> Relation:
        ones, others = list(left.fields()), list(right.fields())
        fields: list[Field] = []
        if node.args.get("by_name"):
            by_name = {one.name.lower(): one for one in others}
            pairs = [(one, by_name.pop(one.name.lower(), None)) for one in ones]
            fields = [Field(one.name, one.flow, one.type) for one in by_name.values()]
        else:
            if len(ones) != len(others):
                what = f"the sides of {node.key.upper()} have {len(ones)} and {len(others)} columns"
                self.problem(what, node.expression, "Give both sides the same columns, or write UNION BY NAME.")
            pairs = list(zip(ones, others, strict=False))
        # EXCEPT and INTERSECT only choose rows by their right side.
        chosen = isinstance(node, exp.Except | exp.Intersect)
        both = [
            Field(
                one.name,
                one.flow if chosen or other is None else merge((one.flow, other.flow)),
                one.type if other is None or one.type == other.type else None,
                shared_times(one.times, other.times, left.datasets, right.datasets) if other is not None else {},
            )
            for one, other in pairs
        ]
        indirect = left.indirect | right.indirect
        if chosen:
            indirect |= {("filter", ref) for _, other in pairs if other is not None for ref in other.flow}
        return Relation([*both, *fields], datasets=left.datasets | right.datasets, indirect=indirect)

    def _select(self, node: exp.Select, ctes: Mapping[str, Relation], outer: Scope | None) -> Relation:
        scope = Scope(ctes, outer)
        args = node.args
        from_ = args.get("from_")
        if from_ is not None:
            self._from(from_.this, scope)
        for join in args.get("joins") or ():
            self._join(join, scope)
        for lateral in args.get("laterals") or ():
            self._from(lateral, scope)
        for window in args.get("windows") or ():
            self.window_spec(window, scope)
        fields = self._projections(node, scope)
        self._note("filter", (args.get("where"), args.get("having"), args.get("qualify")), scope)
        self._group(node, scope, fields)
        distinct = args.get("distinct")
        if distinct is not None:
            on = distinct.args.get("on")
            self._note("group", (on,), scope)
            if on is not None:
                scope.loose = None
            else:
                scope.indirect |= {("group", ref) for one in fields for ref in one.flow}
        return self._finish(node, scope, fields)

    def _projections(self, node: exp.Select, scope: Scope) -> list[Field]:
        # A name is looked for in FROM first, then among the aliases before it; WHERE and GROUP BY may use aliases too.
        fields: list[Field] = []
        for item in node.expressions:
            made = self.projection(item, scope)
            fields.extend(made)
            if isinstance(item, exp.Alias) and len(made) == 1:
                scope.aliases.setdefault(made[0].name.lower(), made[0])
        return fields

    def _group(self, node: exp.Select, scope: Scope, fields: list[Field]) -> None:
        group = node.args.get("group")
        if group is None:
            return
        if group.args.get("all"):
            plain = (item for item in node.expressions if not is_aggregate(item))
            scope.indirect |= {
                ("group", ref) for item in plain for one in self.projection(item, scope) for ref in one.flow
            }
        if group.args.get("rollup") or group.args.get("cube") or group.args.get("grouping_sets"):
            scope.loose = None
        self._positions("group", group, scope, fields)

    def _positions(self, kind: Kind, clause: exp.Expr, scope: Scope, fields: list[Field]) -> None:
        """Note the columns of GROUP BY or ORDER BY, where a number stands for an output column."""
        for item in _clause_items(clause):
            inner = item.this if isinstance(item, exp.Ordered) else item
            if isinstance(inner, exp.Literal) and inner.is_int and 1 <= int(inner.this) <= len(fields):
                scope.indirect |= {(kind, ref) for ref in fields[int(inner.this) - 1].flow}
            elif isinstance(inner, exp.Var) and inner.name.upper() == "ALL":
                scope.indirect |= {(kind, ref) for one in fields for ref in one.flow}
            else:
                self._note(kind, (inner,), scope)

    def _note(self, kind: Kind, nodes: Iterable[exp.Expr | None], scope: Scope) -> None:
        for node in nodes:
            if node is not None:
                scope.indirect |= {(kind, ref) for ref in self.flow(node, scope)}

    def _finish(self, node: exp.Expr, scope: Scope, fields: list[Field]) -> Relation:
        args = node.args
        order = args.get("order")
        if order is not None:
            outputs = {one.name.lower(): one for one in fields}
            scope.aliases = {**scope.aliases, **{key: one for key, one in outputs.items() if not scope.find(key)}}
            self._positions("sort", order, scope, fields)
        if any(args.get(key) is not None for key in ("limit", "offset", "sample", "fetch")):
            scope.loose = None
            self._note("filter", (args.get("limit"), args.get("offset")), scope)
        return Relation(scope.settle(fields), datasets=frozenset(scope.datasets), indirect=scope.indirect)

    def _from(self, node: exp.Expr, scope: Scope) -> list[Source]:
        """Put one item of FROM, with the joins inside it, into *scope*."""
        first = len(scope.sources)
        alias_node = node.args.get("alias")
        alias = node.alias_or_name.lower() if not isinstance(node, exp.Pivot) else node.alias.lower()
        if isinstance(node, exp.Subquery) and isinstance(node.this, exp.Table | exp.Subquery) and not alias:
            self._from(node.this, scope)
        else:
            relation, product = self._relation(node, scope)
            relation = _renamed(relation, alias_node)
            if node.args.get("sample") is not None:
                relation = _timeless(relation)
            for pivot in node.args.get("pivots") or ():
                relation, product = self._pivoted(pivot, relation, scope), None
                alias = pivot.alias.lower() or alias
            scope.add(Source(alias, relation, product=product if alias_node is None else None))
        for join in node.args.get("joins") or ():
            self._join(join, scope)
        return scope.sources[first:]

    def _relation(self, node: exp.Expr, scope: Scope) -> tuple[Relation, str | None]:  # noqa: PLR0911 - by kind of node
        """Trace one item of FROM; for a dataset, with its product."""
        if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier):
            return self._table(node, scope)
        if isinstance(node, exp.Lateral) and isinstance(node.this, exp.Subquery):
            return self.query(node.this, scope.ctes, _correlated(scope)), None
        if isinstance(node, exp.Table | exp.Lateral):
            return self._function(node, scope), None
        if isinstance(node, exp.Unnest):
            flow = merge([self.flow(part, scope) for part in node.expressions])
            fields = [Field("unnest", flow), *([Field("ordinality")] if node.args.get("offset") else [])]
            return Relation(fields), None
        if isinstance(node, exp.Values):
            return self._values(node, scope), None
        if isinstance(node, exp.Pivot):
            return self._pivoted(node, self._joined(node.this, scope), scope), None
        if isinstance(node, exp.Subquery):
            return self._subquery(node, scope), None
        self.problem(f"{node.key.upper()} in FROM cannot be traced", node, "Write it as a subquery.")
        return Relation(()), None

    def _values(self, node: exp.Values, scope: Scope) -> Relation:
        rows = [row.expressions if isinstance(row, exp.Tuple) else [row] for row in node.expressions]
        width = max((len(row) for row in rows), default=0)
        columns = ([row[i] for row in rows if i < len(row)] for i in range(width))
        flows = [merge([self.flow(cell, scope) for cell in cells]) for cells in columns]
        return Relation(Field(f"col{i}", flow) for i, flow in enumerate(flows))

    def _joined(self, node: exp.Expr, scope: Scope) -> Relation:
        """Trace tables joined in parentheses as one relation."""
        inner = Scope(scope.ctes, scope.outer)
        self._from(node, inner)
        return self._finish(exp.Subquery(), inner, [one for _, one in inner.star()])

    def _subquery(self, node: exp.Subquery, scope: Scope) -> Relation:
        if isinstance(node.this, exp.Table):
            return self._joined(node.this, scope)
        # A subquery in FROM sees the tables before it: DuckDB's implicit lateral join.
        ctes = self._with(node, scope.ctes, scope)
        relation = self.query(node.this, ctes, _correlated(scope))
        if any(node.args.get(key) is not None for key in ("limit", "offset", "order")):
            inner = Scope(ctes, scope)
            inner.add(Source("", relation))
            return self._finish(node, inner, list(relation.fields()))
        return relation

    def _table(self, node: exp.Table, scope: Scope) -> tuple[Relation, str | None]:
        name, product = node.name, node.db
        if not product and name.lower() in scope.ctes:
            return scope.ctes[name.lower()], None
        dataset = f"{product or self.product or ''}.{name}"
        columns = self.schemas.get(dataset)
        if node.args.get("when") is not None or node.catalog:
            what = f"{node.sql(dialect='duckdb')} names a version or a database"
            self.problem(what, node, "Name a dataset as product.dataset; the run decides on versions.")
        if columns is None:
            self.problem(f"there is no dataset {dataset}", node, _dataset_hint(dataset, self.schemas))
            return Relation(()), None
        parts = [part.meta for part in (node.args.get("db"), node.this) if part is not None]
        if all("start" in meta for meta in parts):
            self.tables.append(TableUse(dataset=dataset, start=parts[0]["start"], end=parts[-1]["end"] + 1))
        return Relation.of_dataset(dataset, columns), (product or self.product or "").lower()

    def _function(self, node: exp.Expr, scope: Scope) -> Relation:
        call = node.this
        name = _SERIES.get(type(call))
        if name is not None:
            if call.args.get("is_end_exclusive"):
                name = "range"
            return Relation([Field(name, self.flow(call, scope))])
        if isinstance(call, exp.Explode | exp.Unnest):
            return Relation([Field("unnest", self.flow(call, scope))])
        if isinstance(call, exp.Anonymous) and call.name.lower() == "generate_subscripts":
            return Relation([Field("generate_subscripts", self.flow(call, scope))])
        shown = (
            call.sql_name().lower() if isinstance(call, exp.Func) and not isinstance(call, exp.Anonymous) else call.name
        )
        fix = "A model reads datasets only; declare outside data as a source."
        self.problem(f"the table function {shown} is not allowed in a model", node, fix)
        return Relation(())

    def _join(self, join: exp.Join, scope: Scope) -> None:
        before = scope.sources[:]
        added = self._from(join.this, scope)
        method, side, kind = (str(join.args.get(key) or "").upper() for key in ("method", "side", "kind"))
        if method == "POSITIONAL":
            scope.loose = None
        if method == "ASOF" or side in {"LEFT", "FULL"}:
            _lose(added)
        if side in {"RIGHT", "FULL"}:
            _lose(before)
            scope.merged = {key: Field(one.name, one.flow, one.type) for key, one in scope.merged.items()}
        using = [part.name.lower() for part in join.args.get("using") or ()]
        if method == "NATURAL":
            using = [key for source in added for key in source.relation.keys() if _has(before, key)]  # noqa: SIM118
        equal = [pair for key in using if (pair := self._using(join, key, before, added, scope)) is not None]
        on = join.args.get("on")
        if on is not None:
            self._note("join", (on,), scope)
            equal.extend(self._equalities(on, scope))
        if method != "ASOF" and side in {"", "LEFT"}:
            for one, other in equal:
                if len(added) == 1 and (one[0] in before) != (other[0] in before):
                    left, right = (one, other) if one[0] in before else (other, one)
                    _share_times(left, right, both_ways=side == "")
        for source in added:
            source.visible = kind not in {"SEMI", "ANTI"}

    def _using(
        self, join: exp.Join, key: str, before: list[Source], added: list[Source], scope: Scope
    ) -> tuple[_Place, _Place] | None:
        """Make one column of two by USING; gives the two."""
        left = next((source for source in before if source.visible and source.get(key)), None)
        right = next((source for source in added if source.get(key)), None)
        one = scope.merged.get(key) or (left.get(key) if left is not None else None)
        other = right.get(key) if right is not None else None
        if left is None or right is None or one is None or other is None:
            missing = "left" if left is None else "right"
            self.problem(f"USING ({key}): the {missing} side has no column {key}", join, None)
            return None
        side, kind = (str(join.args.get(name) or "").upper() for name in ("side", "kind"))
        scope.indirect |= {("join", ref) for ref in (*one.flow, *other.flow)}
        flow = {"RIGHT": other.flow, "FULL": merge((one.flow, other.flow))}.get(side, one.flow)
        times: Times = {}
        if side in {"", "LEFT"} and join.args.get("method") != "ASOF":
            # What a LEFT JOIN takes from the right side's own columns, equality gives back to the common one.
            equal = right.relation.get(key) if len(added) == 1 else other
            times = {**(equal or other).times, **one.times}
        elif side in {"", "LEFT"}:
            times = one.times
        if kind not in {"SEMI", "ANTI"}:
            scope.merged[key] = Field(one.name, flow, one.type, times)
        return (left, key), (right, key)

    def _equalities(self, on: exp.Expr, scope: Scope) -> Iterator[tuple[_Place, _Place]]:
        for part in on.flatten() if isinstance(on, exp.And) else (on,):
            if (
                isinstance(part, exp.EQ)
                and isinstance(part.this, exp.Column)
                and isinstance(part.expression, exp.Column)
            ):
                left, right = (self.source_of(side, scope) for side in (part.this, part.expression))
                if left is not None and right is not None:
                    yield left, right

    def _pivoted(self, pivot: exp.Pivot, base: Relation, scope: Scope) -> Relation:
        inner = Scope(scope.ctes, scope.outer)
        inner.add(Source("", base))
        if pivot.args.get("unpivot"):
            return self._unpivoted(pivot, base, inner)
        standard = bool(pivot.args.get("fields"))
        keys: list[exp.Expr] = (pivot.args.get("fields") or []) if standard else pivot.expressions
        values: list[exp.Expr]
        values = pivot.expressions if standard else pivot.args.get("using") or [exp.Count(this=exp.Star())]
        if len(keys) != 1 or not isinstance(keys[0], exp.In) or not keys[0].expressions:
            fix = "List them: PIVOT ... ON column IN ('a', 'b')."
            self.problem("the columns of this PIVOT depend on the data", pivot, fix)
            return base
        self._note("group", (keys[0].this,), inner)
        single = len(values) == 1
        flows = [
            (value.alias or ("" if single else value.sql(dialect="duckdb").lower()), self.flow(value, inner))
            for value in values
        ]
        used = {part.name.lower() for part in (*keys, *values) for part in part.find_all(exp.Column)}
        group = pivot.args.get("group")
        if group is not None:
            self._note("group", group.expressions, inner)
            kept = [self.projection(part, inner)[0] for part in group.expressions]
        else:
            kept = [one for one in base.fields() if one.name.lower() not in used]
            inner.indirect |= {("group", ref) for one in kept for ref in one.flow}
        made = [
            Field("_".join(filter(None, (item.alias_or_name, name))), flow)
            for item in keys[0].expressions
            for name, flow in flows
        ]
        return Relation(inner.settle([*kept, *made]), datasets=base.datasets, indirect=inner.indirect)

    def _unpivoted(self, pivot: exp.Pivot, base: Relation, inner: Scope) -> Relation:
        into = pivot.args.get("into")
        if pivot.args.get("fields"):
            columns = pivot.args["fields"][0].expressions
            name, values = pivot.args["fields"][0].this.name, [part.name for part in pivot.expressions]
        else:
            columns = pivot.expressions
            name = into.this.name if into is not None else "name"
            values = [part.name for part in into.expressions] if into is not None else ["value"]
        turned = [part for column in columns for part in column.find_all(exp.Column)]
        if len(values) != 1 or not turned or any(isinstance(part.this, exp.Star) for part in turned):
            self.problem("this UNPIVOT cannot be traced", pivot, "Name its columns one by one, and one value column.")
            return base
        used = {part.name.lower() for part in turned}
        kept = [one for one in base.fields() if one.name.lower() not in used]
        flow = merge([self.flow(part, inner) for part in turned])
        return Relation([*kept, Field(name), Field(values[0], flow)], datasets=base.datasets, indirect=inner.indirect)


def _share_times(left: _Place, right: _Place, *, both_ways: bool) -> None:
    """Two columns are equal in every joined row, so each tells of time what the other does."""
    (source, key), (other, other_key) = left, right
    one, two = source.relation.get(key), other.relation.get(other_key)
    if one is None or two is None:
        return
    left_times = {} if source.timeless else one.times
    source.add_times(key, two.times)
    if both_ways:
        other.add_times(other_key, left_times)


def _dataset_hint(dataset: str, known: Mapping[str, object]) -> str:
    product, _, name = dataset.rpartition(".")
    elsewhere = [other for other in known if other.rpartition(".")[2] == name]
    near = [other for other in known if other.startswith(f"{product}.")]
    return f"Did you mean {elsewhere[0]!r}?" if elsewhere else suggest(dataset, near or known)


def _clause_items(clause: exp.Expr) -> Iterator[exp.Expr]:
    yield from clause.expressions
    for key in ("rollup", "cube", "grouping_sets"):
        yield from clause.args.get(key) or ()


def _renamed(relation: Relation, alias: exp.Expr | None) -> Relation:
    names = [column.name for column in alias.args.get("columns") or ()] if alias is not None else []
    if not names:
        return relation
    fields = list(relation.fields())
    renamed = [one.renamed(name) for one, name in zip(fields, names, strict=False)]
    return Relation([*renamed, *fields[len(names) :]], datasets=relation.datasets, indirect=relation.indirect)


def _timeless(relation: Relation) -> Relation:
    fields = (Field(one.name, one.flow, one.type) for one in relation.fields())
    return Relation(fields, datasets=relation.datasets, indirect=relation.indirect)


def _correlated(scope: Scope) -> Scope:
    """What a subquery in FROM can see: the items before it, then whatever is around."""
    inner = Scope(scope.ctes, scope.outer)
    inner.sources = scope.sources[:]
    inner.merged = dict(scope.merged)
    return inner


def _has(sources: list[Source], key: str) -> bool:
    return any(source.visible and source.get(key) is not None for source in sources)


def _lose(sources: Iterable[Source]) -> None:
    for source in sources:
        source.lose_times()


__all__ = ["Place", "TableUse", "Tracer", "output_name"]
