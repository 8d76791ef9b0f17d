"""Leases: who may publish what, until when, under which fencing token.

The only state that is not in the chain. Tokens come from the head row, which no rebuild touches, so they only grow.
All functions run inside a transaction that holds the writers' lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from millpond.ledger.database import Head
from millpond.ledger.errors import LeaseHeld, LeaseLost
from millpond.ledger.spec import Lease
from millpond.ledger.tables import HEAD, LEASE

NAMES_MAX = 500
"""Names asked for in one statement."""


def grant(connection: sa.Connection, head: Head, names: Sequence[str], holder: str, ttl_s: float) -> Lease:
    """Give *holder* all of *names* under a new token.

    Raises:
        LeaseHeld: another holder has one of them and it has not expired.
    """
    wanted = tuple(sorted(set(names)))
    for row in _rows(connection, wanted):
        if row.holder != holder and row.expires_us > head.now_us:
            raise LeaseHeld(row.name, holder=row.holder, expires_us=row.expires_us)
    token = head.token + 1
    expires_us = head.now_us + int(ttl_s * 1_000_000)
    for some in _portions(wanted):
        connection.execute(sa.delete(LEASE).where(LEASE.c.name.in_(some)))
    connection.execute(sa.update(HEAD).values(token=token))
    granted = [{"name": name, "holder": holder, "token": token, "expires_us": expires_us} for name in wanted]
    connection.execute(sa.insert(LEASE), granted)
    return Lease(names=wanted, holder=holder, token=token, expires_us=expires_us)


def require_held(connection: sa.Connection, lease: Lease) -> None:
    """Refuse where any of the lease's names is no longer under its token; an expired one that nobody took still is.

    Raises:
        LeaseLost: with the first such name.
    """
    rows = {row.name: row for row in _rows(connection, lease.names)}
    for name in lease.names:
        row = rows.get(name)
        if row is None or row.token != lease.token:
            now_holder = None if row is None else row.holder
            raise LeaseLost(name, holder=lease.holder, token=lease.token, now_holder=now_holder)


def prolong(connection: sa.Connection, head: Head, lease: Lease, ttl_s: float) -> Lease:
    """Move the lease's end to *ttl_s* seconds from now.

    Raises:
        LeaseLost: it was taken over or released.
    """
    require_held(connection, lease)
    expires_us = head.now_us + int(ttl_s * 1_000_000)
    connection.execute(sa.update(LEASE).where(LEASE.c.token == lease.token).values(expires_us=expires_us))
    return Lease(names=lease.names, holder=lease.holder, token=lease.token, expires_us=expires_us)


def release(connection: sa.Connection, lease: Lease) -> None:
    """Give back what is still held under the lease's token; nothing where it was lost."""
    connection.execute(sa.delete(LEASE).where(LEASE.c.token == lease.token))


def standing(connection: sa.Connection) -> tuple[Lease, ...]:
    """List what is held, expired leases that nobody has taken over included."""
    rows = connection.execute(sa.select(LEASE).order_by(LEASE.c.token, LEASE.c.name))
    found: dict[int, Lease] = {}
    names: dict[int, list[str]] = {}
    for row in rows:
        names.setdefault(row.token, []).append(row.name)
        found[row.token] = Lease(
            names=tuple(names[row.token]), holder=row.holder, token=row.token, expires_us=row.expires_us
        )
    return tuple(found.values())


def _rows(connection: sa.Connection, names: Sequence[str]) -> Iterator[Any]:
    for some in _portions(names):
        asked = sa.select(LEASE.c.name, LEASE.c.holder, LEASE.c.token, LEASE.c.expires_us)
        yield from connection.execute(asked.where(LEASE.c.name.in_(some)).order_by(LEASE.c.name))


def _portions(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), NAMES_MAX):
        yield names[start : start + NAMES_MAX]
