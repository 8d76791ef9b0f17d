"""What can be wrong with models beyond what is written in one of them."""

from __future__ import annotations

from collections.abc import Sequence

from millpond.kernel import MillpondError


class ModelsCycle(MillpondError):
    """Models read each other in a circle, so none of them can be made first."""

    code = "models-cycle"
    exit_code = 2

    def __init__(self, cycle: Sequence[str]) -> None:
        """Keep *cycle*: each model reads the next, the last is the first."""
        self.cycle = tuple(cycle)
        super().__init__(
            f"These models read each other in a circle: {' reads '.join(self.cycle)}.",
            hint="Let one of them read something else, or make one model of them.",
        )


class CasesInvalid(MillpondError):
    """A model's test could not be run: its rows or its model do not fit."""

    code = "model-test-invalid"
    exit_code = 2
