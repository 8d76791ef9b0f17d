from __future__ import annotations

import pickle
import time

import pytest

from millpond.ledger import Event, Lease, LeaseHeld, LeaseLost, Ledger, Pointer


def publish(ledger: Ledger, lease: Lease, version: int) -> None:
    """Publish ``flights`` at *version* under *lease*, whatever is there."""
    before = ledger.pointers("prod").get("flights")
    ledger.publish(
        env="prod",
        changes={"flights": (before, Pointer(table="t", version=version))},
        lease=lease,
        events=[],
        actor="ann",
        run_id=lease.holder,
        reason="run",
    )


def test_what_is_held_is_refused_to_others(ledger: Ledger) -> None:
    """Another holder is told what is held, by whom and until when, and gets nothing of what it asked for."""
    lease = ledger.acquire(["prod/b", "prod/a"], "run-1")
    assert lease.names == ("prod/a", "prod/b")
    with pytest.raises(LeaseHeld) as caught:
        ledger.acquire(["prod/a0", "prod/b"], "run-2")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.name, error.holder, error.expires_us) == ("prod/b", "run-1", lease.expires_us)
    assert error.transient
    assert "run-1" in str(error)
    assert ledger.leases() == (lease,)
    assert ledger.acquire(["prod/a0"], "run-2").token > lease.token


def test_a_publication_gives_the_lease_back(ledger: Ledger) -> None:
    """After a publication the next holder gets the lease at once."""
    publish(ledger, ledger.acquire(["prod"], "run-1"), 1)
    assert ledger.leases() == ()
    publish(ledger, ledger.acquire(["prod"], "run-2"), 2)
    assert ledger.pointers("prod") == {"flights": Pointer(table="t", version=2)}


def test_an_expired_lease_is_taken_over_and_its_token_refused(ledger: Ledger) -> None:
    """A holder that slept past its lease publishes nothing once another one has taken over."""
    slept = ledger.acquire(["prod", "dev"], "run-1", ttl_s=0.05)
    time.sleep(0.1)
    taken = ledger.acquire(["prod"], "run-2")
    assert taken.token > slept.token
    for attempt in (lambda: publish(ledger, slept, 1), lambda: ledger.renew(slept)):
        with pytest.raises(LeaseLost, match="run-2 holds it now"):
            attempt()
    assert ledger.pointers("prod") == {}
    assert list(ledger.events()) == []
    ledger.release(slept)  # releases what is still its own, not what was taken
    assert ledger.leases() == (taken,)
    publish(ledger, taken, 2)
    with pytest.raises(LeaseLost, match="nobody holds it now"):
        publish(ledger, slept, 3)


def test_an_expired_lease_that_nobody_wanted_still_publishes(ledger: Ledger) -> None:
    """A slow holder whom nobody overtook publishes: the token, not the clock, decides."""
    lease = ledger.acquire(["prod"], "run-1", ttl_s=0.01)
    time.sleep(0.05)
    publish(ledger, lease, 1)
    assert ledger.pointers("prod") == {"flights": Pointer(table="t", version=1)}


def test_a_renewed_lease_outlives_its_first_end(ledger: Ledger) -> None:
    """A renewed lease is not taken over at the time it would have ended."""
    lease = ledger.acquire(["prod"], "run-1", ttl_s=0.2)
    renewed = ledger.renew(lease, ttl_s=30)
    assert (renewed.token, renewed.expires_us > lease.expires_us) == (lease.token, True)
    time.sleep(0.25)
    with pytest.raises(LeaseHeld):
        ledger.acquire(["prod"], "run-2")


def test_a_holder_that_comes_back_gets_its_own_lease(ledger: Ledger) -> None:
    """A run that died and begins again need not wait; what it held before is worth nothing."""
    first = ledger.acquire(["prod"], "run-1")
    again = ledger.acquire(["prod"], "run-1")
    with pytest.raises(LeaseLost):
        publish(ledger, first, 1)
    publish(ledger, again, 2)


def test_tokens_grow_through_a_rebuild(ledger: Ledger) -> None:
    """A rebuild neither takes leases away nor lets a token come twice."""
    ledger.append([Event(kind="query.answered", actor="ann")])
    lease = ledger.acquire(["prod"], "run-1")
    ledger.rebuild()
    assert ledger.leases() == (lease,)
    assert ledger.acquire(["dev"], "run-1").token > lease.token


def test_a_lease_over_many_names_is_one(ledger: Ledger) -> None:
    """A lease over two thousand datasets is taken, found held, renewed and given back whole."""
    names = [f"prod/dataset-{number:04}" for number in range(2_000)]
    lease = ledger.acquire(names, "run-1")
    with pytest.raises(LeaseHeld, match="dataset-1999"):
        ledger.acquire([names[-1]], "run-2")
    assert ledger.leases() == (lease,)
    ledger.release(ledger.renew(lease))
    assert ledger.leases() == ()
