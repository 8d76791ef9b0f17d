"""What can be known to be wrong without data: definitions, types, rules, and the models' own tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from millpond.flow.definitions import Definitions, shape_of
from millpond.flow.remembered import key_of
from millpond.flow.settings import Environment
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, Problem, ProblemsFound
from millpond.models import CaseResult, check_types, load_cases, run_case
from millpond.quality import check_rules


def check_definitions(workspace: Workspace, definitions: Definitions, *, only: Sequence[str] | None = None) -> None:
    """Bind every model and every rule in the engine over empty tables; runs nothing.

    *only* limits the binding to some datasets. Cost: about 5 ms per dataset, 0.1 ms where it was found good before.

    Raises:
        ProblemsFound: everything that could not run, or whose columns are not what the contract says.
    """
    asked = [name for level in definitions.levels for name in level] if only is None else list(only)
    keys = {name: _key(workspace, definitions, name) for name in asked}
    good = workspace.remembered.recall(keys.values(), lambda _, body: body["good"])
    names = [name for name in asked if not good.get(keys[name])]
    if not names:
        return
    problems: list[Problem] = []
    sound: dict[str, Mapping[str, Json]] = {}
    with workspace.engine.session(workspace.limits()) as session:
        wanted = set(names)
        for name in names:
            if name in definitions.models:
                wanted.update(definitions.models[name].upstream)
            wanted.update(reference.to_dataset for reference in definitions.entries[name].dataset.references)
        for name in sorted(wanted):
            dataset = definitions.entries[name].dataset
            session.attach_empty(name, [(column.name, column.type) for column in dataset.columns])
        for name in names:
            dataset = definitions.entries[name].dataset
            before = len(problems)
            if name in definitions.models:
                problems.extend(check_types(definitions.models[name], dataset, session))
            references = {reference.to_dataset: reference.to_dataset for reference in dataset.references}
            problems.extend(check_rules(dataset, relation=name, session=session, references=references))
            if len(problems) == before:
                sound[keys[name]] = {"good": True}
    workspace.remembered.remember(sound)
    if problems:
        raise ProblemsFound(problems)


def _key(workspace: Workspace, definitions: Definitions, name: str) -> str:
    """What the verdict on one dataset follows from: its query and rules, and the columns of all that they name."""
    entry, model = definitions.entries[name], definitions.models.get(name)
    read = {*(model.upstream if model else ()), *(reference.to_dataset for reference in entry.dataset.references)}
    return key_of(
        "good",
        workspace.engine.name,
        name,
        [model.sql, model.spec.materialize] if model else None,
        entry.checks_digest,
        {other: shape_of(definitions.entries[other].dataset) for other in (name, *sorted(read))},
    )


def run_cases(workspace: Workspace, env: Environment, *, only: Sequence[str]) -> tuple[CaseResult, ...]:
    """Run the unit tests of *only* these models, or of all; reads no data of the lake.

    Raises:
        ProblemsFound: a test names what does not exist.
    """
    definitions = workspace.definitions(env)
    schemas = {
        name: {column.name: column.type for column in entry.dataset.columns}
        for name, entry in definitions.entries.items()
    }
    results = []
    for path in sorted((workspace.root / "products").rglob("tests/*.yaml")):
        for case in load_cases(path, root=workspace.root):
            if only and case.model not in only and case.model.partition(".")[2] not in only:
                continue
            model = definitions.models.get(case.model)
            if model is None:
                what = f"{case.model} is not a model"
                raise ProblemsFound([Problem(what=what, at=case.at, fix=f"One of: {', '.join(definitions.models)}.")])
            with workspace.engine.session(workspace.limits()) as session:
                results.append(run_case(case, model, schemas, session))
    return tuple(results)
