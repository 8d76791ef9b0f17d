"""The catalog on the screen and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from rich.markup import escape
from rich.tree import Tree

from millpond.catalog import Catalog, ColumnRef, Direction, Edge, Entry, entry_to_json
from millpond.cli.output import console, pairs, print_json, print_table
from millpond.flow import Workspace
from millpond.kernel import Json, MillpondError, format_bytes, format_count, suggest
from millpond.ledger import Event
from millpond.quality import describe_rule

_EDGES_MAX = 400


class ColumnUnknown(MillpondError):
    """A dataset has no column of that name."""

    code = "column-unknown"
    exit_code = 2


def print_entries(workspace: Workspace, env: str, *, as_json: bool) -> None:
    """Print every dataset of an environment."""
    catalog = Catalog.load(workspace.ledger, env)
    pointers = workspace.ledger.pointers(env)
    rows = [
        (
            name,
            entry.materialization if entry.kind == "model" else entry.kind,
            len(entry.dataset.columns),
            pointers[name].version if name in pointers else None,
            entry.owner,
            entry.dataset.description,
        )
        for name, entry in catalog.entries.items()
        if entry.kind != "quarantine"
    ]
    heads = ("dataset", "made as", "columns", "version", "owner", "description")
    if as_json:
        print_json([dict(zip(heads, row, strict=True)) for row in rows])
        return
    print_table(heads, rows)


def print_entry(workspace: Workspace, env: str, dataset: str, *, as_json: bool) -> None:
    """Print one dataset."""
    catalog = Catalog.load(workspace.ledger, env)
    entry = catalog.entry(dataset)
    name = entry.dataset.name
    pointer = workspace.ledger.pointers(env).get(name)
    checks = _checks(workspace, entry)
    if as_json:
        shown = {"version": pointer.version, "table": pointer.table} if pointer else None
        print_json({**entry_to_json(entry), "published": shown, "checks": checks})
        return
    console.print(f"[bold]{escape(name)}[/bold]  [dim]{entry.kind}, {entry.materialization}[/dim]")
    if entry.dataset.description:
        console.print(entry.dataset.description.strip(), markup=False)
    snapshot = workspace.snapshot(pointer) if pointer else None
    facts: dict[str, object] = {
        "owner": entry.owner,
        "domain": entry.domain,
        "contract": f"{entry.contract_id} {entry.contract_version} ({entry.status})",
        "made by": entry.path,
        "version": pointer.version if pointer else "never published",
        "rows": format_count(snapshot.rows) if snapshot else None,
        "size": f"{format_bytes(snapshot.bytes)} in {len(snapshot.files)} files" if snapshot else None,
        "reads": ", ".join(entry.lineage.datasets) or None,
        "read by": ", ".join(catalog.downstream(name)) or None,
    }
    pairs(facts)
    console.print()
    rows = [
        (
            column.name,
            column.type,
            ", ".join(
                word
                for word, said in (
                    (f"key {column.primary_key}", column.primary_key is not None),
                    ("required", column.required),
                    ("unique", column.unique),
                    ("critical", column.critical),
                )
                if said
            ),
            ", ".join(entry.column_tags.get(column.name, ())),
            column.description,
        )
        for column in entry.dataset.columns
    ]
    print_table(("column", "type", "", "tags", "description"), rows)
    rules = [*entry.dataset.rules, *(rule for column in entry.dataset.columns for rule in column.rules)]
    if rules:
        console.print()
        print_table(("rule", "severity", "says"), [(r.id, str(r.severity), describe_rule(r)) for r in rules])
    if checks:
        failed = [check for check in checks if check["outcome"] != "passed"]
        console.print(f"\nLast checks: {len(checks) - len(failed)} passed, {len(failed)} not.")
        for check in failed:
            console.print(f"  {check['rule']}: {check['message']}", style="yellow", markup=False)


def _checks(workspace: Workspace, entry: Entry) -> list[Mapping[str, Json]]:
    found = workspace.ledger.latest_checks([entry.table]).get(entry.table)
    return [] if found is None else cast("list[Mapping[str, Json]]", found["results"])


def print_lineage(
    workspace: Workspace, env: str, name: str, directions: Sequence[str], *, indirect: bool, as_json: bool
) -> None:
    """Print what a dataset's or a column's values come from, or what depends on them."""
    catalog = Catalog.load(workspace.ledger, env)
    start = _columns(catalog, name)
    found = {
        direction: catalog.trace(start, cast("Direction", direction), indirect=indirect) for direction in directions
    }
    if as_json:
        print_json(
            {
                direction: [{"from": str(e.source), "to": str(e.target), "how": e.how} for e in edges]
                for direction, edges in found.items()
            }
        )
        return
    for direction, edges in found.items():
        tree = Tree(f"[bold]{escape(name)}[/bold] [dim]{'comes from' if direction == 'up' else 'flows into'}[/dim]")
        _grow(tree, start, edges, direction)
        console.print(tree)


def _columns(catalog: Catalog, name: str) -> list[ColumnRef]:
    head, _, last = name.rpartition(".")
    for full, entry in catalog.entries.items():
        if head and head in {full, full.partition(".")[2]} and entry.dataset.column(last) is not None:
            return [ColumnRef(dataset=full, column=last)]
        if head in {full, full.partition(".")[2]} and name not in catalog.entries:
            known = [column.name for column in entry.dataset.columns]
            raise ColumnUnknown(f"{full} has no column {last}.", hint=suggest(last, known))
    entry = catalog.entry(name)
    return [ColumnRef(dataset=entry.dataset.name, column=column.name) for column in entry.dataset.columns]


def _grow(tree: Tree, start: Sequence[ColumnRef], edges: Sequence[Edge], direction: str) -> None:
    """Hang each edge below its column; a column that was shown before is not unfolded again."""
    by_column: dict[ColumnRef, list[Edge]] = {}
    for edge in edges:
        by_column.setdefault(edge.target if direction == "up" else edge.source, []).append(edge)
    shown: set[ColumnRef] = set()
    count = 0

    def hang(branch: Tree, ref: ColumnRef) -> None:
        nonlocal count
        shown.add(ref)
        ways: dict[ColumnRef, list[str]] = {}
        for edge in by_column.get(ref, ()):
            further = edge.source if direction == "up" else edge.target
            ways.setdefault(further, []).append(edge.how)
        for further, how in ways.items():
            count += 1
            if count > _EDGES_MAX:
                return
            again = " ↑" if further in shown and further in by_column else ""
            twig = branch.add(f"{escape(str(further))} [dim]{', '.join(dict.fromkeys(how))}{again}[/dim]")
            if further not in shown:
                hang(twig, further)

    for ref in start:
        if ref in by_column:
            hang(tree.add(escape(str(ref))), ref)
    if count > _EDGES_MAX:
        console.print(f"Only the first {_EDGES_MAX} flows are drawn; all of them: --json", style="dim")


def describe_event(event: Event) -> str:
    """Say in a few words what an event holds."""
    payload = event.payload
    for key in ("reason", "sql", "state", "deployment", "rows", "version"):
        if key in payload:
            return f"{key}: {str(payload[key])[:80]}"
    return ""
