"""What can go wrong with a ledger. No message holds a password: *place* is a URL without one."""

from __future__ import annotations

from millpond.kernel import MillpondError, to_iso
from millpond.ledger.spec import Pointer


class LedgerUnreachable(MillpondError):
    """The ledger's database cannot be opened, read or written now."""

    code = "ledger-unreachable"
    exit_code = 1
    transient = True

    def __init__(self, place: str, reason: str, *, hint: str | None = None) -> None:
        """Keep *place* and the database's own *reason*."""
        self.place = place
        self.reason = reason
        advice = "Check that the database is up and that its URL, account and disk are right, then run the same again."
        super().__init__(f"the ledger {place} cannot be used: {reason}", hint=hint or advice)


class LedgerTooNew(MillpondError):
    """A newer Millpond has migrated this ledger."""

    code = "ledger-too-new"

    def __init__(self, place: str, *, found: str, known: str) -> None:
        """Keep the schema's revision *found* and the newest that is *known* here."""
        self.place = place
        self.found = found
        self.known = known
        super().__init__(
            f"the ledger {place} has schema {found}, newer than this Millpond, which knows up to {known}",
            hint="Install the newer version: pip install --upgrade millpond",
        )


class LeaseHeld(MillpondError):
    """Somebody else is about to publish the same."""

    code = "lease-held"
    transient = True

    def __init__(self, name: str, *, holder: str, expires_us: int) -> None:
        """Keep what is held, by whom and until when."""
        self.name = name
        self.holder = holder
        self.expires_us = expires_us
        super().__init__(
            f"{name} is held by {holder} until {to_iso(expires_us)} at least",
            hint="Wait for it to finish and run the same again; a holder that died loses it at that time.",
        )


class LeaseLost(MillpondError):
    """The lease expired and was taken over, or was released."""

    code = "lease-lost"

    def __init__(self, name: str, *, holder: str, token: int, now_holder: str | None) -> None:
        """Keep what was held under *token* and who holds it now, if anybody."""
        self.name = name
        self.holder = holder
        self.token = token
        self.now_holder = now_holder
        whose = f"{now_holder} holds it now" if now_holder is not None else "nobody holds it now"
        super().__init__(
            f"{holder} no longer holds {name} (token {token}): {whose}; nothing was published",
            hint="Run the same again: it starts from what is published now.",
        )


class PublicationConflict(MillpondError):
    """An environment's pointer is not where the publication began."""

    code = "publication-conflict"
    transient = True

    def __init__(self, env: str, dataset: str, *, expected: Pointer | None, found: Pointer | None) -> None:
        """Keep the first *dataset* whose pointer differs, with both pointers."""
        self.env = env
        self.dataset = dataset
        self.expected = expected
        self.found = found
        super().__init__(
            f"{dataset} in {env} is at {_shown(found)}, not at {_shown(expected)} as when this began;"
            " nothing was published",
            hint="Somebody published in between. Run the same again: it starts from what is published now.",
        )


class EventUnknown(MillpondError):
    """No event of this kind exists."""

    code = "event-unknown"

    def __init__(self, kind: str, known: tuple[str, ...]) -> None:
        """Keep the *kind* and those that are *known*."""
        self.kind = kind
        self.known = known
        super().__init__(f"there is no event kind {kind!r}", hint=f"Known kinds: {', '.join(known)}.")


class EventInvalid(MillpondError):
    """An event that lacks what its kind needs, or holds what no ledger can keep."""

    code = "event-invalid"

    def __init__(self, kind: str, reason: str, *, hint: str | None = None) -> None:
        """Keep the *kind* and the *reason*."""
        self.kind = kind
        self.reason = reason
        super().__init__(f"the event {kind} cannot be recorded: {reason}", hint=hint)


class ChainBroken(MillpondError):
    """A record was changed, removed or moved after it was written."""

    code = "chain-broken"
    exit_code = 1

    def __init__(self, place: str, *, broken_at: int, reason: str) -> None:
        """Keep the first record that does not fit, and why."""
        self.place = place
        self.broken_at = broken_at
        self.reason = reason
        super().__init__(
            f"the ledger {place} is not as it was written: {reason} (record {broken_at})",
            hint="Keep this database as evidence and restore the ledger from a backup or an export that verifies.",
        )


def _shown(pointer: Pointer | None) -> str:
    return "nothing" if pointer is None else f"{pointer.table} version {pointer.version}"
