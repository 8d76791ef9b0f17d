"""Generated projects of any size: layered models over a few small CSV files, one contract for each twenty models.

The same arguments give the same files. Run it to look at one: ``python bench/projects.py FOLDER --models 100``.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

LAYERS = 6
MODELS_PER_PRODUCT = 20
SOURCE_ROWS = 50
BASE = (
    ("id", "BIGINT"),
    ("region", "VARCHAR"),
    ("day", "DATE"),
    ("quantity", "BIGINT"),
    ("amount", "DECIMAL(18,2)"),
)
LOGICAL = {
    "BIGINT": "integer",
    "VARCHAR": "string",
    "DATE": "date",
    "DECIMAL(18,2)": "number",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
}
POLICY = """principals:
  - {id: owner, groups: [owners]}
grants:
  - {id: owners-read, to: {groups: [owners]}, datasets: ["*"]}
"""
SETTINGS = """name: generated
environments:
  prod: {}
default_environment: prod
lake: .millpond/lake
ledger: .millpond/ledger.db
engine:
  memory: 512 MiB
identity:
  default: owner
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One dataset of a generated project."""

    product: str
    name: str
    layer: int
    """0: a source."""
    columns: tuple[tuple[str, str], ...]
    sql: str = ""

    @property
    def full_name(self) -> str:
        """``product.name``."""
        return f"{self.product}.{self.name}"


def write_project(root: Path, models: int, *, seed: int = 1) -> int:
    """Write a project of *models* models below *root*; gives the number of its sources."""
    tables = list(make_tables(models, seed=seed))
    by_product: dict[str, list[Table]] = {}
    for table in tables:
        by_product.setdefault(table.product, []).append(table)
    _write(root / "millpond.yaml", SETTINGS)
    _write(root / "policies" / "access.yaml", POLICY)
    for product, members in by_product.items():
        folder = root / "products" / product
        _write(folder / "contract.odcs.yaml", yaml.safe_dump(_contract(product, members), sort_keys=False))
        for table in members:
            if table.layer:
                _write(folder / f"{table.name}.sql", table.sql)
            else:
                location = f"products/{product}/data/{table.name}*.csv"
                _write(folder / f"{table.name}.source.yaml", f"format: csv\nlocation: {location}\n")
                write_rows(root, table.full_name, first=0, rows=SOURCE_ROWS)
    return sum(table.layer == 0 for table in tables)


def write_rows(root: Path, source: str, *, first: int, rows: int) -> Path:
    """Write one more file of *rows* rows for a source, ids from *first* on."""
    product, _, name = source.partition(".")
    lines = ["id,region,day,quantity,amount"]
    lines += [
        f"{row},{'nesw'[row % 4]},2026-01-{1 + row % 28:02},{1 + row % 7},{row % 90}.{row % 100:02}"
        for row in range(first, first + rows)
    ]
    path = root / "products" / product / "data" / f"{name}-{first:06}.csv"
    _write(path, "\n".join(lines) + "\n")
    return path


def make_tables(models: int, *, seed: int = 1) -> Iterator[Table]:
    """Give the sources, then the models, each after what it reads; about a third of the reads cross products."""
    chance = random.Random(seed)
    products = max(1, models // MODELS_PER_PRODUCT)
    layers: list[list[Table]] = [
        [
            Table(product=_product(at % products), name=f"raw_{at:03}", layer=0, columns=BASE)
            for at in range(min(20, max(2, models // 100)))
        ]
    ]
    yield from layers[0]
    per_product = -(-models // products)
    for number in range(models):
        product, place = _product(number % products), number // products
        layer = 1 + place * LAYERS // per_product
        while len(layers) <= layer:
            layers.append([])
        below = [table for table in layers[layer - 1] if table.product == product]
        reads = [chance.choice(below or layers[layer - 1])]
        if layer > 1 and chance.random() < 0.6:
            other = chance.choice(layers[chance.randrange(1, layer)])
            reads += [other] if other.full_name != reads[0].full_name else []
        table = _model(product, f"m_{place:02}_{layer}", layer, reads, chance)
        layers[layer].append(table)
        yield table


def _product(number: int) -> str:
    return f"area_{number:04}"


def _model(product: str, name: str, layer: int, reads: Sequence[Table], chance: random.Random) -> Table:
    """One of: rename and compute, join, window, aggregate; always one row for each id."""
    first = reads[0]
    kind = "join" if len(reads) > 1 else chance.choice(("compute", "window", "group"))
    known = {kind: [column for column, type_ in first.columns if type_ == kind] for kind in LOGICAL}
    extras: list[tuple[str, str, str]] = []
    for number in range(chance.randint(5, 10)):
        money, text = f"a.{chance.choice(known['DECIMAL(18,2)'])}", f"a.{chance.choice(known['VARCHAR'])}"
        extras.append(
            chance.choice(
                (
                    (f"amount_{number}", "DECIMAL(18,2)", f"CAST({money} * {number + 1} / 10 AS DECIMAL(18,2))"),
                    (f"share_{number}", "DOUBLE", f"CAST({money} AS DOUBLE) / nullif(a.quantity + {number}, 0)"),
                    (f"label_{number}", "VARCHAR", f"upper({text}) || '-' || a.region"),
                    (f"large_{number}", "BOOLEAN", f"{money} > {number * 10} AND a.day >= DATE '2026-01-10'"),
                )
            )
        )
    if kind == "join":
        extras.append(("other_amount", "DECIMAL(18,2)", "coalesce(b.amount, 0)"))
    if kind == "window":
        extras.append(("place", "BIGINT", "row_number() OVER (PARTITION BY a.region ORDER BY a.amount DESC, a.id)"))
    select = [f"    a.{column}" for column, _ in BASE] + [f"    {sql} AS {column}" for column, _, sql in extras]
    text = "/*\nmaterialize: full\n*/\n"
    if kind == "group":
        sums = (
            "    id,\n    min(region) AS region,\n    max(day) AS day,\n    CAST(sum(quantity) AS BIGINT) AS quantity"
        )
        others = "".join(f",\n    max({c}) AS {c}" for c, _ in first.columns if c not in dict(BASE))
        amount = ",\n    CAST(sum(amount) AS DECIMAL(18,2)) AS amount"
        text += f"WITH a AS (\nSELECT\n{sums}{amount}{others}\nFROM {first.full_name}\nGROUP BY id\n)\n"
        text += "SELECT\n" + ",\n".join(select) + "\nFROM a\n"
    else:
        text += "SELECT\n" + ",\n".join(select) + f"\nFROM {first.full_name} AS a\n"
        if kind == "join":
            text += f"LEFT JOIN {reads[1].full_name} AS b ON b.id = a.id AND b.region = a.region\n"
        text += "WHERE a.quantity > 0\n"
    columns = (*BASE, *((column, type_) for column, type_, _ in extras))
    return Table(product=product, name=name, layer=layer, columns=columns, sql=text)


def _contract(product: str, tables: Sequence[Table]) -> dict[str, object]:
    return {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "id": f"generated-{product}",
        "name": f"Generated: {product}",
        "version": "1.0.0",
        "status": "active",
        "domain": "bench",
        "dataProduct": product,
        "description": {"purpose": "Stand for one team's product"},
        "tags": ["generated"],
        "schema": [
            {
                "name": table.name,
                "logicalType": "object",
                "physicalType": "table",
                "description": f"Layer {table.layer} of {product}",
                "tags": [f"layer-{table.layer}"],
                "properties": [_property(*column) for column in table.columns],
            }
            for table in tables
        ],
    }


def _property(name: str, type_: str) -> dict[str, object]:
    written: dict[str, object] = {
        "name": name,
        "logicalType": LOGICAL[type_],
        "physicalType": type_,
        "description": f"What {name} is",
        "classification": "internal" if name == "region" else "public",
    }
    if name == "id":
        written |= {"primaryKey": True, "primaryKeyPosition": 1}
    if name == "quantity":
        written |= {"required": True, "logicalTypeOptions": {"minimum": 0}}
    if name == "region":
        rule = {"id": "known", "metric": "invalidValues", "arguments": {"validValues": list("nesw")}, "mustBe": 0}
        written["quality"] = [rule | {"severity": "error"}]
    return written


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sources = write_project(given.folder, given.models, seed=given.seed)
    print(f"{given.models} models and {sources} sources in {given.folder}")


if __name__ == "__main__":
    main()
