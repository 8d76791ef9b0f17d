"""A project's files as one frozen value: contracts, sources, models and policies, with every problem found at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from millpond.access import PolicySet, load_policies
from millpond.contracts import Contract, Dataset, load_contract
from millpond.flow.settings import Settings, load_settings
from millpond.ingest import FileSource, load_source
from millpond.kernel import Location, Problem, ProblemsFound, suggest
from millpond.models import ModelSpec, load_model

T = TypeVar("T")

_SOURCE = ".source.yaml"
_CONTRACT = ".odcs.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """All that a project's files say."""

    root: Path
    settings: Settings
    contracts: tuple[Contract, ...]
    contract_of: Mapping[str, Contract] = field(hash=False)
    """Dataset → the contract that promises it."""
    datasets: Mapping[str, Dataset] = field(hash=False)
    sources: Mapping[str, FileSource] = field(hash=False)
    """Dataset → how it comes in."""
    models: Mapping[str, ModelSpec] = field(hash=False)
    """Dataset → how it is derived."""
    policies: PolicySet


def load_project(root: Path) -> Project:
    """Read and validate every definition below *root*.

    Cost: about 0.5 ms per dataset.

    Raises:
        ProblemsFound: all problems of all files, in the order of the files.
    """
    settings = load_settings(root)
    problems: list[Problem] = []
    contracts: list[Contract] = []
    sources: dict[str, FileSource] = {}
    models: dict[str, ModelSpec] = {}
    for folder in sorted(path for path in (root / "products").glob("*") if path.is_dir()):
        promised = _gather(
            problems, (_reader(load_contract, path, root) for path in sorted(folder.rglob(f"*{_CONTRACT}")))
        )
        contracts.extend(promised)
        product = promised[0].product if promised else folder.name
        for path in sorted(folder.rglob(f"*{_SOURCE}")):
            for source in _gather(problems, [_maker(load_source, path, root, product)]):
                sources[source.dataset] = source
        for path in sorted(folder.rglob("*.sql")):
            if not path.name.endswith(".stream.sql"):
                for model in _gather(problems, [_maker(load_model, path, root, product)]):
                    models[model.dataset] = model
    policies = _gather(problems, [lambda: load_policies(sorted((root / "policies").glob("*.yaml")), root=root)])
    contract_of = {dataset.name: contract for contract in contracts for dataset in contract.datasets}
    datasets = {dataset.name: dataset for contract in contracts for dataset in contract.datasets}
    problems.extend(_twice(contracts))
    problems.extend(_unmade(datasets, contract_of, sources, models))
    problems.extend(_dangling(datasets, contract_of))
    if problems:
        raise ProblemsFound(problems)
    return Project(
        root=root,
        settings=settings,
        contracts=tuple(contracts),
        contract_of=contract_of,
        datasets=datasets,
        sources=sources,
        models=models,
        policies=policies[0],
    )


def _reader(load: Callable[..., T], path: Path, root: Path) -> Callable[[], T]:
    return lambda: load(path, root=root)


def _maker(load: Callable[..., T], path: Path, root: Path, product: str) -> Callable[[], T]:
    return lambda: load(path, root=root, product=product)


def _gather(problems: list[Problem], readers: Iterable[Callable[[], T]]) -> list[T]:
    """Run the readers; keep what loads, collect the problems of what does not."""
    loaded = []
    for read in readers:
        try:
            loaded.append(read())
        except ProblemsFound as found:
            problems.extend(found.problems)
    return loaded


def _twice(contracts: Iterable[Contract]) -> Iterable[Problem]:
    seen: dict[str, Contract] = {}
    for contract in contracts:
        for dataset in contract.datasets:
            first = seen.setdefault(dataset.name, contract)
            if first is not contract:
                at = dataset.at or Location(contract.path)
                fix = "Keep one of the two, or give one contract another dataProduct."
                yield Problem(what=f"{dataset.name} is promised in {first.path} already", at=at, fix=fix)


def _unmade(
    datasets: Mapping[str, Dataset],
    contract_of: Mapping[str, Contract],
    sources: Mapping[str, FileSource],
    models: Mapping[str, ModelSpec],
) -> Iterable[Problem]:
    """A dataset is made by exactly one file, and a file makes exactly one dataset that is promised."""
    for name in sorted({*sources, *models}):
        place = sources[name].at if name in sources else Location(models[name].path, models[name].sql_line)
        if name in sources and name in models:
            what = f"{name} is made twice: by a source and by {models[name].path}"
            yield Problem(what=what, at=place or Location(name), fix="Remove one of the two.")
        if name not in datasets:
            what = f"{name} is made here, but no contract promises it"
            yield Problem(
                what=what, at=place or Location(name), fix=f"Add it to the contract. {suggest(name, datasets)}"
            )
    for name, dataset in datasets.items():
        if name not in sources and name not in models:
            short = name.partition(".")[2]
            what = f"{name} is promised, but nothing makes it"
            fix = f"Add {short}{_SOURCE} or {short}.sql beside the contract."
            yield Problem(what=what, at=dataset.at or Location(contract_of[name].path), fix=fix)


def _dangling(datasets: Mapping[str, Dataset], contract_of: Mapping[str, Contract]) -> Iterable[Problem]:
    for name, dataset in datasets.items():
        for reference in dataset.references:
            target = datasets.get(reference.to_dataset)
            at = reference.at or dataset.at or Location(contract_of[name].path)
            if target is None:
                what = f"{name} refers to {reference.to_dataset}, which no contract promises"
                yield Problem(what=what, at=at, fix=suggest(reference.to_dataset, datasets))
                continue
            for column in reference.to_columns:
                if target.column(column) is None:
                    names = [other.name for other in target.columns]
                    what = f"{name} refers to {reference.to_dataset}.{column}, which does not exist"
                    yield Problem(what=what, at=at, fix=suggest(column, names))
