"""How the benchmarks time: both ways in one process, alternating, the best of each kept; figures are ratios."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison."""

    what: str
    seconds: Mapping[str, float]
    """Way → seconds, the best of the rounds."""
    goal: str = ""
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours divided by the first other way."""
        first = next(way for way in self.seconds if way != "millpond")
        return self.seconds["millpond"] / self.seconds[first]


def alternate(ways: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Run each way *rounds* times, in turn; gives the best time of each."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, run in ways.items():
            gc.collect()
            began = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - began)
    return best
