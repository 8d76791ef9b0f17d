"""What one principal sees of one dataset: policies in, a decision and the view that carries it out.

A pure function of policies, principal, purpose, environment and the dataset; whatever takes the place of these rules
later (another policy language, group membership from outside) changes this file and nothing after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from sqlglot import exp

from millpond.access.errors import AccessRefused, Reason
from millpond.access.expressions import (
    DIALECT,
    NotBound,
    bind_expression,
    cannot_raise,
    parse_expression,
    row_alias,
    row_column,
    without_raising,
)
from millpond.access.masks import MaskImpossible, SecretOf, mask_sql, stored_type, strongest
from millpond.access.policies import PolicySet
from millpond.access.spec import ColumnOutcome, Deny, Filter, Grant, Mask, Principal, Visible, folded, matches
from millpond.catalog import QUARANTINE_SUFFIX
from millpond.kernel import digest

RAW_SCHEMA: Final = "_mp_raw"
Restriction = Deny | Mask | Filter
_R = TypeVar("_R", Deny, Mask, Filter)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a principal gets nothing of a dataset."""

    reason: Reason
    message: str
    hint: str | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What one principal sees of one dataset, and by which policies."""

    dataset: str
    refusal: Refusal | None = None
    grants: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    columns: tuple[ColumnOutcome, ...] = ()
    owner: str | None = None
    view: str = field(default="", repr=False)
    """The SELECT that shows it; holds attributes and keys, so it never leaves the session."""
    view_digest: str = ""
    proof: str = field(default="", repr=False)
    """The same over one row of NULLs: it fails where a literal, an attribute or a type does not fit."""

    @property
    def visible(self) -> tuple[str, ...]:
        """Columns that are there."""
        return tuple(column.column for column in self.columns if column.outcome != "withheld")

    @property
    def masked(self) -> tuple[str, ...]:
        """Columns that are there with other values."""
        return tuple(column.column for column in self.columns if column.outcome == "masked")

    @property
    def untouched(self) -> bool:
        """True where the principal sees every row and value."""
        return not self.filters and all(column.outcome == "shown" for column in self.columns)

    @property
    def policies(self) -> tuple[str, ...]:
        """Ids of all that bore on it."""
        of_columns = (policy for column in self.columns for policy in column.policies)
        return tuple(dict.fromkeys((*self.grants, *self.denies, *self.filters, *of_columns)))


def raw_name(dataset: str) -> str:
    """Name the relation of raw rows behind *dataset*'s view; the gate lets nobody say it."""
    return f"{RAW_SCHEMA}.t_{digest(dataset)[:20]}"


def granted(policies: PolicySet, principal: Principal, env: str, dataset: str) -> tuple[Grant, ...]:
    """Give the grants that let *principal* know of *dataset*, for whatever purpose."""
    return tuple(
        grant
        for grant in policies.grants
        if (not grant.envs or env in grant.envs)
        and any(matches(pattern, dataset) for pattern in grant.datasets)
        and grant.to.means(principal)
    )


def decide(
    policies: PolicySet, principal: Principal, purpose: str | None, env: str, visible: Visible, *, secret: SecretOf
) -> Decision:
    """Decide what *principal*, asking for *purpose*, sees of a dataset.

    Costs a millisecond or so; the door keeps decisions. A policy that cannot be applied refuses the dataset.
    """
    name = visible.dataset.name
    known = granted(policies, principal, env, name)
    grants = tuple(grant for grant in known if grant.to.frees(principal, purpose))
    if not grants:
        refusal = _no_purpose(known, principal, purpose, name) if known else unknown_dataset(name)
        return Decision(dataset=name, refusal=refusal, owner=visible.owner)

    def holding(restrictions: Sequence[_R]) -> list[_R]:
        return [policy for policy in restrictions if _binds(policy, principal, purpose, env)]

    columns = _columns(visible)
    tags = _tags(visible)
    denies = holding(policies.denies)
    for deny in denies:
        if not deny.on.on_columns and deny.on.fits_dataset(name):
            refusal = _denied(deny, principal, name)
            return Decision(dataset=name, refusal=refusal, owner=visible.owner, denies=(deny.id,))
    try:
        selected, outcomes = _select_list(
            name, columns, tags, denies, holding(policies.masks), attribute=principal.attribute, secret=secret
        )
        predicates = dict(_predicates(name, columns, tags, holding(policies.filters), principal.attribute))
    except _Inapplicable as problem:
        return Decision(dataset=name, refusal=problem.refusal, owner=visible.owner)
    if not selected:
        withheld = tuple(dict.fromkeys(policy for outcome in outcomes for policy in outcome.policies))
        refusal = Refusal(
            reason="denied", message=f"Every column of {name} is withheld from {principal.id}.",
            policy=withheld[0] if withheld else None,
        )  # fmt: skip
        return Decision(dataset=name, refusal=refusal, owner=visible.owner, denies=withheld)
    where = [tree for trees in predicates.values() for tree in trees]
    view = exp.Select(expressions=selected).from_(_raw(name)).where(*where).sql(dialect=DIALECT)
    proof = exp.Select(expressions=[*selected, *where]).from_(_nulls(columns)).sql(dialect=DIALECT)
    return Decision(
        dataset=name,
        grants=tuple(grant.id for grant in grants),
        denies=tuple(dict.fromkeys(policy for o in outcomes if o.outcome == "withheld" for policy in o.policies)),
        filters=tuple(predicates),
        columns=tuple(outcomes),
        owner=visible.owner,
        view=view,
        view_digest=digest(view),
        proof=proof,
    )


def with_source(
    policies: PolicySet, principal: Principal, purpose: str | None, env: str, own: Decision, source: Decision | None
) -> Decision:
    """Shut a quarantine to whoever may not see all of its *source*: its raw text cannot be filtered by columns.

    Masked columns are no obstacle where the quarantine's own text is masked too. Without a *source* to decide on, any
    restriction that could apply to it counts.
    """
    name = own.dataset.removesuffix(QUARANTINE_SUFFIX)
    if name == own.dataset or own.refusal is not None:
        return own
    if source is None:
        restrictions: tuple[Restriction, ...] = (*policies.denies, *policies.masks, *policies.filters)
        open_ = not any(p.on.fits_dataset(name) and _binds(p, principal, purpose, env) for p in restrictions)
    else:
        withheld = len(source.visible) < len(source.columns)
        open_ = source.refusal is None and not source.filters and not withheld and bool(own.masked or not source.masked)
    if open_:
        return own
    message = f"{own.dataset} holds raw rows of {name}, not all of which {principal.id} may see."
    return replace(own, refusal=Refusal(reason="denied", message=message))


def unknown_dataset(name: str) -> Refusal:
    """Refuse a dataset that is not there, or that the principal must not know of: both read the same."""
    return Refusal(
        reason="dataset",
        message=f"There is no dataset {name} that you may read.",
        hint="Check the name; or ask the owner of the product for a grant in policies/.",
    )


def refused(refusal: Refusal, *, principal: str, dataset: str, owner: str | None) -> AccessRefused:
    """Make the error for *refusal*; it says whom to ask, where the asker may know that the dataset is there."""
    ask = owner if refusal.reason != "dataset" else None
    whom = f"Ask {ask}, who owns {dataset}." if ask else None
    hint = " ".join(part for part in (refusal.hint, whom) if part) or None
    return AccessRefused(
        refusal.message,
        reason=refusal.reason,
        hint=hint,
        principal=principal,
        datasets=(dataset,),
        policy=refusal.policy,
        ask=ask,
    )


class _Inapplicable(Exception):
    """A policy that cannot be applied; the dataset is refused."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


def _binds(policy: Restriction, principal: Principal, purpose: str | None, env: str) -> bool:
    return (
        (not policy.envs or env in policy.envs)
        and policy.to.binds(principal, purpose)
        and not policy.exempt.frees(principal, purpose)
    )


def _no_purpose(known: Sequence[Grant], principal: Principal, purpose: str | None, name: str) -> Refusal:
    allowed = sorted({word for grant in known for word in grant.to.purposes})
    given = f"not for {purpose!r}" if purpose else "and no purpose was stated"
    return Refusal(
        reason="purpose",
        message=f"{principal.id} may read {name} for {' or '.join(allowed)}, {given}.",
        hint=f"State the purpose: --purpose {allowed[0]}." if allowed else None,
        policy=known[0].id,
    )


def _denied(deny: Deny, principal: Principal, name: str) -> Refusal:
    why = f": {deny.reason}" if deny.reason else ""
    return Refusal(
        reason="denied", message=f"The policy {deny.id} denies {name} to {principal.id}{why}.", policy=deny.id
    )


def _columns(visible: Visible) -> Mapping[str, str]:
    """Give name → stored type of the columns that the contract promises and the data has."""
    promised = {folded(column.name) for column in visible.dataset.columns}
    return {name: type_ for name, type_ in visible.snapshot.schema.columns if folded(name) in promised}


def _tags(visible: Visible) -> Mapping[str, frozenset[str]]:
    """Give folded column → all that is known of it: of the contract, of the dataset, of lineage."""
    of_lineage: dict[str, set[str]] = {}
    for name, tags in visible.tags.items():
        of_lineage.setdefault(folded(name), set()).update(tags)
    return {
        folded(column.name): frozenset(of_lineage.get(folded(column.name), ()))
        | frozenset(column.tags)
        | frozenset(visible.dataset.tags)
        | frozenset([column.classification] if column.classification else ())
        for column in visible.dataset.columns
    }


def _select_list(
    name: str,
    columns: Mapping[str, str],
    tags: Mapping[str, frozenset[str]],
    denies: Sequence[Deny],
    masks: Sequence[Mask],
    *,
    attribute: Callable[[str], str | None],
    secret: SecretOf,
) -> tuple[list[exp.Expr], list[ColumnOutcome]]:
    selected: list[exp.Expr] = []
    outcomes: list[ColumnOutcome] = []
    for column, type_ in columns.items():
        held = tags[folded(column)]
        withheld = tuple(deny.id for deny in denies if deny.on.fits_column(name, column, held))
        if withheld:
            outcomes.append(ColumnOutcome(column=column, outcome="withheld", policies=withheld))
            continue
        hiding = [mask for mask in masks if mask.on.fits_column(name, column, held)]
        if not hiding:
            selected.append(row_column(column))
            outcomes.append(ColumnOutcome(column=column, outcome="shown"))
            continue
        spec = strongest(hiding)
        try:
            hidden = mask_sql(spec, column, type_, attribute=attribute, secret=secret)
        except (MaskImpossible, NotBound) as problem:
            raise _inapplicable("mask", hiding[0].id, name, problem) from None
        selected.append(exp.alias_(hidden, column, quoted=True))
        policies = tuple(mask.id for mask in hiding)
        outcomes.append(ColumnOutcome(column=column, outcome="masked", mask=spec.kind, policies=policies))
    return selected, outcomes


def _predicates(
    name: str,
    columns: Mapping[str, str],
    tags: Mapping[str, frozenset[str]],
    filters: Sequence[Filter],
    attribute: Callable[[str], str | None],
) -> Iterator[tuple[str, list[exp.Expr]]]:
    by_folded = {folded(column): column for column in columns}
    types = {folded(column): type_ for column, type_ in columns.items()}
    for policy in filters:
        if not policy.on.fits_dataset(name):
            continue
        meant = [column for column in columns if policy.on.fits_column(name, column, tags[folded(column)])]
        if policy.on.on_columns and not meant:
            continue
        expression = parse_expression(policy.rows)
        trees = []
        for value in meant if expression.uses_value else [None]:
            try:
                tree = bind_expression(expression, columns=by_folded, attribute=attribute, value=value)
            except NotBound as problem:
                raise _inapplicable("row filter", policy.id, name, problem) from None
            trees.append(tree if cannot_raise(expression, types) else without_raising(tree))
        yield policy.id, trees


def _inapplicable(what: str, policy: str, name: str, problem: Exception) -> _Inapplicable:
    if isinstance(problem, NotBound) and problem.what == "attribute":
        reason: Reason = "attribute"
        why = f"it needs your attribute {problem.name!r}, which you do not have"
    elif isinstance(problem, NotBound):
        reason, why = "policy", "it names a column that the dataset does not have"
    else:
        reason, why = "policy", str(problem)
    message = f"The {what} {policy} cannot be applied to {name}: {why}. So nothing of it is shown."
    return _Inapplicable(Refusal(reason=reason, message=message, policy=policy))


def _raw(name: str) -> exp.Table:
    schema, _, table = raw_name(name).partition(".")
    return exp.Table(
        this=exp.to_identifier(table, quoted=True), db=exp.to_identifier(schema, quoted=True), alias=row_alias()
    )


def _nulls(columns: Mapping[str, str]) -> exp.Subquery:
    """One row of NULLs that an optimizer cannot see through, else it would not look at what they are compared with."""
    null = exp.Cast(this=exp.null(), to=stored_type("VARCHAR"))
    unnested = exp.alias_(exp.Anonymous(this="unnest", expressions=[exp.Array(expressions=[null])]), "n")
    row = exp.Subquery(
        this=exp.Select(expressions=[unnested]), alias=exp.TableAlias(this=exp.to_identifier("_mp_null"))
    )
    typed = [
        exp.alias_(exp.Cast(this=exp.column("n"), to=stored_type(type_)), name, quoted=True)
        for name, type_ in columns.items()
    ]
    return exp.Subquery(this=exp.Select(expressions=typed).from_(row), alias=row_alias())


def behind_barrier(view: str) -> str:
    """Keep an optimizer from moving anything below the filters of *view*, at the price of not pruning by what is asked.

    Else a cast in the asker's WHERE could run on a hidden row, and whether it fails would tell of the row.
    """
    return f"{view} OFFSET 0"
