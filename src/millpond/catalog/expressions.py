"""Which columns an expression's value comes from, inside one scope.

A method per kind of node that is special; every other node joins what its children give.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from sqlglot import exp

from millpond.catalog.scope import (
    NO_TIMES,
    NOTHING,
    UNITS,
    Field,
    Flow,
    Relation,
    Scope,
    Source,
    Times,
    TimeSource,
    hide,
    merge,
    struct_fields,
)
from millpond.kernel import suggest

_HIDING_NODES: Final = (
    exp.Count,
    exp.CountIf,
    exp.ApproxDistinct,
    exp.MD5,
    exp.MD5Digest,
    exp.SHA,
    exp.SHA2,
    exp.SHA1Digest,
)
_HIDING_NAMES: Final = frozenset(
    {"hash", "md5_number", "md5_number_lower", "md5_number_upper", "sha1", "sha256", "hmac", "crypto_hash"}
    | {"crypto_hmac", "count_star", "approx_count_distinct", "count_if"}
)
_UNPARSED_AGGREGATES: Final = (
    "arbitrary bitstring_agg approx_top_k approx_quantile reservoir_quantile histogram favg fsum kahan_sum sumkahan"
    " product entropy mad geomean geometric_mean sem weighted_avg wavg list any_value first last mode median"
    " kurtosis_pop skewness kurtosis min_by max_by arg_min_null arg_max_null regr_avgx regr_avgy regr_count regr_sxx"
    " regr_syy regr_sxy regr_r2 regr_slope regr_intercept quantile histogram_exact count_star"
)
_AGGREGATE_NAMES: Final = frozenset(_UNPARSED_AGGREGATES.split())
"""Aggregates that the parser takes for plain functions."""
_TIMESTAMPS: Final = frozenset(
    {exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPNTZ, exp.DataType.Type.TIMESTAMPTZ}
    | {exp.DataType.Type.TIMESTAMPLTZ, exp.DataType.Type.DATETIME}
)
"""Casts between these keep the time, but for the zone; coarser ones round."""


class ExpressionTracer(ABC):
    """Flows of expressions; queries inside them are traced by the subclass."""

    __slots__ = ()

    @abstractmethod
    def query(self, node: exp.Expr, ctes: Mapping[str, Relation], outer: Scope | None = None) -> Relation:
        """Trace a query."""

    @abstractmethod
    def problem(self, what: str, node: exp.Expr | None, fix: str | None = None) -> None:
        """Note a problem."""

    def flow(self, node: exp.Expr, scope: Scope) -> Flow:
        """Give the columns whose values flow into *node*; notes what filters and orders inside it in *scope*."""
        handler = self._handlers.get(type(node))
        if handler is not None:
            return handler(self, node, scope)
        flows: list[Flow] = []
        for value in node.args.values():
            if isinstance(value, exp.Expr):
                flows.append(self.flow(value, scope))
            elif isinstance(value, list):
                flows.extend(self.flow(part, scope) for part in value if isinstance(part, exp.Expr))
        return merge(flows)

    def field(self, name: str, node: exp.Expr, scope: Scope) -> Field:
        """Trace one output column, with its type and time sources where the expression keeps them."""
        inner = node.unnest() if isinstance(node, exp.Paren) else node
        if isinstance(inner, exp.Column) and not isinstance(inner.this, exp.Star):
            return self.column(inner, scope).renamed(name)
        return Field(name, self.flow(inner, scope), None, self.times(inner, scope))

    def times(self, node: exp.Expr, scope: Scope) -> Times:
        """Time sources that *node* keeps: those of a column, cut to a unit or cast between time types."""
        if isinstance(node, exp.Column):
            return self.column(node, scope).times
        if isinstance(node, exp.Paren | exp.Alias):
            return self.times(node.this, scope)
        cut = _cut_of(node)
        if cut is None:
            return NO_TIMES
        times = self.times(node.this, scope)
        return _cut(times, cut) if cut != "identity" else times

    def projection(self, item: exp.Expr, scope: Scope) -> list[Field]:
        """Trace one item of a SELECT list: one field, or several for a star."""
        if isinstance(item, exp.Alias) and not isinstance(item.this, exp.Columns):
            if item.this.find(exp.Columns) is None:
                return [self.field(item.alias, item.this, scope)]
        elif (many := self._expanded(item, scope)) is not None:
            return many
        if item.find(exp.Columns) is not None:
            self.problem("COLUMNS inside an expression cannot be traced", item, "Write the columns one by one.")
            return []
        return [self.field(output_name(item), item, scope)]

    def _expanded(self, item: exp.Expr, scope: Scope) -> list[Field] | None:  # noqa: PLR0911 - by kind of node
        """Trace an item that stands for several columns; None for any other."""
        if isinstance(item, exp.Star):
            return self._star(item, list(scope.star()), scope)
        if isinstance(item, exp.Column):
            return self._star(item.this, self._star_of(item, scope), scope) if isinstance(item.this, exp.Star) else None
        if isinstance(item, exp.Columns):
            return self._columns(item, scope)
        if isinstance(item, exp.Like | exp.ILike) and isinstance(item.this, exp.Star):
            return self._columns(item, scope)
        if isinstance(item, exp.Aliases):
            flow = self.flow(item.this, scope)
            return [Field(alias.name, flow) for alias in item.expressions]
        if isinstance(item, exp.Explode):
            kind = self.field("", item.this, scope).type
            parts = struct_fields(kind) if kind else None
            return (
                [Field(name, self.flow(item.this, scope), part) for name, part in parts] if parts is not None else None
            )
        return None

    def column(self, node: exp.Column, scope: Scope) -> Field:
        """Resolve a column, from this scope outwards; a problem and an empty field where that fails."""
        parts = _parts(node)
        if parts[0] in scope.bound:
            return Field(parts[-1])
        here: Scope | None = scope
        while here is not None:
            found = self._lookup(parts, node, here)
            if found is not None:
                return found
            here = here.outer
        self._unknown(node, parts, scope)
        return Field(node.name)

    def source_of(self, node: exp.Column, scope: Scope) -> tuple[Source, str] | None:
        """Find which source of this very scope a column belongs to."""
        parts = _parts(node)
        if len(parts) == 1:
            return next(((source, parts[0]) for source in scope.visible() if source.get(parts[0]) is not None), None)
        named = scope.named(parts)
        if named is None or len(parts) != named[1] + 1:
            return None
        return named[0], parts[-1]

    def window_spec(self, node: exp.Expr, scope: Scope) -> None:
        """Note what a window's partitions and order read, and whether it keeps to rows of one time."""
        partition = node.args.get("partition_by") or []
        parts: list[exp.Expr] = [*partition]
        order = node.args.get("order")
        if order is not None:
            parts.append(order)
        for part in parts:
            scope.indirect |= {("window", ref) for ref in self.flow(part, scope)}
        times: dict[str, TimeSource] = {}
        for part in partition:
            times.update(self.times(part, scope))
        scope.windows.append(times)

    def _lookup(self, parts: list[str], node: exp.Column, scope: Scope) -> Field | None:
        named = scope.named(parts) if len(parts) > 1 else None
        if named is not None:
            source, taken = named
            if taken == len(parts):
                return None
            found = source.get(parts[taken])
            if found is not None:
                return self._inside(found, parts[taken + 1 :], node)
        matches = scope.find(parts[0])
        if len(matches) > 1 and scope.merged.get(parts[0]) is None:
            where = " and ".join(sorted({source.alias for source, _ in matches}))
            self.problem(f"{node.name} is ambiguous: {where} have it", node, f"Write {matches[0][0].alias}.{parts[0]}.")
        if matches:
            return self._inside(matches[0][1], parts[1:], node)
        if parts[0] in scope.aliases:
            return self._inside(scope.aliases[parts[0]], parts[1:], node)
        if len(parts) == 1:
            whole = scope.named([parts[0]])
            if whole is not None:
                return Field(node.name, merge([one.flow for one in whole[0].relation.fields()]))
        return None

    def _inside(self, found: Field, path: list[str], node: exp.Column) -> Field:
        """Follow struct fields; the flow is that of the whole column."""
        kind = found.type
        for step in path:
            parts = struct_fields(kind) if kind else None
            if kind and parts is None and not kind.upper().startswith(("MAP", "JSON", "UNION", "VARIANT")):
                self.problem(f"{found.name} is {kind} and has no field {step}", node, None)
                break
            by_name = {name.lower(): part for name, part in parts or ()}
            if parts is not None and step not in by_name:
                self.problem(f"{found.name} has no field {step}", node, suggest(step, by_name))
                break
            kind = by_name.get(step)
        return Field(node.name, found.flow, kind) if path else found

    def _unknown(self, node: exp.Column, parts: list[str], scope: Scope) -> None:
        here: Scope | None = scope
        known: list[str] = []
        while here is not None:
            named = here.named(parts) if len(parts) > 1 else None
            if named is not None and named[1] < len(parts):
                names = [one.name for one in named[0].relation.fields()]
                if names:
                    what = f"{'.'.join(parts[: named[1]])} has no column {parts[named[1]]}"
                    self.problem(what, node, suggest(parts[named[1]], names))
                return
            if any(not list(source.relation.keys()) for source in here.visible()):
                return  # a source that failed already would explain it
            known.extend(one.name for source in here.visible() for one in source.relation.fields())
            known.extend(one.name for one in here.aliases.values())
            here = here.outer
        shown = ".".join(parts)
        self.problem(f"there is no column {shown}", node, suggest(parts[-1], known) if known else None)

    def _star_of(self, item: exp.Column, scope: Scope) -> list[tuple[str, Field]]:
        parts = [part.name.lower() for part in item.parts[:-1]]
        here: Scope | None = scope
        while here is not None:
            named = here.named(parts)
            if named is not None and named[1] == len(parts):
                source = named[0]
                keys = list(source.relation.keys())
                return [(source.alias, one) for key in keys if (one := source.get(key)) is not None]
            here = here.outer
        struct = self.column(_column_of(item.parts[:-1]), scope)
        fields = struct_fields(struct.type) if struct.type else None
        if fields is None:
            self.problem(f"{'.'.join(parts)}.* : there is no table or struct {'.'.join(parts)}", item, None)
            return []
        return [("", Field(name, struct.flow, kind)) for name, kind in fields]

    def _star(self, star: exp.Expr, pairs: list[tuple[str, Field]], scope: Scope) -> list[Field]:
        without = {_last(part) for part in star.args.get("except_") or ()}
        replaced = {part.alias.lower(): part.this for part in star.args.get("replace") or ()}
        renamed = {part.this.name.lower(): part.alias for part in star.args.get("rename") or ()}
        known = {one.name.lower() for _, one in pairs}
        for missing in sorted({*without, *replaced, *renamed} - known):
            if known:
                self.problem(f"* has no column {missing}", star, suggest(missing, known))
        fields = []
        for _, one in pairs:
            key = one.name.lower()
            if key in without:
                continue
            found = self.field(one.name, replaced[key], scope) if key in replaced else one
            fields.append(found.renamed(renamed[key]) if key in renamed else found)
        return fields

    def _columns(self, item: exp.Expr, scope: Scope) -> list[Field]:
        """Expand ``COLUMNS(...)`` and ``* LIKE '...'``: a star, a pattern, or a list of names."""
        what = item.this if isinstance(item, exp.Columns) else item
        pairs = list(scope.star())
        if isinstance(what, exp.Star):
            return self._star(what, pairs, scope)
        if isinstance(what, exp.Like | exp.ILike) and isinstance(what.this, exp.Star) and what.expression.is_string:
            pattern = _like(what.expression.name, any_case=isinstance(what, exp.ILike))
            return [one for _, one in pairs if pattern.fullmatch(one.name)]
        if isinstance(what, exp.Literal) and what.is_string:
            return [one for _, one in pairs if re.search(what.name, one.name)]
        if isinstance(what, exp.Array):
            wanted = {part.name.lower() for part in what.expressions}
            return [one for _, one in pairs if one.name.lower() in wanted]
        self.problem("these COLUMNS cannot be traced", item, "Write the columns one by one.")
        return []

    def _on_column(self, node: exp.Expr, scope: Scope) -> Flow:
        assert isinstance(node, exp.Column), "by its handler"
        if isinstance(node.this, exp.Star):
            return merge([one.flow for _, one in self._star_of(node, scope)])
        return self.column(node, scope).flow

    def _on_query(self, node: exp.Expr, scope: Scope) -> Flow:
        relation = self.query(node, scope.ctes, scope)
        scope.depends(relation)
        return merge([one.flow for one in relation.fields()])

    def _on_exists(self, node: exp.Expr, scope: Scope) -> Flow:
        scope.indirect |= {("filter", ref) for ref in self._on_query(node.this, scope)}
        return NOTHING

    def _on_window(self, node: exp.Expr, scope: Scope) -> Flow:
        if node.args.get("partition_by") or node.args.get("order") or not node.args.get("alias"):
            self.window_spec(node, scope)
        return self.flow(node.this, scope)

    def _on_filter(self, node: exp.Expr, scope: Scope) -> Flow:
        scope.indirect |= {("filter", ref) for ref in self.flow(node.expression, scope)}
        return self.flow(node.this, scope)

    def _on_order(self, node: exp.Expr, scope: Scope) -> Flow:
        ordered = [self.flow(part, scope) for part in node.expressions]
        if isinstance(node.this, exp.Expr):
            scope.indirect |= {("sort", ref) for flow in ordered for ref in flow}
            return self.flow(node.this, scope)
        return merge(ordered)

    def _on_lambda(self, node: exp.Expr, scope: Scope) -> Flow:
        names = [part.name.lower() for part in node.expressions]
        return self._bound(names, [node.this], scope)

    def _on_comprehension(self, node: exp.Expr, scope: Scope) -> Flow:
        names = [part.name.lower() for part in (node.expression, node.args.get("position")) if part is not None]
        inner = [part for part in (node.this, node.args.get("condition")) if part is not None]
        return merge([self.flow(node.args["iterator"], scope), self._bound(names, inner, scope)])

    def _bound(self, names: list[str], nodes: Iterable[exp.Expr], scope: Scope) -> Flow:
        scope.bound.extend(names)
        try:
            return merge([self.flow(node, scope) for node in nodes])
        finally:
            del scope.bound[len(scope.bound) - len(names) :]

    def _on_hiding(self, node: exp.Expr, scope: Scope) -> Flow:
        return hide(self._children(node, scope))

    def _on_anonymous(self, node: exp.Expr, scope: Scope) -> Flow:
        flow = self._children(node, scope)
        return hide(flow) if node.name.lower() in _HIDING_NAMES else flow

    def _children(self, node: exp.Expr, scope: Scope) -> Flow:
        return merge([self.flow(child, scope) for child in node.iter_expressions()])

    def _on_star(self, node: exp.Expr, scope: Scope) -> Flow:
        if isinstance(node.parent, exp.Count):
            return NOTHING
        return merge([one.flow for _, one in scope.star()])

    def _on_value(self, node: exp.Expr, scope: Scope) -> Flow:
        return self.flow(node.expression, scope)

    def _on_operand(self, node: exp.Expr, scope: Scope) -> Flow:
        return self.flow(node.this, scope)

    def _on_dot(self, node: exp.Expr, scope: Scope) -> Flow:
        """``a.lower()`` parses as a dot whose left side is a bare name."""
        left = node.this
        if isinstance(left, exp.Identifier):
            left = exp.Column(this=left.copy())
        return merge([self.flow(left, scope), self.flow(node.expression, scope)])

    def _on_leaf(self, node: exp.Expr, scope: Scope) -> Flow:
        del node, scope
        return NOTHING

    _handlers: ClassVar[Mapping[type[exp.Expr], Callable[[Any, exp.Expr, Scope], Flow]]] = {
        exp.Column: _on_column,
        exp.Select: _on_query,
        exp.Union: _on_query,
        exp.Except: _on_query,
        exp.Intersect: _on_query,
        exp.Subquery: _on_query,
        exp.Exists: _on_exists,
        exp.Window: _on_window,
        exp.Filter: _on_filter,
        exp.Order: _on_order,
        exp.Lambda: _on_lambda,
        exp.Comprehension: _on_comprehension,
        exp.Anonymous: _on_anonymous,
        exp.AnonymousAggFunc: _on_anonymous,
        exp.Star: _on_star,
        exp.PropertyEQ: _on_value,
        exp.Cast: _on_operand,
        exp.TryCast: _on_operand,
        exp.Dot: _on_dot,
        exp.Literal: _on_leaf,
        exp.Identifier: _on_leaf,
        exp.DataType: _on_leaf,
        exp.Var: _on_leaf,
        **dict.fromkeys(_HIDING_NODES, _on_hiding),
    }


def is_aggregate(item: exp.Expr) -> bool:
    """True where *item* computes an aggregate over the group, not only in a window or a subquery."""
    stack = [item]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Window):
            stack.extend(node.this.iter_expressions())
            continue
        if isinstance(node, exp.Query):
            continue
        if isinstance(node, exp.AggFunc) or (isinstance(node, exp.Anonymous) and node.name.lower() in _AGGREGATE_NAMES):
            return True
        stack.extend(node.iter_expressions())
    return False


def output_name(item: exp.Expr) -> str:
    """Give the name that an output column has without an alias."""
    if isinstance(item, exp.Column | exp.Dot | exp.Alias):
        return str(item.output_name or item.name)
    return item.sql(dialect="duckdb")


def _parts(node: exp.Column) -> list[str]:
    args = node.args
    return [args[key].name.lower() for key in ("catalog", "db", "table", "this") if args.get(key) is not None]


def _column_of(parts: Sequence[exp.Expr]) -> exp.Column:
    """Read ``a.b`` of ``a.b.*`` as a column."""
    keys = ("catalog", "db", "table", "this")[-len(parts) :]
    return exp.Column(**dict(zip(keys, parts, strict=True)))


def _last(part: exp.Expr | str) -> str:
    return (part if isinstance(part, str) else part.name).lower()


def _cut_of(node: exp.Expr) -> str | None:
    """What *node* cuts its operand to, if it is a time; None for anything else."""
    if isinstance(node, exp.Cast):
        kind = node.to.this
        if kind in {exp.DataType.Type.DATE, exp.DataType.Type.DATE32}:
            return "day"
        return "identity" if kind in _TIMESTAMPS else None
    if isinstance(node, exp.TimestampTrunc | exp.DateTrunc):
        unit = node.args.get("unit")
        return unit.name.lower() if unit is not None else None
    is_date = isinstance(node, exp.Date | exp.TsOrDsToDate) and isinstance(node.this, exp.Expr)
    return "day" if is_date else None


def _cut(times: Times, unit: str) -> Times:
    if not times or unit not in UNITS:
        return NO_TIMES
    cut = ((dataset, time.cut(unit)) for dataset, time in times.items())
    return {dataset: time for dataset, time in cut if time is not None}


def _like(pattern: str, *, any_case: bool) -> re.Pattern[str]:
    text = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
    return re.compile(text, re.IGNORECASE if any_case else 0)
