# ruff: noqa: E501 - queries and policies are data; a case stays on one line
from __future__ import annotations

import re

import pytest

from millpond.access.gate import GateRefused, admit
from millpond.engines import parse

ORDINARY = [
    "select 1",
    "from a.t",
    "table a.t",
    "select * from a.t",
    "values (1, 'x'), (2, 'y')",
    "select t.x, u.y from a.t as t join a.u u on t.id = u.id left join a.v using (id) where t.x > 3 and u.y is not null",
    "select count(*), sum(x), avg(x) filter (where y > 1), count(distinct z) from a.t group by all having count(*) > 2",
    "select origin, date_trunc('month', day) m, quantile_cont(delay, 0.9) from a.t group by 1, 2 order by 3 desc nulls last limit 5",
    "with f as (select * from a.t), g as (select * from f) select * from f, g where f.id = g.id",
    "with t as (select * from a.t) select * from t",
    "with recursive t(n) as (select 1 union all select n + 1 from t where n < 10) select sum(n) from t",
    "select * from (select x, row_number() over (partition by y order by z desc) rn from a.t) where rn = 1",
    "select x, lag(y, 1, 0) over w, sum(y) over (w rows between 6 preceding and current row) from a.t window w as (order by d)",
    "select first_value(x ignore nulls) over (order by d), ntile(4) over (order by x) from a.t qualify rank() over (order by x) < 3",
    "select x from a.t union all by name select x from a.u except select 1 intersect select 2",
    "select case when x between 1 and 2 then 'a' when x in (3, 4) then 'b' else null end, coalesce(x, 0), nullif(x, 1) from a.t",
    "select cast(x as decimal(18, 2)), try_cast(y as date), z::timestamp with time zone, x::varchar[] from a.t",
    "select date '2024-01-01' + interval 3 day, extract(year from d), d - interval '1 month', now(), current_date, age(d) from a.t",
    "select * exclude (x) replace (y * 2 as y) from a.t",
    "select columns('^d_.*'), columns(c -> c like 'x%') from a.t",
    "select exists(select 1 from a.u where u.id = t.id), x > any(select y from a.u), (select max(y) from a.u) from a.t",
    "select * from a.t where id in (select id from a.u) and (x, y) in (select x, y from a.u)",
    "select t.id, q.m from a.t t, lateral (select max(y) m from a.u where u.id = t.id) q",
    "select * from a.t asof join a.u on t.id = u.id and t.d >= u.d",
    "select * from a.t semi join a.u using (id)",
    "select x, unnest(l) from a.t, range(3) r(i)",
    "select * from unnest([1, 2, 3]) u(n), generate_series(1, 5)",
    "select list_transform(l, x -> x + 1), [y * 2 for y in l if y > 1], l[1], l[1:2], s.a, {'k': 1}, map {'a': 1}['a'] from a.t",
    "select doc ->> '$.a', doc -> 'b', json_extract_string(doc, '$.c') from a.t",
    "select string_agg(x, ', ' order by y), list(x order by y desc), arg_max(x, y) from a.t",
    "select x, count(*) from a.t group by grouping sets ((x), ()) order by all",
    "select x, y, grouping(x) from a.t group by rollup (x, y)",
    "select distinct on (x) x, y from a.t order by x, y desc",
    "select * from a.t pivot (sum(v) for m in ('jan', 'feb') group by k)",
    "select * from a.t unpivot (v for m in (jan, feb))",
    "select * from a.t tablesample 10%",
    "select * from a.t using sample reservoir(100 rows) repeatable (42)",
    "select lower(x) || '-' || upper(y), x like 'a%', x ilike '%b', regexp_matches(x, '^a'), x ~ 'b', not x = y from a.t",
    "select x is distinct from y, x is not distinct from y, -x, x % 2, x // 3, x ** 2, x & 1 from a.t",
    "select median(x), mode(y), stddev(x), corr(x, y), approx_count_distinct(z), histogram(x) from a.t",
    "select x collate nocase from a.t order by x collate nocase limit 10%",
    "select try(cast(x as int)) from a.t",
    "select distinct x from a.t limit 10 offset 20",
    "select t from a.t t",
    "select greatest(x, y), round(x, 2), abs(x), floor(x), ln(x), strftime(d, '%Y'), epoch(d) from a.t",
]  # fmt: skip


def known(name: str) -> str | None:
    """Know every dataset of the product a."""
    return name if name.startswith("a.") else None


@pytest.mark.parametrize("sql", ORDINARY)
def test_what_analysts_write_passes(sql: str) -> None:
    """The gate lets ordinary analytical SQL through, and finds every dataset in it."""
    admitted = admit(parse(sql).tree, dataset=known)
    assert set(admitted.tables) == set(re.findall(r"\ba\.[tuv]\b", sql))


def test_columns_that_may_be_read_are_named() -> None:
    """The names in a query bound what it can read; a star or a whole row means every column."""
    assert admit(parse("select t.x, y from a.t where z = 1").tree, dataset=known).columns >= {"x", "y", "z"}
    assert not admit(parse("select x from a.t").tree, dataset=known).every_column
    for sql in (
        "select * from a.t",
        "select t from a.t",
        "select q from a.t q",
        "from a.t",
        "select columns('x') from a.t",
    ):
        assert admit(parse(sql).tree, dataset=known).every_column


def test_a_name_is_resolved_as_the_engine_does() -> None:
    """A WITH name is visible after it and inside, not before it and not beside its subquery."""
    admit(parse("with x as (select 1), y as (from x) select * from x, y, (from x) z").tree, dataset=known)
    for sql in (
        "with x as (from y), y as (select 1) from x",
        "from x, (with x as (select 1) from x) q",
        "with x as (from x) from x",
    ):
        with pytest.raises(GateRefused, match="is not a name from a WITH clause"):
            admit(parse(sql).tree, dataset=known)


@pytest.mark.parametrize(
    "change",
    [
        {"type": "SELECT_NODE_2"},
        {"brand_new_clause": [1]},
        {"from_table": {"type": "BASE_TABLE", "schema_name": "a", "table_name": "t", "new_option": "x"}},
        {
            "from_table": {
                "type": "BASE_TABLE",
                "schema_name": "a",
                "table_name": "t",
                "qualified_name": {"path": ["b", "t"]},
            }
        },
        {"select_list": [{"class": "NEW_EXPRESSION", "type": "NEW"}]},
        {"select_list": [{"class": "OPERATOR", "type": "OPERATOR_NEW", "children": []}]},
        {"select_list": [{"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"class": "SUBQUERY"}}]},
        {"select_list": [5]},
        {"group_sets": [{"class": "FUNCTION"}]},
        {"cte_map": {"map": [{"key": "x", "value": {"new": 1}}]}},
        {"sample": {"sample_size": 1, "query": {"class": "SUBQUERY"}}},
    ],
)
def test_what_a_newer_engine_adds_is_refused(change: dict[str, object]) -> None:
    """A part, field or place for an expression that nobody has read yet does not pass."""
    tree = parse("select 1 from a.t").tree
    (statement,) = tree["statements"]  # type: ignore[misc]
    with pytest.raises(GateRefused):
        admit({"statements": [{"node": {**statement["node"], **change}}]}, dataset=known)


@pytest.mark.parametrize(
    "tree", [{}, {"error": True}, {"statements": []}, {"statements": [{"node": 3}]}, {"statements": 7}]
)
def test_a_tree_that_is_none_is_refused(tree: dict[str, object]) -> None:
    """Anything but one statement's tree is refused, not misread."""
    with pytest.raises(GateRefused):
        admit(tree, dataset=known)
