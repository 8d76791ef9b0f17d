# ruff: noqa: E501 - queries and policies are data; a case stays on one line
"""A small laboratory behind a real door: rows, columns, values and a dataset that must never come out of it.

There are two worlds. They differ only in what is hidden, so whatever an outsider gets must be the same in both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from millpond.access import AccessRefused, AnswerFailed, Door, PolicySet, Principal, Visible, load_policies
from millpond.contracts import Column, Dataset
from millpond.engines import DuckDBEngine, EngineLimits
from millpond.kernel import MiB, Secret, Store
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.ledger import Event

MARKERS = ("HIDDEN", "PATIENT", "WITHHELD", "VAULT", "987654", "987655", "_mp_raw", "parquet", "MASKKEY", "principal.")
"""Planted in hidden rows, masked values, withheld columns, a hidden dataset, paths and policies."""

POLICIES = """
principals:
  - {id: ana, groups: [analysts], attributes: {site: north, level: "3"}}
  - {id: eve, groups: [guests], attributes: {}}
  - {id: sam, groups: [stewards]}
  - {id: bot, groups: [analysts], attributes: {site: south, level: "1"}, kind: service}
grants:
  - {id: lab-read, to: {groups: [analysts, stewards]}, datasets: ["lab.*"]}
  - {id: guests-read, to: {groups: [guests]}, datasets: [lab.sites, lab.visits], purposes: [care]}
denies:
  - {id: no-notes, on: {tags: [note]}, except: {groups: [stewards]}, reason: notes are for stewards}
masks:
  - {id: hide-restricted, on: {classification: [restricted]}, mask: {kind: partial, keep_last: 2}, except: {groups: [stewards]}}
  - {id: hide-amounts, on: {columns: [amount]}, mask: {kind: band, width: 1000000}, except: {groups: [stewards]}}
filters:
  - {id: own-site, on: {columns: [site]}, rows: "site = principal.site or site = 'open'", except: {groups: [stewards]}}
  - {id: own-place, on: {datasets: [lab.trips]}, rows: "place = principal.site or tail = principal.level", except: {groups: [stewards]}}
  - {id: plain-only, on: {datasets: [lab.visits]}, rows: "kind = 'plain' or doc = principal.id", except: {groups: [stewards]}}
  - {id: no-secret-docs, on: {datasets: [lab.visits]}, rows: "not contains(lower(doc), 'secretdoc')", except: {groups: [stewards]}}
"""

World = Literal["first", "second"]


@dataclass
class Lab:
    door: Door
    policies: PolicySet
    events: list[Event] = field(default_factory=list)
    visibles: dict[str, Visible] = field(default_factory=dict)


def visible(
    root: Path,
    name: str,
    tables: Sequence[pa.Table],
    types: Sequence[tuple[str, str]],
    *,
    classification: dict[str, str] | None = None,
    tags: dict[str, tuple[str, ...]] | None = None,
    owner: str | None = None,
    version: int = 1,
) -> Visible:
    """Write *tables* as the Parquet files of a dataset and give it as an environment would show it."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for index, table in enumerate(tables):
        path = folder / f"part-{index}.parquet"
        pq.write_table(table, path)
        files.append(DataFile(path=path.name, size=path.stat().st_size, rows=table.num_rows))
    columns = tuple(
        Column(name=column, type=type_, classification=(classification or {}).get(column)) for column, type_ in types
    )
    snapshot = Snapshot(
        table=name,
        version=version,
        store=Store(str(folder)),
        schema=TableSchema(columns=tuple(types)),
        files=tuple(files),
    )
    return Visible(
        dataset=Dataset(name=name, columns=columns), snapshot=snapshot, tags=tags or {}, owner=owner or "lab-team"
    )


def make_lab(
    root: Path, world: World = "first", *, policies: str = POLICIES, engine: DuckDBEngine | None = None
) -> Lab:
    """Build the laboratory of one *world* below *root*."""
    path = root / "policies.yaml"
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(policies)
    loaded = load_policies([path], root=root)
    lab = Lab(door=None, policies=loaded)  # type: ignore[arg-type]
    lab.visibles = {shown.dataset.name: shown for shown in _datasets(root, world)}
    lab.door = open_door(lab.visibles, loaded, lab.events.extend, engine=engine)
    return lab


def open_door(
    visibles: dict[str, Visible],
    policies: PolicySet,
    record: Callable[[Sequence[Event]], object],
    *,
    engine: DuckDBEngine | None = None,
    timeout_s: float = 20.0,
) -> Door:
    """Open a door on *visibles* as an environment of its own."""
    return Door(
        engine=engine or DuckDBEngine(),
        policies=policies,
        record=record,
        env="prod",
        resolve=visibles.get,
        names=lambda: list(visibles),
        limits=EngineLimits(memory_bytes_max=512 * MiB, threads=2),
        timeout_s=timeout_s,
        secret=lambda name: Secret(f"MASKKEY-{name}"),
    )


def _datasets(root: Path, world: World) -> list[Visible]:
    seed = 0 if world == "first" else 1
    shown = [
        _visit(i, ["north", "open"][i % 2], f"PATIENT{seed}-{i % 7:02d}", i % 10, "plain", seed) for i in range(60)
    ]
    hidden_site = [
        _visit(1000 + i, "south", f"PATIENT{seed}-HIDDEN{i:02d}", 987654 + seed, "plain", seed) for i in range(9 + seed)
    ]
    hidden_kind = [
        _visit(2000 + i, "north", f"PATIENT{seed}-{i:02d}", 987654 + seed, f"HIDDEN{seed}", seed) for i in range(5)
    ]
    hidden_doc = [
        {**_visit(3000 + i, "north", f"PATIENT{seed}-{i:02d}", 987654 + seed, "plain", seed), "doc": "SecretDoc HIDDEN"}
        for i in range(4)
    ]
    schema = pa.schema([
        ("id", pa.int64()), ("site", pa.string()), ("patient", pa.string()), ("score", pa.int64()), ("kind", pa.string()),
        ("note", pa.string()), ("amount", pa.int64()), ("day", pa.date32()), ("tags", pa.list_(pa.string())),
        ("info", pa.struct([("k", pa.string())])), ("doc", pa.string()),
    ])  # fmt: skip
    types = [
        ("id", "BIGINT"), ("site", "VARCHAR"), ("patient", "VARCHAR"), ("score", "BIGINT"), ("kind", "VARCHAR"),
        ("note", "VARCHAR"), ("amount", "BIGINT"), ("day", "DATE"), ("tags", "VARCHAR[]"), ("info", "STRUCT(k VARCHAR)"),
        ("doc", "VARCHAR"),
    ]  # fmt: skip
    visits = visible(
        root, "lab.visits", [pa.Table.from_pylist(rows, schema) for rows in (shown, hidden_site, hidden_kind, hidden_doc)], types,
        classification={"patient": "restricted"}, tags={"note": ("note",)},
    )  # fmt: skip
    sites = visible(
        root, "lab.sites",
        [pa.table({"site": ["north", "open", f"south-HIDDEN{seed}"], "name": ["North", "Open", f"HIDDEN{seed}"]})],
        [("site", "VARCHAR"), ("name", "VARCHAR")],
    )  # fmt: skip
    codes = visible(
        root, "lab.codes", [pa.table({"code": pa.array(range(5), pa.int64()), "label": list("abcde")})],
        [("code", "BIGINT"), ("label", "VARCHAR")],
    )  # fmt: skip
    count = 20_000
    trips = visible(
        root, "lab.trips",
        [pa.table({
            "id": pa.array(range(count + 1), pa.int64()),
            "place": ["north" if i % 3 == 0 else "south" for i in range(count)] + ["south"],
            "tail": [f"N{i % 500}" for i in range(count)] + [f"HIDDEN{seed}"],
            "delay": pa.array([i * 7919 % 1000 for i in range(count)] + [987654 + seed], pa.int64()),
        })],
        [("id", "BIGINT"), ("place", "VARCHAR"), ("tail", "VARCHAR"), ("delay", "BIGINT")],
    )  # fmt: skip
    vault = visible(
        root, "vault.secrets", [pa.table({"secret": [f"VAULT{seed}"] * (3 + seed)})], [("secret", "VARCHAR")]
    )
    return [visits, sites, codes, trips, vault]


def _visit(id_: int, site: str, patient: str, score: int, kind: str, seed: int) -> dict[str, object]:
    hidden = score > 100
    mark = f"HIDDEN{seed}" if hidden else "plain"
    return {
        "id": id_, "site": site, "patient": patient, "score": score, "kind": kind, "note": f"WITHHELD{seed}-{id_}",
        "amount": (987654 + seed) if not hidden else 5_000_000 + seed, "day": dt.date(2024, 1, 1 + id_ % 28),
        "tags": [mark], "info": {"k": mark}, "doc": f'{{"k": "{mark}"}}',
    }  # fmt: skip


def outcome(lab: Lab, sql: str, principal: Principal | str = "ana", purpose: str | None = "care") -> str:
    """Ask, and give everything that came back as one text: names, types, values, or the error's words."""
    try:
        with lab.door.read(principal, purpose, sql) as answer:
            table = answer.table()
            return f"{answer.schema.names}\n{answer.schema.types}\n{table.to_pydict()}"
    except (AccessRefused, AnswerFailed) as error:
        return f"{type(error).__name__}: {error} {vars(error)}"
