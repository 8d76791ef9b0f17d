"""What may be declared about access, as frozen values: who there is, who may what, what is hidden from whom.

Built by ``load_policies`` from ``policies/*.yaml``; never by hand in product code. Default deny; deny wins; owning a
dataset exempts nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from millpond.contracts import Dataset
from millpond.lake import Snapshot

PrincipalKind = Literal["person", "service"]
MaskKind = Literal["null", "constant", "partial", "hash", "year", "month", "band", "expression"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A person or a service that asks for data."""

    id: str
    groups: frozenset[str] = frozenset()
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What policies may compare with, as ``principal.<attribute>``; ``principal.id`` is always there."""
    kind: PrincipalKind = "person"

    def attribute(self, name: str) -> str | None:
        """Give an attribute's value; None where the principal has none."""
        return self.id if name == "id" else self.attributes.get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """One dataset as an environment shows it: promise, data, and what its columns are known to hold."""

    dataset: Dataset
    snapshot: Snapshot
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Column → classification and tags, those that lineage brings included."""
    owner: str | None = None
    """Whom a refused principal asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """Whom a policy is about: any of the principals and groups; kinds and purposes narrow it."""

    everyone: bool = False
    principals: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    purposes: tuple[str, ...] = ()
    """Only when one of these is the stated purpose."""

    def means(self, principal: Principal) -> bool:
        """Say whether *principal* is meant, for some purpose at least."""
        named = self.everyone or principal.id in self.principals or not principal.groups.isdisjoint(self.groups)
        if not (self.everyone or self.principals or self.groups):
            named = bool(self.kinds or self.purposes)
        return named and (not self.kinds or principal.kind in self.kinds)

    def frees(self, principal: Principal, purpose: str | None) -> bool:
        """Say whether a grant or an exemption holds: a purpose that it asks for must be stated."""
        return self.means(principal) and (not self.purposes or purpose in self.purposes)

    def binds(self, principal: Principal, purpose: str | None) -> bool:
        """Say whether a restriction holds: who states no purpose may have any."""
        return self.means(principal) and (not self.purposes or purpose is None or purpose in self.purposes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a policy is about: every list given must fit, any entry of a list is enough."""

    datasets: tuple[str, ...] = ()
    """Names, with ``*`` for any text."""
    columns: tuple[str, ...] = ()
    classification: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def on_columns(self) -> bool:
        """True where it picks columns, False where it means whole datasets."""
        return bool(self.columns or self.classification or self.tags)

    def fits_dataset(self, dataset: str) -> bool:
        """Say whether *dataset* can be meant, whatever its columns are."""
        return not self.datasets or any(matches(pattern, dataset) for pattern in self.datasets)

    def fits_column(self, dataset: str, column: str, tags: Iterable[str]) -> bool:
        """Say whether a column that carries *tags* (classification included) is meant."""
        held = {folded(tag) for tag in tags}
        return (
            self.on_columns
            and self.fits_dataset(dataset)
            and (not self.columns or folded(column) in map(folded, self.columns))
            and (not self.classification or not held.isdisjoint(map(folded, self.classification)))
            and (not self.tags or not held.isdisjoint(map(folded, self.tags)))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Lets an audience read datasets."""

    id: str
    to: Audience
    datasets: tuple[str, ...]
    envs: tuple[str, ...] = ()
    """Only in these environments; empty: in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """Takes datasets or columns from an audience, whatever any grant says."""

    id: str
    to: Audience
    on: Target
    exempt: Audience = Audience()
    envs: tuple[str, ...] = ()
    reason: str | None = None
    """Told to whoever is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSpec:
    """How a value is hidden."""

    kind: MaskKind
    value: str | None = None
    """constant: what is shown, as text of the column's type."""
    keep_first: int = 0
    """partial: characters shown at the beginning."""
    keep_last: int = 0
    """partial: characters shown at the end."""
    key: str = "MILLPOND_MASK_KEY"
    """hash: name of the secret that keys it."""
    width: float | None = None
    """band: numbers are rounded down to a multiple of this."""
    expression: str | None = None
    """expression: a DuckDB expression over ``value`` and the principal's attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """Hides the values of columns from an audience."""

    id: str
    on: Target
    mask: MaskSpec
    to: Audience = Audience(everyone=True)
    exempt: Audience = Audience()
    envs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Hides rows from an audience: only those for which the expression is true are there."""

    id: str
    on: Target
    rows: str
    """A DuckDB expression over the row's columns, ``value`` (each column that *on* picks) and attributes."""
    to: Audience = Audience(everyone=True)
    exempt: Audience = Audience()
    envs: tuple[str, ...] = ()


Policy = Grant | Deny | Mask | Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnOutcome:
    """What becomes of one column for one principal."""

    column: str
    outcome: Literal["shown", "masked", "withheld"]
    mask: str | None = None
    """The kind of mask that applies."""
    policies: tuple[str, ...] = ()
    """Ids of the masks or denies that decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a principal sees what it sees of one dataset."""

    principal: str
    dataset: str
    purpose: str | None
    readable: bool
    reason: str
    """One sentence: what decided."""
    grants: tuple[str, ...] = ()
    denies: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    columns: tuple[ColumnOutcome, ...] = ()
    ask: str | None = None
    """Whom to ask for more."""


def folded(name: str) -> str:
    """Fold case as DuckDB compares identifiers: ASCII letters only."""
    return name.translate(_FOLD)


_FOLD = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def matches(pattern: str, name: str) -> bool:
    """Match *name* against *pattern*, in which ``*`` is any text; case does not matter."""
    pieces = folded(pattern).split("*")
    rest = folded(name)
    if len(pieces) == 1:
        return rest == pieces[0]
    first, *middle, last = pieces
    if not rest.startswith(first) or not rest.endswith(last) or len(rest) < len(first) + len(last):
        return False
    rest = rest[len(first) : len(rest) - len(last)]
    for piece in middle:
        at = rest.find(piece)
        if at < 0:
            return False
        rest = rest[at + len(piece) :]
    return True
