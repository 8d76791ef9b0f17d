"""Loads one contract: an ODCS 3 document as frozen values, or every problem it has.

Owns the order: YAML, version, the published schema, then what only Millpond can know (types, names, keys, references,
expressions). Reads the file and nothing else.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Final

from millpond.contracts.columns import read_columns
from millpond.contracts.document import Document, Path, Unreadable, Value, read_document
from millpond.contracts.references import Known, known_names, read_references
from millpond.contracts.report import Report, as_text, parts_of, text_of, texts_of
from millpond.contracts.rules import dataset_rules
from millpond.contracts.shape import VERSIONS, check_shape
from millpond.contracts.spec import Contract, Dataset, Sla
from millpond.kernel import Location, Problem, ProblemsFound

_KIND: Final = "DataContract"


def load_contract(path: FilePath, *, root: FilePath) -> Contract:
    """Load the ODCS document at *path* (3.0.0 to 3.2.0); places are told relative to *root*.

    About 30 µs per column; a document with parts that only the published JSON Schema knows takes 0.2 s once more.

    Raises:
        ProblemsFound: every problem of the document, in the order of its lines.
    """
    shown = _relative(path, root)
    try:
        document = read_document(path.read_bytes(), shown)
    except Unreadable as cause:
        raise ProblemsFound([cause.problem]) from cause
    except OSError as cause:
        problem = Problem(
            what=f"cannot be read: {cause.strerror}", at=Location(shown), fix="Check that the file is there"
        )
        raise ProblemsFound([problem]) from cause
    body = document.value
    version = _version(document)
    if isinstance(version, Problem) or not isinstance(body, dict):
        raise ProblemsFound([*document.repeated, *([version] if isinstance(version, Problem) else [])])
    report = Report(document, version)
    for finding in check_shape(body, version):
        report.add(finding.path, finding.what, finding.fix, key=finding.key)
    contract = _contract(body, path.absolute().parent.name, report)
    if report.problems:
        raise ProblemsFound(sorted(report.problems, key=lambda problem: (problem.at.line or 0, problem.at.column or 0)))
    return contract


def _relative(path: FilePath, root: FilePath) -> str:
    try:
        return path.absolute().relative_to(root.absolute()).as_posix()
    except ValueError:
        return path.as_posix()


def _version(document: Document) -> str | Problem:
    """Give the document's version of ODCS, or why it is none that is read here."""
    body = document.value
    if not isinstance(body, dict):
        what = "the document is empty" if body is None else "the document is no mapping"
        fix = "Write an ODCS data contract: apiVersion, kind, id, version, schema"
        return Problem(what=what, at=document.locate(()), fix=fix)
    for field, wanted in (("kind", _KIND), ("apiVersion", VERSIONS[-1])):
        if field not in body:
            near = get_close_matches(field, body, n=1, cutoff=0.6)
            fix = f"Did you mean `{field}` where it says `{near[0]}`?" if near else f"Add `{field}: {wanted}`"
            return Problem(what=f"a data contract needs `{field}`", at=document.locate(()), fix=fix)
    if body["kind"] != _KIND:
        what = f"kind: `{as_text(body['kind'])}` is no data contract"
        return Problem(what=what, at=document.locate(("kind",)), fix=f"Write `kind: {_KIND}`")
    version = body["apiVersion"]
    if isinstance(version, str) and version in VERSIONS:
        return version
    what, fix = _wrong_version(as_text(version))
    return Problem(what=f"apiVersion: {what}", at=document.locate(("apiVersion",)), fix=fix)


def _wrong_version(shown: str) -> tuple[str, str]:
    """Say what is wrong with a version and what was meant."""
    bare = shown.removeprefix("v")
    if f"v{bare}" in VERSIONS:
        return f"`{shown}` is not spelt as a version", f"Write v{bare}"
    for name in reversed(VERSIONS):
        if bare in {"3", name[1:4]}:
            return f"`{shown}` is not a whole version", f"Write {name}"
    return f"ODCS `{shown}` is not read here", f"Write one of: {', '.join(VERSIONS)}"


def _contract(body: dict[str, Value], folder: str, report: Report) -> Contract:
    given = text_of(body, "dataProduct")
    product = given if given is not None else folder
    report.name(product, ("dataProduct",) if given is not None else (), "product")
    known = known_names(body, product)
    _check_names(body, report)
    datasets = tuple(
        _dataset(part, product, known, ("schema", place), report)
        for place, part in parts_of(body, "schema")
        if text_of(part, "name") is not None
    )
    description = body.get("description")
    owner, team = _people(body)
    return Contract(
        id=text_of(body, "id") or "",
        product=product,
        version=text_of(body, "version") or "",
        status=text_of(body, "status") or "unspecified",
        api_version=report.version,
        name=text_of(body, "name"),
        domain=text_of(body, "domain"),
        tenant=text_of(body, "tenant"),
        owner=owner,
        team=team,
        tags=texts_of(body, "tags"),
        description=text_of(description, "purpose") if isinstance(description, dict) else None,
        price=_price(body.get("price")),
        sla=tuple(_sla(part) for _, part in parts_of(body, "slaProperties")),
        datasets=datasets,
        path=report.document.path,
    )


def _check_names(body: dict[str, Value], report: Report) -> None:
    seen: dict[str, str] = {}
    for place, part in parts_of(body, "schema"):
        name = text_of(part, "name")
        if name is None:
            continue
        at: Path = ("schema", place, "name")
        report.name(name, at, "dataset")
        if name.lower() in seen:
            first = seen[name.lower()]
            spelt = "" if name == first else f" (as `{first}`; SQL does not tell upper from lower case)"
            report.add(at, f"the dataset `{name}` is there twice{spelt}", "Remove or rename one")
        seen[name.lower()] = name


def _dataset(part: dict[str, Value], product: str, known: Known, path: Path, report: Report) -> Dataset:
    name = str(part["name"])
    columns = read_columns(part, path, report)
    tags = texts_of(part, "tags")
    return Dataset(
        name=f"{product}.{name}",
        columns=columns,
        description=text_of(part, "description"),
        business_name=text_of(part, "businessName"),
        tags=(*tags, "deprecated") if part.get("deprecated") is True and "deprecated" not in tags else tags,
        rules=dataset_rules(part, [column.name for column in columns], path, report),
        references=read_references(part, known, path, report),
        properties={
            str(item["property"]): as_text(item.get("value"))
            for _, item in parts_of(part, "customProperties")
            if "property" in item
        },
        at=report.at(part),
    )


def _people(body: dict[str, Value]) -> tuple[str | None, tuple[str, ...]]:
    """Give the owner and the team's members: who is there now.

    The owner is the member whose role says owner, else the team, else the custom property ``owner``.
    """
    team = body.get("team")
    holder: dict[str, Value] = team if isinstance(team, dict) else {"members": team}
    members = [
        (str(member["username"]), text_of(member, "role") or "")
        for _, member in parts_of(holder, "members")
        if "username" in member and not member.get("dateOut")
    ]
    owners = [name for name, role in members if "owner" in role.lower().split()]
    custom = {str(item.get("property")).lower(): item.get("value") for _, item in parts_of(body, "customProperties")}
    told = custom.get("owner")
    owner = owners[0] if owners else text_of(holder, "name") or (as_text(told) if told is not None else None)
    return owner, tuple(name for name, _ in members)


def _price(price: Value) -> str | None:
    if not isinstance(price, dict) or price.get("priceAmount") is None:
        return None
    currency, unit = text_of(price, "priceCurrency"), text_of(price, "priceUnit")
    amount = as_text(price["priceAmount"])
    return amount + (f" {currency}" if currency else "") + (f" per {unit}" if unit else "")


def _sla(part: dict[str, Value]) -> Sla:
    return Sla(
        property=as_text(part.get("property")),
        value=as_text(part.get("value")),
        unit=text_of(part, "unit"),
        element=text_of(part, "element"),
    )
