"""What changed between two definitions of a dataset, and what that means for readers and for stored data.

Pure. Ignores where definitions stand in their files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from millpond.contracts.spec import Change, Column, Dataset, Reference, Rule
from millpond.contracts.sqltypes import widens


def diff(old: Dataset | None, new: Dataset | None) -> tuple[Change, ...]:
    """List the changes from *old* to *new*; None is a dataset that is not there.

    A widened type is compatible: every stored value is a value of the new type. A column made optional is breaking:
    a reader that relied on a value meets none. Columns are matched by their exact names.
    """
    if old is None or new is None:
        if new is not None:
            return (Change(kind="add dataset", what=f"{new.name}: new, {len(new.columns)} columns"),)
        return () if old is None else (Change(kind="drop dataset", what=f"{old.name}: gone", verdict="breaking"),)
    return tuple(_changes(old, new))


def _changes(old: Dataset, new: Dataset) -> Iterator[Change]:
    before = {column.name: column for column in old.columns}
    after = {column.name: column for column in new.columns}
    for name, column in before.items():
        if name not in after:
            yield Change(kind="drop column", what=f"{name}: {column.type}, gone", column=name, verdict="breaking")
    for name, column in after.items():
        if name not in before:
            yield Change(
                kind="add column",
                what=f"{name}: {column.type}{', required' if column.required else ''}, new",
                column=name,
                verdict="needs rebuild" if column.required else "compatible",
            )
        elif column is not before[name] and column != before[name]:
            yield from _column_changes(before[name], column)
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield Change(kind="order", what=f"columns: {', '.join(after)}")
    yield from _dataset_changes(old, new)


def _column_changes(old: Column, new: Column) -> Iterator[Change]:
    name = new.name
    if old.type != new.type:
        what = f"{name}: {old.type} → {new.type}"
        if widens(old.type, new.type):
            yield Change(kind="widen", what=what, column=name)
        else:
            yield Change(
                kind="narrow" if widens(new.type, old.type) else "retype", what=what, column=name, verdict="breaking"
            )
    if new.required and not old.required:
        yield Change(kind="make required", what=f"{name}: optional → required", column=name, verdict="needs rebuild")
    if old.required and not new.required:
        yield Change(kind="make optional", what=f"{name}: required → optional", column=name, verdict="breaking")
    rules = [*_rule_changes(old.rules, new.rules)]
    if old.unique != new.unique:
        rules.append("unique" if new.unique else "no longer unique")
    if rules:
        yield Change(kind="rules", what=f"{name}: {', '.join(rules)}", column=name)
    said = [field for field in _METADATA if getattr(old, field) != getattr(new, field)]
    if said:
        yield Change(kind="metadata", what=f"{name}: {', '.join(map(_spaced, said))}", column=name)


_METADATA = ("physical_name", "description", "business_name", "classification", "critical", "tags", "examples")


def _dataset_changes(old: Dataset, new: Dataset) -> Iterator[Change]:
    if old.primary_key != new.primary_key:
        yield Change(kind="key", what=f"key: {_names(old.primary_key)} → {_names(new.primary_key)}", verdict="breaking")
    if old.partition_by != new.partition_by:
        what = f"partitioning: {_names(old.partition_by)} → {_names(new.partition_by)}"
        yield Change(kind="partition", what=what, verdict="needs rebuild")
    rules = [*_rule_changes(old.rules, new.rules)]
    if _bare_references(old) != _bare_references(new):
        rules.append("references")
    if rules:
        yield Change(kind="rules", what=f"rules: {', '.join(rules)}")
    said = [
        f for f in ("name", "description", "business_name", "tags", "properties") if getattr(old, f) != getattr(new, f)
    ]
    if said:
        yield Change(kind="metadata", what=f"dataset: {', '.join(map(_spaced, said))}")


def _rule_changes(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> Iterator[str]:
    before = {rule.id: replace(rule, at=None) for rule in old}
    after = {rule.id: replace(rule, at=None) for rule in new}
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) != after.get(name):
            yield f"{'new' if name not in before else 'gone' if name not in after else 'changed'} {name}"


def _bare_references(dataset: Dataset) -> set[Reference]:
    return {replace(reference, at=None) for reference in dataset.references}


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _spaced(field: str) -> str:
    return field.replace("_", " ")
