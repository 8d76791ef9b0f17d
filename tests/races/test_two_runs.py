"""Two commands at once: no row twice, no deadlock, and whoever loses is told."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from crash.driver import Point
from crash.shop import Done, Shop, Started, seed
from millpond.flow import AnotherRun

LEASE_S = 2.0
ONCE = """
SELECT
    (SELECT count(*) - count(DISTINCT order_id) FROM sales.orders) AS orders_twice,
    (SELECT count(*) - count(DISTINCT payment_id) FROM sales.payments) AS payments_twice,
    (SELECT count(*) - count(DISTINCT id) FROM sales.orders__quarantine) AS held_twice,
    (SELECT count(*) FROM sales.orders) + (SELECT count(*) FROM sales.orders__quarantine) AS orders_read
"""
ORDERS = 60


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """Make a shop with its first delivery published, on both ledgers."""
    made = Shop.make(tmp_path)
    if request.param == "postgres":
        made.environ = {"SHOP_LEDGER": str(request.getfixturevalue("postgres_url"))}
        made.settings("ledger: {env: SHOP_LEDGER}", without=["ledger:"])
    made.deliver(1, ORDERS)
    made.must("apply")
    made.must("run", "--json")
    return made


def _all_ended(started: Sequence[Started]) -> list[Done]:
    return [each.done() for each in started]


def _nothing_twice(shop: Shop, deliveries: int, env: str = "prod") -> Any:
    """Check that every row read is in table or quarantine once, and that the tables fit each other."""
    found = shop.look(env)
    rows = {name: len(held) for name, held in found["tables"].items()}
    assert all(len(held) == len(set(held)) for held in found["tables"].values())
    assert rows["sales.orders"] + rows["sales.orders__quarantine"] == deliveries * ORDERS
    assert rows["sales.order_payments"] == rows["sales.orders"] == int(found["facts"][2])
    assert found["chain_broken_at"] is None
    assert found["leases"] == []
    return found


def test_of_two_runs_one_publishes_and_the_other_is_told(shop: Shop) -> None:
    """Started at about the same time, each ends well or with a clear message and exit code 5; nothing doubles."""
    random_ = random.Random(seed())
    for delivery in range(2, 7):
        shop.deliver(delivery, ORDERS)
        waiting = ["--wait", "60"] if delivery % 2 else []
        first = shop.start("run", "--json")
        time.sleep(random_.uniform(0, 1.0))
        done = _all_ended([first, shop.start("run", "--json", *waiting)])
        assert 0 in [each.code for each in done], [each.text for each in done]
        for each in done:
            assert each.code in {0, AnotherRun.exit_code}, each.text
            if each.code:
                assert not waiting or each is done[0]
                assert each.json["error"]["code"] == "another-run"
                assert "--wait" in each.json["error"]["hint"]
        _nothing_twice(shop, delivery)


def test_apply_and_compact_beside_a_run_do_no_harm(shop: Shop) -> None:
    """A run, an apply and a compact at once each do their work whole or say that another is at it."""
    shop.deliver(2, ORDERS)
    contract = shop.root / "products" / "sales" / "contract.odcs.yaml"
    started = [shop.start("run", "--json"), shop.start("lake", "compact", "--json")]
    contract.write_text(contract.read_text().replace("Orders as the shop took them", "What the shop sold"))
    done = _all_ended([*started, shop.start("apply")])
    for each in done:
        assert each.code in {0, 3, AnotherRun.exit_code}, each.text
    shop.must("apply")
    shop.must("run", "--json")
    _nothing_twice(shop, 2)


def test_two_environments_that_share_tables_take_each_file_once(shop: Shop) -> None:
    """Prod and dev run at once over the same tables: each file comes in once, and both show it in the end."""
    shop.must("apply", "--env", "dev")
    shop.deliver(2, ORDERS)
    done = _all_ended([shop.start("run", "--json", "--wait", "60", "--env", env) for env in ("prod", "dev")])
    assert [each.code for each in done] == [0, 0], [each.text for each in done]
    for env in ("prod", "dev"):
        shop.must("run", "--json", "--env", env)
    assert _nothing_twice(shop, 2)["tables"] == _nothing_twice(shop, 2, "dev")["tables"]


@pytest.mark.parametrize(
    "asleep",
    [
        Point(method="Lake.write_manifest", when="before", signal=signal.SIGSTOP),
        Point(method="Lake.write_manifest", when="after", signal=signal.SIGSTOP),
        Point(method="Table.commit", when="after", call=2, signal=signal.SIGSTOP),
        Point(method="Ledger.publish", when="before", signal=signal.SIGSTOP),
    ],
    ids=str,
)
def test_a_run_that_slept_through_its_lease_publishes_nothing_when_it_wakes(shop: Shop, asleep: Point) -> None:
    """A machine that pauses longer than the lease is taken over from; awake again, it is told and changes nothing."""
    shop.deliver(2, ORDERS)
    sleeper = shop.start("run", "--json", point=asleep, lease_s=LEASE_S)
    _wait_until_asleep(sleeper)
    other = shop.start("run", "--json", "--wait", "60").done()
    assert other.code == 0, other.text
    before = _nothing_twice(shop, 2)
    os.kill(sleeper.process.pid, signal.SIGCONT)
    woken = sleeper.done()
    assert woken.code != 0
    assert woken.json["error"]["code"] == "lease-lost"
    assert _nothing_twice(shop, 2) == before
    shop.deliver(3, ORDERS)
    shop.must("run", "--json")
    after = _nothing_twice(shop, 3)
    assert {state for _, state in after["runs"]} <= {"succeeded", "abandoned", "failed"}


def _wait_until_asleep(started: Started) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        state = Path(f"/proc/{started.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "T":
            return
        assert started.process.is_alive(), started.log.read_text()
        time.sleep(0.02)
    raise AssertionError("it never slept")
