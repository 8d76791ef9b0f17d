"""``policies/*.yaml``: read whole, checked whole, kept as frozen values.

Every problem of every file is reported at once. What was applied to an environment is kept in the ledger in the same
shape as the files, and read back by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, TypeVar

from millpond.access.documents import Section
from millpond.access.expressions import ExpressionRefused, PolicyExpression, parse_expression
from millpond.access.spec import Audience, Deny, Filter, Grant, Mask, MaskSpec, Policy, Principal, Target
from millpond.kernel import (
    Document,
    Json,
    Problem,
    ProblemsFound,
    canonical_json,
    digest,
    read_document,
    suggest,
)

_Kind = TypeVar("_Kind", bound=Policy)

_SECTIONS: Final = ("principals", "groups", "attributes", "grants", "denies", "masks", "filters")
_MASK_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "null": (),
    "constant": ("value",),
    "partial": ("keep_first", "keep_last"),
    "hash": ("key",),
    "year": (),
    "month": (),
    "band": ("width",),
    "expression": ("expression",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySet:
    """All that is declared about access; the default is that nobody may read anything."""

    principals: Mapping[str, Principal] = field(default_factory=dict, hash=False)
    """By id."""
    groups: tuple[str, ...] = ()
    """Groups that exist besides those of the principals declared here."""
    attributes: tuple[str, ...] = ()
    """Attributes that exist besides those of the principals declared here."""
    grants: tuple[Grant, ...] = ()
    denies: tuple[Deny, ...] = ()
    masks: tuple[Mask, ...] = ()
    filters: tuple[Filter, ...] = ()
    digest: str = field(init=False, default="")
    """Changes when anything that decides changes; not with comments, order of keys, or places."""

    def __post_init__(self) -> None:
        """Compute the digest once."""
        object.__setattr__(self, "digest", digest(self.to_json()))

    @classmethod
    def empty(cls) -> Self:
        """Nobody, and nothing granted."""
        return cls()

    def to_json(self) -> dict[str, Json]:
        """Give the set in the shape of one policy file."""
        return {
            "principals": [_principal_json(principal) for _, principal in sorted(self.principals.items())],
            "groups": list(self.groups),
            "attributes": list(self.attributes),
            "grants": [_policy_json(policy) for policy in self.grants],
            "denies": [_policy_json(policy) for policy in self.denies],
            "masks": [_policy_json(policy) for policy in self.masks],
            "filters": [_policy_json(policy) for policy in self.filters],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> PolicySet:
        """Read back what ``to_json`` gave.

        Raises:
            ProblemsFound: it was not made by this version or an older one.
        """
        document = Document(path="applied policies", text=canonical_json(value), value=value)
        return _assemble([document])


def load_policies(paths: Sequence[Path], *, root: Path) -> PolicySet:
    """Read policy files as one set.

    Raises:
        ProblemsFound: every problem of every file, with its place and the fix.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            documents.append(read_document(path, root=root))
        except ProblemsFound as found:
            problems.extend(found.problems)
    try:
        policies = _assemble(documents)
    except ProblemsFound as found:
        problems.extend(found.problems)
    if problems:
        raise ProblemsFound(problems)
    return policies


def _assemble(documents: Sequence[Document]) -> PolicySet:
    problems: list[Problem] = []
    roots = [Section.of(document, problems) for document in documents if document.value is not None]
    for root in roots:
        root.only(_SECTIONS)
    principals = [pair for root in roots for pair in ((s, _principal(s)) for s in root.sections("principals"))]
    by_id: dict[str, Principal] = {}
    for section, principal in principals:
        if principal.id in by_id:
            section.problem(f"the principal {principal.id!r} is declared twice", "id", fix="Keep one of the two.")
        by_id[principal.id] = principal
    groups = tuple(dict.fromkeys(name for root in roots for name in root.texts("groups")))
    attributes = tuple(dict.fromkeys(name for root in roots for name in root.texts("attributes")))
    known = _Known(
        principals=frozenset(by_id),
        groups=frozenset(groups).union(*(principal.groups for principal in by_id.values())),
        attributes=frozenset({"id", *attributes}).union(*(principal.attributes for principal in by_id.values())),
    )
    ids: dict[str, Section] = {}
    grants = [_once(ids, section, _grant(section, known)) for root in roots for section in root.sections("grants")]
    denies = [_once(ids, section, _deny(section, known)) for root in roots for section in root.sections("denies")]
    masks = [_once(ids, section, _mask(section, known)) for root in roots for section in root.sections("masks")]
    filters = [_once(ids, section, _filter(section, known)) for root in roots for section in root.sections("filters")]
    if problems:
        raise ProblemsFound(problems)
    return PolicySet(
        principals=by_id,
        groups=groups,
        attributes=attributes,
        grants=tuple(grants),
        denies=tuple(denies),
        masks=tuple(masks),
        filters=tuple(filters),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """Who and what the policies may name."""

    principals: frozenset[str]
    groups: frozenset[str]
    attributes: frozenset[str]


def _once(ids: dict[str, Section], section: Section, policy: _Kind) -> _Kind:
    earlier = ids.setdefault(policy.id, section)
    if earlier is not section and policy.id:
        what = f"two policies are called {policy.id!r} (the other: {earlier.at()})"
        section.problem(what, "id", fix="Give one of them another id.")
    return policy


def _principal(section: Section) -> Principal:
    section.only(("id", "groups", "attributes", "kind"))
    return Principal(
        id=section.text("id"),
        groups=frozenset(section.texts("groups")),
        attributes=section.pairs("attributes"),
        kind="service" if section.choice("kind", ("person", "service"), default="person") == "service" else "person",
    )


def _grant(section: Section, known: _Known) -> Grant:
    section.only(("id", "to", "datasets", "purposes", "envs"))
    datasets = _datasets(section, "datasets")
    if not datasets:
        section.problem("a grant names the datasets it is for", "datasets", fix='Write datasets: ["product.*"].')
    return Grant(
        id=section.text("id"),
        to=_audience(section, "to", known, purposes=section.texts("purposes")),
        datasets=datasets,
        envs=section.texts("envs"),
    )


def _deny(section: Section, known: _Known) -> Deny:
    section.only(("id", "to", "on", "except", "purposes", "envs", "reason"))
    return Deny(
        id=section.text("id"),
        to=_audience(section, "to", known, purposes=section.texts("purposes"), default=Audience(everyone=True)),
        on=_target(section),
        exempt=_audience(section, "except", known, default=Audience()),
        envs=section.texts("envs"),
        reason=section.text("reason", optional=True) or None,
    )


def _mask(section: Section, known: _Known) -> Mask:
    section.only(("id", "to", "on", "except", "envs", "mask"))
    on = _target(section)
    if not on.on_columns:
        section.problem("a mask says which columns it hides", "on", fix="Add columns, classification or tags to on.")
    return Mask(
        id=section.text("id"),
        on=on,
        mask=_mask_spec(section, known),
        to=_audience(section, "to", known, default=Audience(everyone=True)),
        exempt=_audience(section, "except", known, default=Audience()),
        envs=section.texts("envs"),
    )


def _filter(section: Section, known: _Known) -> Filter:
    section.only(("id", "to", "on", "except", "envs", "rows"))
    on = _target(section)
    rows = section.text("rows")
    expression = _expression(section, "rows", rows, known)
    if expression is not None and expression.uses_value and not on.on_columns:
        section.problem(
            "value stands for the column that on picks, and on picks none", "rows",
            fix="Name the column itself, or add columns, classification or tags to on.",
        )  # fmt: skip
    return Filter(
        id=section.text("id"),
        on=on,
        rows=rows,
        to=_audience(section, "to", known, default=Audience(everyone=True)),
        exempt=_audience(section, "except", known, default=Audience()),
        envs=section.texts("envs"),
    )


def _audience(
    section: Section, key: str, known: _Known, *, purposes: tuple[str, ...] = (), default: Audience | None = None
) -> Audience:
    if not section.has(key):
        if default is None:
            section.problem(f"{key} is missing", fix=f"Write {key}: {{groups: [...]}}, or {key}: everyone.")
            return Audience()
        return Audience(everyone=default.everyone, purposes=purposes)
    if section.value(key) == "everyone":
        return Audience(everyone=True, purposes=purposes)
    inner = section.section(key)
    inner.only(("everyone", "principals", "groups", "kinds", "purposes"))
    named = Audience(
        everyone=inner.flag("everyone"),
        principals=inner.texts("principals"),
        groups=inner.texts("groups"),
        kinds=inner.texts("kinds"),
        purposes=inner.texts("purposes") or purposes,
    )
    if named == Audience():
        inner.problem(f"{key} names nobody", fix=f"Write {key}: {{groups: [...]}}, or {key}: everyone.")
    for field_, names, there in (
        ("principals", named.principals, known.principals),
        ("groups", named.groups, known.groups),
        ("kinds", named.kinds, frozenset({"person", "service"})),
    ):
        for index, name in enumerate(names):
            if name not in there:
                inner.problem(f"there is no {field_[:-1]} {name!r}", field_, index, fix=suggest(name, there))
    return named


def _target(section: Section) -> Target:
    if not section.has("on"):
        section.problem("on is missing", fix='Write on: {datasets: ["product.*"]}, or columns, classification, tags.')
        return Target()
    inner = section.section("on")
    inner.only(("datasets", "columns", "classification", "tags"))
    target = Target(
        datasets=_datasets(inner, "datasets"),
        columns=inner.texts("columns"),
        classification=inner.texts("classification"),
        tags=inner.texts("tags"),
    )
    if target == Target():
        inner.problem("on names nothing", fix='Write on: {datasets: ["product.*"]}, or columns, classification, tags.')
    return target


def _datasets(section: Section, key: str) -> tuple[str, ...]:
    names = section.texts(key)
    for index, name in enumerate(names):
        if "*" not in name and name.count(".") != 1:
            section.problem(
                f"{name!r} is not a dataset's name", key, index, fix=f"Write product.dataset, or {name}.* for all."
            )
    return names


def _mask_spec(section: Section, known: _Known) -> MaskSpec:
    if not section.has("mask"):
        section.problem("mask is missing", fix=f"One of: {', '.join(_MASK_OPTIONS)}.")
        return MaskSpec(kind="null")
    given = section.value("mask")
    if given is None or isinstance(given, str):
        kind, options = given or "null", None
    else:
        options = section.section("mask")
        inferred = "expression" if options.has("expression") else "null"
        kind = options.text("kind", optional=options.has("expression")) or inferred
    if kind not in _MASK_OPTIONS:
        section.problem(f"there is no mask {kind!r}", "mask", fix=suggest(kind, _MASK_OPTIONS))
        return MaskSpec(kind="null")
    return _MASKS[kind](section, options, known)


def _with_options(section: Section, options: Section | None, kind: str) -> Section:
    inner = options if options is not None else section.nothing("mask")
    inner.only(("kind", *_MASK_OPTIONS[kind]))
    return inner


def _constant_mask(section: Section, options: Section | None, _: _Known) -> MaskSpec:
    return MaskSpec(kind="constant", value=_with_options(section, options, "constant").scalar("value"))


def _partial_mask(section: Section, options: Section | None, _: _Known) -> MaskSpec:
    inner = _with_options(section, options, "partial")
    first, last = inner.count("keep_first"), inner.count("keep_last")
    return MaskSpec(kind="partial", keep_first=first, keep_last=4 if first + last == 0 else last)


def _hash_mask(section: Section, options: Section | None, _: _Known) -> MaskSpec:
    inner = _with_options(section, options, "hash")
    return MaskSpec(kind="hash", key=inner.text("key", optional=True) or "MILLPOND_MASK_KEY")


def _band_mask(section: Section, options: Section | None, _: _Known) -> MaskSpec:
    inner = _with_options(section, options, "band")
    width = inner.value("width")
    if not isinstance(width, int | float) or isinstance(width, bool) or not 0 < width < float("inf"):
        inner.problem("width is a number above 0", "width", fix="Write mask: {kind: band, width: 10}.")
        width = 1
    return MaskSpec(kind="band", width=float(width))


def _expression_mask(section: Section, options: Section | None, known: _Known) -> MaskSpec:
    inner = _with_options(section, options, "expression")
    text = inner.text("expression")
    expression = _expression(inner, "expression", text, known)
    if expression is not None and expression.columns:
        inner.problem(
            f"a mask sees its own column only, as value, and not {', '.join(sorted(expression.columns))}", "expression",
            fix="Write value for the column.",
        )  # fmt: skip
    return MaskSpec(kind="expression", expression=text)


_MASKS: Final[Mapping[str, Callable[[Section, Section | None, _Known], MaskSpec]]] = {
    "null": lambda section, options, _: (_with_options(section, options, "null"), MaskSpec(kind="null"))[1],
    "year": lambda section, options, _: (_with_options(section, options, "year"), MaskSpec(kind="year"))[1],
    "month": lambda section, options, _: (_with_options(section, options, "month"), MaskSpec(kind="month"))[1],
    "constant": _constant_mask,
    "partial": _partial_mask,
    "hash": _hash_mask,
    "band": _band_mask,
    "expression": _expression_mask,
}


def _expression(section: Section, key: str, text: str, known: _Known) -> PolicyExpression | None:
    if not text:
        return None
    try:
        expression = parse_expression(text)
    except ExpressionRefused as refused:
        section.problem(str(refused), key)
        return None
    for name in sorted(expression.attributes - known.attributes):
        section.problem(
            f"no principal has the attribute {name!r}", key,
            fix=suggest(name, known.attributes) + f" Or declare it: attributes: [{name}].",
        )  # fmt: skip
    return expression


def _principal_json(principal: Principal) -> dict[str, Json]:
    return {
        "id": principal.id,
        "groups": sorted(principal.groups),
        "attributes": dict(sorted(principal.attributes.items())),
        "kind": principal.kind,
    }


def _policy_json(policy: Policy) -> dict[str, Json]:
    shown: dict[str, Json] = {"id": policy.id, "to": _audience_json(policy.to)}
    if policy.envs:
        shown["envs"] = list(policy.envs)
    if isinstance(policy, Grant):
        shown["datasets"] = list(policy.datasets)
        return shown
    shown["on"] = {
        key: list(names)
        for key in ("datasets", "columns", "classification", "tags")
        if (names := getattr(policy.on, key))
    }
    if policy.exempt != Audience():
        shown["except"] = _audience_json(policy.exempt)
    if isinstance(policy, Deny):
        shown["reason"] = policy.reason or ""
    elif isinstance(policy, Filter):
        shown["rows"] = policy.rows
    else:
        options = {name: getattr(policy.mask, name) for name in _MASK_OPTIONS[policy.mask.kind]}
        shown["mask"] = {"kind": policy.mask.kind, **options}
    return shown


def _audience_json(audience: Audience) -> dict[str, Json]:
    shown: dict[str, Json] = {
        key: list(names) for key in ("principals", "groups", "kinds", "purposes") if (names := getattr(audience, key))
    }
    return {"everyone": True, **shown} if audience.everyone else shown
