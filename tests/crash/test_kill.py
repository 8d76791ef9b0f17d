"""A run that is killed is finished or undone by the next one; a reader never sees half of it."""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from crash.driver import Point
from crash.shop import Shop, Started, seed

BASES = ("applied", "delivered")
"""What is stored when a run begins: nothing but definitions, or the first delivery."""
KILLED = -9
KILLS_IN_A_ROW = 5
POINTS = {
    "before anything is written down": Point(method="Lake.write_manifest", when="before"),
    "written down, not recorded": Point(method="Lake.write_manifest", when="after"),
    "recorded, nothing committed": Point(method="Table.commit", when="before"),
    "between two commits": Point(method="Table.commit", when="after", call=3),
    "all committed, nothing published": Point(method="Ledger.publish", when="before"),
    "published, its note still there": Point(method="Ledger.publish", when="after"),
    "done": Point(method="Lake.drop_manifest", when="after"),
}


@dataclass
class Case:
    """A shop with two deliveries, what its tables hold in the end, and what each publication answers."""

    shop: Shop
    wanted: dict[str, list[str]]
    before: dict[str, list[str]]
    after: list[str]
    seconds: float

    def finished_as_if_undisturbed(self, base: str, disturb: Callable[[Shop], None]) -> list[list[str]]:
        """Disturb a run from *base*, run again; give every answer that a reader got meanwhile."""
        shop = self.shop
        shop.put_back(base)
        with shop.asked() as answers:
            disturb(shop)
            found = shop.finish()
        assert found["tables"] == self.wanted
        assert found["chain_broken_at"] is None
        assert found["leases"] == []
        assert {state for _, state in found["runs"]} <= {"succeeded", "abandoned"}
        assert found["second_run"] is None, "a further run finds nothing to do"
        assert found["leftovers"] == {"unknown": [], "missing": []}
        self._check(answers, base)
        return answers

    def _check(self, answers: list[list[str]], base: str) -> None:
        """Every answer is of one publication, and none of an older one than the answer before."""
        places = [self._place(answer, base) for answer in answers]
        assert places == sorted(places), "a reader went back"

    def _place(self, answer: list[str], base: str) -> int:
        if answer == self.after:
            return 1
        if base == "delivered":
            assert answer == self.before["delivered"]
        else:
            assert answer[0] == "dataset-unknown" or "never" in answer[1] or "no dataset" in answer[1], answer
        return 0


def _undisturbed(shop: Shop, base: str) -> tuple[Any, float]:
    shop.put_back(base)
    with shop.asked():
        done = shop.must("run", "--json")
    return shop.look(), done.seconds


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Make the shop and keep its states."""
    shop = Shop.make(tmp_path_factory.mktemp("kill"))
    shop.deliver(1)
    shop.must("apply")
    shop.keep("applied")
    shop.must("run", "--json")
    before = shop.look()["facts"]
    shop.keep("delivered")
    shop.deliver(2)
    found = [_undisturbed(shop, base) for base in ("delivered", "delivered")]
    assert found[0][0]["tables"] == found[1][0]["tables"], "the same run from the same state gives the same rows"
    looked, seconds = found[1]
    assert looked["facts"] != before
    from_nothing, _ = _undisturbed(shop, "applied")
    assert from_nothing["facts"] == looked["facts"]
    return Case(shop, looked["tables"], {"delivered": before}, looked["facts"], seconds)


def _killed_at(point: Point) -> Callable[[Shop], None]:
    def disturb(shop: Shop) -> None:
        done = shop.do("run", "--json", point=point)
        assert done.code == KILLED, f"{point} was not reached: {done.text}"

    return disturb


@pytest.mark.parametrize("name", POINTS)
def test_a_run_killed_at_a_named_point_is_finished_or_undone(case: Case, name: str) -> None:
    """Killed between any two of its last steps, a run leaves readers the old publication or the new one."""
    case.finished_as_if_undisturbed("delivered", _killed_at(POINTS[name]))


@pytest.mark.parametrize("second", ["recorded, nothing committed", "all committed, nothing published"])
def test_one_killed_while_it_mends_is_mended_too(case: Case, second: str) -> None:
    """The process that finishes a dead run may die as well, at the same places."""

    def disturb(shop: Shop) -> None:
        _killed_at(POINTS["recorded, nothing committed"])(shop)
        _killed_at(POINTS[second])(shop)

    case.finished_as_if_undisturbed("delivered", disturb)


def _killed_after(moments_s: Sequence[float], ended: Counter[int]) -> Callable[[Shop], None]:
    def disturb(shop: Shop) -> None:
        for seconds in moments_s:
            started: Started = shop.start("run", "--json")
            time.sleep(seconds)
            started.process.kill()
            code = started.done().code
            assert code in {KILLED, 0}, started.log.read_text()
            ended[code] += 1

    return disturb


def _kill_at_random(case: Case, kills: int, first_seed: int) -> None:
    """Kill so many runs, up to KILLS_IN_A_ROW of them before one may end."""
    random_ = random.Random(first_seed)
    ended: Counter[int] = Counter()
    answers, began = 0, time.monotonic()
    while (done := ended.total()) < kills:
        row = min(random_.randint(1, KILLS_IN_A_ROW), kills - done)
        moments_s = [random_.uniform(0, case.seconds) for _ in range(row)]
        try:
            answers += len(case.finished_as_if_undisturbed("delivered", _killed_after(moments_s, ended)))
        except AssertionError as error:
            error.add_note(f"MILLPOND_SEED={first_seed}, kills {done + 1} to {done + row}, after {moments_s} s")
            raise
        seconds = time.monotonic() - began
        note = f"{ended[KILLED]} killed, {ended[0]} done before, within {case.seconds:.2f} s each"
        print(f"seed {first_seed}: {note}; {answers} answers, {seconds:.0f} s", file=sys.stderr, flush=True)  # noqa: T201 - to repeat it


def test_a_run_killed_at_a_few_random_moments_is_finished_or_undone(case: Case) -> None:
    """Killed at any moment, then run again: rows as if undisturbed, one publication per answer, nothing left over."""
    _kill_at_random(case, 6, seed())


@pytest.mark.slow
def test_a_run_killed_at_many_random_moments_is_finished_or_undone(case: Case) -> None:
    """The same, at MILLPOND_KILLS moments: 200 unless told."""
    _kill_at_random(case, int(os.environ.get("MILLPOND_KILLS", "200")), seed())


def test_a_first_run_killed_before_it_commits_leaves_nothing_to_read(case: Case, tmp_path: Path) -> None:
    """Before the first publication a reader is told so; after the next run all is there."""
    del tmp_path
    case.shop.put_back("applied")
    assert case.shop.do("run", "--json", point=POINTS["between two commits"]).code == KILLED
    assert case.shop.do("query", "SELECT count(*) FROM sales.orders").code != 0
    case.shop.must("run", "--json")
    assert case.shop.look()["facts"] == case.after
