"""Nouns of engineers: catalog, env, lake, audit, ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millpond.cli.options import AsOption, DryRunOption, EnvOption, JsonOption, ProjectOption, open_workspace
from millpond.cli.output import console, pairs, print_json, print_table, reported
from millpond.kernel import format_bytes, to_iso

catalog = typer.Typer(help="What there is: datasets, columns, owners, lineage.", no_args_is_help=True)
env = typer.Typer(help="Environments: what each shows, differences, history, rollback.", no_args_is_help=True)
lake = typer.Typer(help="The tables: versions, upkeep.", no_args_is_help=True)
audit = typer.Typer(help="The record of what happened.", no_args_is_help=True)
ledger = typer.Typer(help="The ledger itself.", no_args_is_help=True)

DatasetArgument = Annotated[str, typer.Argument(help="product.dataset, or the dataset alone where it is unique.")]


@catalog.command("list")
def catalog_list(*, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False) -> None:
    """List every dataset."""
    from millpond.cli.catalogs import print_entries

    with reported(as_json=json_), open_workspace(project) as workspace:
        print_entries(workspace, workspace.environment(env).name, as_json=json_)


@catalog.command("show")
def catalog_show(
    dataset: DatasetArgument, *, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False
) -> None:
    """Show one dataset: columns, promises, versions, last checks."""
    from millpond.cli.catalogs import print_entry

    with reported(as_json=json_), open_workspace(project) as workspace:
        print_entry(workspace, workspace.environment(env).name, dataset, as_json=json_)


@catalog.command("search")
def catalog_search(
    words: Annotated[list[str], typer.Argument(help="All must be found.")],
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """Find datasets by words in names, columns, descriptions, tags and owners."""
    from millpond.catalog import Catalog

    with reported(as_json=json_), open_workspace(project) as workspace:
        hits = Catalog.load(workspace.ledger, workspace.environment(env).name).search(" ".join(words))
        if json_:
            print_json([{"dataset": h.entry.dataset.name, "score": h.score, "where": list(h.where)} for h in hits])
            return
        rows = [(h.entry.dataset.name, ", ".join(h.where), h.entry.dataset.description) for h in hits]
        print_table(("dataset", "found in", "description"), rows)


@catalog.command("lineage")
def catalog_lineage(
    name: Annotated[str, typer.Argument(help="A dataset, or dataset.column.")],
    *,
    up: Annotated[bool, typer.Option("--up", help="Where it comes from (the default).")] = False,
    down: Annotated[bool, typer.Option("--down", help="What depends on it.")] = False,
    direct: Annotated[bool, typer.Option("--direct", help="Values only; no filters, joins or groupings.")] = False,
    project: ProjectOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """Follow columns from source file to model, or the other way."""
    from millpond.cli.catalogs import print_lineage

    with reported(as_json=json_), open_workspace(project) as workspace:
        directions = [d for d, wanted in (("up", up or not down), ("down", down)) if wanted]
        print_lineage(workspace, workspace.environment(env).name, name, directions, indirect=not direct, as_json=json_)


@env.command("list")
def env_list(*, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """List environments and what they show."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        rows = []
        for name in workspace.settings.environments:
            last = workspace.ledger.publications(name, limit=1)
            rows.append(
                (
                    name,
                    len(workspace.ledger.pointers(name)),
                    last[0].seq if last else None,
                    to_iso(last[0].at_us) if last else None,
                )
            )
        if json_:
            print_json([dict(zip(("env", "datasets", "publication", "at"), row, strict=True)) for row in rows])
        else:
            print_table(("environment", "datasets", "publication", "at"), rows)


@env.command("history")
def env_history(*, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False) -> None:
    """List publications, newest first: the numbers that rollback takes."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        history = workspace.ledger.publications(workspace.environment(env).name)
        if json_:
            print_json(history)
            return
        rows = [(p.seq, to_iso(p.at_us)[:19], p.actor, len(p.changes), p.reason) for p in history]
        print_table(("publication", "at (UTC)", "by", "datasets", "reason"), rows)


@env.command("diff")
def env_diff(
    left: Annotated[str, typer.Argument(help="An environment.")],
    right: Annotated[str, typer.Argument(help="Another one.")],
    *,
    project: ProjectOption = None,
    json_: JsonOption = False,
) -> None:
    """Compare what two environments show."""
    from millpond.flow import difference

    with reported(as_json=json_), open_workspace(project) as workspace:
        found = difference(workspace, workspace.environment(left).name, workspace.environment(right).name)
        if json_:
            print_json(found)
            return
        rows = [
            (
                d.dataset,
                f"{d.left.table} v{d.left.version}" if d.left else None,
                f"{d.right.table} v{d.right.version}" if d.right else None,
            )
            for d in found
        ]
        print_table(("dataset", left, right), rows)
        console.print(f"{len(rows)} differ." if rows else "They show the same.")


@env.command("rollback")
def env_rollback(
    *,
    to: Annotated[int | None, typer.Option("--to", help="Show what was shown after this publication.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", help="Only this one; may be repeated.")] = None,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Move pointers back: before the newest publication, or to an earlier one. Touches no data."""
    from millpond.flow import rollback

    with reported(as_json=json_), open_workspace(project) as workspace:
        name = workspace.environment(env).name
        moved = rollback(
            workspace, name, to_seq=to, only=dataset or (), actor=as_ or workspace.settings.identity, dry_run=dry_run
        )
        if json_:
            print_json({d: {"from": before, "to": after} for d, (before, after) in moved.items()})
            return
        rows = [(d, b.version if b else None, a.version if a else None) for d, (b, a) in moved.items()]
        print_table(("dataset", "from version", "to version"), rows)
        done = "would show" if dry_run else "shows"
        console.print(f"{name} {done} {len(rows)} datasets as they were.")


@lake.command("tables")
def lake_tables(*, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False) -> None:
    """List an environment's tables with versions, files, rows and bytes."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        rows = []
        for name, pointer in sorted(workspace.ledger.pointers(workspace.environment(env).name).items()):
            snapshot = workspace.snapshot(pointer)
            rows.append((name, pointer.version, len(snapshot.files), snapshot.rows, snapshot.bytes, pointer.table))
        heads = ("dataset", "version", "files", "rows", "bytes", "table")
        if json_:
            print_json([dict(zip(heads, row, strict=True)) for row in rows])
        else:
            print_table(heads, [(*row[:4], format_bytes(row[4]), row[5]) for row in rows])


@lake.command("history")
def lake_history(
    dataset: DatasetArgument, *, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False
) -> None:
    """List a table's versions, newest first."""
    from millpond.catalog import Catalog

    with reported(as_json=json_), open_workspace(project) as workspace:
        name = workspace.environment(env).name
        entry = Catalog.load(workspace.ledger, name).entry(dataset)
        history = workspace.lake.table(entry.table).history(50)
        if json_:
            print_json(history)
            return
        rows = [
            (
                v.version,
                to_iso(v.at_us)[:19],
                v.operation,
                v.rows_added,
                v.rows_removed,
                v.files_added,
                v.files_removed,
                v.run_id,
            )
            for v in history
        ]
        print_table(("version", "at (UTC)", "operation", "rows +", "rows -", "files +", "files -", "run"), rows)


@lake.command("vacuum")
def lake_vacuum(
    *, project: ProjectOption = None, as_: AsOption = None, dry_run: DryRunOption = False, json_: JsonOption = False
) -> None:
    """Remove files that no pointer, no rollback within the time-travel window and no living run needs."""
    from millpond.flow import vacuum

    with reported(as_json=json_), open_workspace(project) as workspace:
        actor = as_ or workspace.settings.identity
        done = vacuum(workspace, actor=actor, dry_run=dry_run, report=lambda _: None)
        if json_:
            print_json(done)
            return
        print_table(("table", "files", "size"), [(t.table, t.files, format_bytes(t.bytes)) for t in done])
        size = format_bytes(sum(t.bytes for t in done))
        verb = "would be removed" if dry_run else "removed"
        console.print(f"{sum(t.files for t in done)} files, {size} {verb}.")


@lake.command("compact")
def lake_compact(
    dataset: Annotated[list[str] | None, typer.Argument(help="Only these.")] = None,
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Rewrite small files into larger ones; rows stay the same."""
    from millpond.flow import compact

    with reported(as_json=json_), open_workspace(project) as workspace:
        name, actor = workspace.environment(env).name, as_ or workspace.settings.identity
        done = compact(workspace, name, only=dataset or (), actor=actor, dry_run=dry_run)
        if json_:
            print_json(done)
            return
        rows = [
            (t.dataset, t.files_before, t.files_after, format_bytes(t.bytes_before), format_bytes(t.bytes_after))
            for t in done
        ]
        print_table(("dataset", "files", "files after", "size", "size after"), rows)
        console.print(f"{len(rows)} tables {'would be ' if dry_run else ''}compacted.")


@audit.command("verify")
def audit_verify(
    file: Annotated[Path | None, typer.Argument(help="An export, verified without the ledger.")] = None,
    *,
    project: ProjectOption = None,
    json_: JsonOption = False,
) -> None:
    """Check the chain of events: any changed, missing or reordered record is found."""
    from millpond.ledger import verify_export

    with reported(as_json=json_):
        if file is not None:
            report = verify_export(file)
        else:
            with open_workspace(project) as workspace:
                report = workspace.ledger.verify()
        if json_:
            print_json(report)
        elif report.broken_at is None:
            console.print(f"[green]The chain is whole:[/green] {report.records:,} records, head {report.head[:16]}...")
        else:
            console.print(f"[bold red]The chain is broken at record {report.broken_at}:[/bold red] {report.reason}")
        if report.broken_at is not None:
            raise SystemExit(7)


@audit.command("list")
def audit_list(
    *,
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; may be repeated.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only about this dataset.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="The newest so many.")] = 30,
    project: ProjectOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """List what happened, newest first."""
    from millpond.cli.catalogs import describe_event

    with reported(as_json=json_), open_workspace(project) as workspace:
        found = list(
            workspace.ledger.events(kinds=kind or (), subject=dataset, env=env, limit=limit, newest_first=True)
        )
        if json_:
            print_json(found)
            return
        rows = [
            (
                r.seq,
                to_iso(r.at_us)[:19],
                r.event.kind,
                r.event.actor,
                r.event.env,
                r.event.subject,
                describe_event(r.event),
            )
            for r in found
        ]
        print_table(("record", "at (UTC)", "what", "who", "env", "dataset", ""), rows)


@audit.command("export")
def audit_export(
    file: Annotated[Path, typer.Argument(help="Where to write JSON lines.")],
    *,
    project: ProjectOption = None,
    json_: JsonOption = False,
) -> None:
    """Write the whole record to a file that can be verified offline."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        report = workspace.ledger.export(file)
        if json_:
            print_json(report)
        else:
            console.print(
                f"{report.records:,} records written to {file}. Verify: millpond audit verify {file}", markup=False
            )


@ledger.command("rebuild")
def ledger_rebuild(*, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Make every projection again from the chain of events."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        events = workspace.ledger.rebuild(actor=workspace.settings.identity)
        if json_:
            print_json({"events": events})
        else:
            console.print(f"Rebuilt from {events:,} events.")


@ledger.command("show")
def ledger_show(*, project: ProjectOption = None, json_: JsonOption = False) -> None:
    """Show where the ledger is and who holds leases."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        leases = workspace.ledger.leases()
        facts = {
            "place": workspace.ledger.place,
            "environments": ", ".join(workspace.ledger.envs()),
            "leases": len(leases),
        }
        if json_:
            print_json({**facts, "leases": leases})
        else:
            pairs(facts)
