"""Nouns of stewards: quality, quarantine, access."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millpond.cli.nouns import DatasetArgument
from millpond.cli.options import (
    AsOption,
    DryRunOption,
    EnvOption,
    JsonOption,
    ProjectOption,
    PurposeOption,
    open_workspace,
)
from millpond.cli.output import console, print_json, print_table, reported
from millpond.kernel import to_iso

if TYPE_CHECKING:
    from millpond.flow.review import Review

quality = typer.Typer(help="Whether data is right.", no_args_is_help=True)
quarantine = typer.Typer(help="Rows that were not accepted: look, mend, replay, discard.", no_args_is_help=True)
access = typer.Typer(help="Who sees what, and why.", no_args_is_help=True)

WhereOption = Annotated[
    str | None, typer.Option("--where", help="Only rows for which this SQL condition holds.", show_default=False)
]
RuleOption = Annotated[str | None, typer.Option("--rule", help="Only rows that broke this rule.", show_default=False)]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids of rows; all that --rule and --where leave.")]


@quality.command("show")
def quality_show(
    dataset: DatasetArgument,
    *,
    rows: Annotated[int, typer.Option("--rows", help="Show so many rows that break each failing rule.")] = 5,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    purpose: PurposeOption = None,
    json_: JsonOption = False,
) -> None:
    """Show the checks of the published version, and of a failed run after it with the rows that failed."""
    from millpond.cli.checks import print_quality
    from millpond.flow import quality_of

    with reported(as_json=json_), open_workspace(project) as workspace:
        found = quality_of(
            workspace,
            workspace.environment(env).name,
            dataset,
            principal=as_ or workspace.settings.identity,
            purpose=purpose,
            rows_max=rows,
        )
        print_quality(found, as_json=json_)


@quarantine.command("list")
def quarantine_list(
    *, project: ProjectOption = None, env: EnvOption = None, as_: AsOption = None, purpose: PurposeOption = None,
    json_: JsonOption = False,
) -> None:  # fmt: skip
    """Count open rows by dataset and rule."""
    from millpond.flow import quarantine_counts

    with reported(as_json=json_), open_workspace(project) as workspace:
        actor = as_ or workspace.settings.identity
        found = quarantine_counts(workspace, workspace.environment(env).name, principal=actor, purpose=purpose)
        if json_:
            print_json(found)
            return
        rows = [(c.dataset, c.rule, c.status, c.rows, str(c.oldest)[:19] if c.oldest else None) for c in found]
        print_table(("dataset", "rule", "status", "rows", "oldest (UTC)"), rows)


@quarantine.command("show")
def quarantine_show(
    dataset: DatasetArgument,
    *,
    rule: RuleOption = None,
    where: WhereOption = None,
    limit: Annotated[int, typer.Option("--limit", help="Rows shown.")] = 20,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    purpose: PurposeOption = None,
    json_: JsonOption = False,
) -> None:
    """Show rows with reason, source, row number and raw text."""
    from millpond.cli.answers import print_answer, print_answer_json
    from millpond.flow import open_quarantine

    with reported(as_json=json_), open_workspace(project) as workspace:
        principal = as_ or workspace.settings.identity
        answer = open_quarantine(
            workspace,
            workspace.environment(env).name,
            dataset,
            rule=rule,
            where=where,
            principal=principal,
            purpose=purpose,
        )
        with answer:
            if json_:
                print_answer_json(answer)
            else:
                print_answer(answer, limit)


@quarantine.command("replay")
def quarantine_replay(
    dataset: DatasetArgument,
    ids: IdsArgument = None,
    *,
    rule: RuleOption = None,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Judge rows again under the contract as it is applied now; those that keep it go into the table."""
    _review(dataset, ids, rule, project, env, as_, action="replay", note=None, edits={}, dry_run=dry_run, json_=json_)


@quarantine.command("discard")
def quarantine_discard(
    dataset: DatasetArgument,
    ids: IdsArgument = None,
    *,
    note: Annotated[str, typer.Option("--note", help="Why; kept with the rows.")],
    rule: RuleOption = None,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Close rows without taking them in; they stay readable."""
    _review(dataset, ids, rule, project, env, as_, action="discard", note=note, edits={}, dry_run=dry_run, json_=json_)


@quarantine.command("edit")
def quarantine_edit(
    dataset: DatasetArgument,
    row_id: Annotated[str, typer.Argument(help="The row's id.")],
    raw: Annotated[str, typer.Argument(help="The row's raw text as it should have been; replayed at once.")],
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    json_: JsonOption = False,
) -> None:
    """Mend one row's raw text and replay it; the text as it came stays in the table's history."""
    _review(
        dataset, [row_id], None, project, env, as_, action="replay", note="edited", edits={row_id: raw}, json_=json_
    )


def _review(
    dataset: str,
    ids: list[str] | None,
    rule: str | None,
    project: Path | None,
    env: str | None,
    as_: str | None,
    *,
    action: Review,
    note: str | None,
    edits: dict[str, str],
    json_: bool,
    dry_run: bool = False,
) -> None:
    from millpond.flow import Selection, review

    with reported(as_json=json_), open_workspace(project) as workspace:
        done = review(
            workspace,
            workspace.environment(env),
            dataset,
            Selection(ids=tuple(ids or ()), rule=rule),
            action=action,
            note=note,
            edits=edits,
            actor=as_ or workspace.settings.identity,
            dry_run=dry_run,
        )
        if json_:
            print_json(done)
            return
        if dry_run:
            console.print(f"{done.selected:,} open rows are meant.")
        elif action == "discard":
            console.print(f"{done.selected:,} rows discarded.")
        else:
            console.print(
                f"{done.selected:,} rows judged again: {done.accepted:,} accepted and published, "
                f"{done.still_bad:,} still bad."
            )


@access.command("explain")
def access_explain(
    principal: Annotated[str, typer.Argument(help="Who.")],
    dataset: DatasetArgument,
    *,
    purpose: PurposeOption = None,
    project: ProjectOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """Say which policies decide what somebody sees of a dataset."""
    from millpond.cli.checks import print_explanation

    with reported(as_json=json_), open_workspace(project) as workspace:
        name = workspace.environment(env).name
        from millpond.catalog import Catalog

        full = Catalog.load(workspace.ledger, name).entry(dataset).dataset.name
        print_explanation(workspace.door(name).explain(principal, full, purpose=purpose), as_json=json_)


@access.command("log")
def access_log(
    *,
    limit: Annotated[int, typer.Option("--limit", help="The newest so many.")] = 20,
    project: ProjectOption = None,
    env: EnvOption = None,
    json_: JsonOption = False,
) -> None:
    """List answers and refusals, newest first."""
    with reported(as_json=json_), open_workspace(project) as workspace:
        kinds = ("query.answered", "query.refused")
        found = list(workspace.ledger.events(kinds=kinds, env=env, limit=limit, newest_first=True))
        if json_:
            print_json(found)
            return
        rows = [
            (
                to_iso(r.at_us)[:19],
                r.event.kind.removeprefix("query."),
                r.event.actor,
                r.event.payload.get("purpose"),
                str(r.event.payload.get("sql", ""))[:100],
            )
            for r in found
        ]
        print_table(("at (UTC)", "", "who", "purpose", "sql"), rows)
