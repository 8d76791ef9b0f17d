"""Catalog entries without a project around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millpond.catalog import Catalog, ColumnRef, Entry, Lineage, parse_select, trace
from millpond.contracts import Column, Dataset


def ref(name: str) -> ColumnRef:
    """Read ``product.dataset.column``."""
    dataset, _, column = name.rpartition(".")
    return ColumnRef(dataset=dataset, column=column)


def entry(
    name: str,
    columns: Sequence[str | Column],
    *,
    sql: str | None = None,
    schemas: Mapping[str, Mapping[str, str]] | None = None,
    tags: Mapping[str, tuple[str, ...]] | None = None,
    **said: Any,
) -> Entry:
    """Make an entry; a model's lineage is read off *sql*, *said* goes to the dataset, or is its owner."""
    lineage = trace(parse_select(sql, path=f"{name}.sql"), schemas or {}) if sql else Lineage()
    owner = said.pop("owner", None)
    dataset = Dataset(
        name=name,
        columns=tuple(Column(name=one, type="VARCHAR") if isinstance(one, str) else one for one in columns),
        **said,
    )
    return Entry(
        dataset=dataset,
        kind="model" if sql else "source",
        product=name.partition(".")[0],
        owner=owner,
        domain=None,
        contract_id="contract",
        contract_version="1.0.0",
        status="active",
        path=f"{name}.sql",
        code=sql or "{}",
        materialization="full" if sql else "files",
        lineage=lineage,
        fingerprint="print",
        checks_digest="checks",
        table=f"{name.replace('.', '/')}/t-1",
        column_tags=tags or {},
    )


def chain() -> Catalog:
    """Customers and orders, a model of both, and a model of that one."""
    customers = {"id": "VARCHAR", "email": "VARCHAR", "country": "VARCHAR"}
    orders = {"customer_id": "VARCHAR", "amount": "VARCHAR", "state": "VARCHAR"}
    joined = """SELECT o.amount, c.country, sha256(c.email) AS who
        FROM shop.orders o JOIN shop.customers c ON o.customer_id = c.id WHERE o.state = 'paid'"""
    schemas = {"shop.customers": customers, "shop.orders": orders}
    top = "SELECT country, sum(amount) AS revenue, count(DISTINCT who) AS buyers FROM shop.sales GROUP BY country"
    read = {"shop.sales": dict.fromkeys(("amount", "country", "who"), "VARCHAR")}
    made = [
        entry("shop.customers", list(customers)),
        entry("shop.orders", list(orders)),
        entry("shop.sales", ["amount", "country", "who"], sql=joined, schemas=schemas),
        entry("shop.by_country", ["country", "revenue", "buyers"], sql=top, schemas=read),
    ]
    return Catalog("prod", {one.dataset.name: one for one in made})
