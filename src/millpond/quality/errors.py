"""What can be wrong with a rule."""

from __future__ import annotations

from millpond.kernel import Location, MillpondError


class RuleInvalid(MillpondError):
    """A rule that no data can be judged by: its text is not what its kind wants. Terminal."""

    code = "rule-invalid"
    exit_code = 2

    def __init__(self, *, dataset: str, rule: str, reason: str, at: Location | None = None) -> None:
        """Keep *dataset*, *rule* and *reason*."""
        self.dataset = dataset
        self.rule = rule
        self.reason = reason
        super().__init__(
            f"{dataset}: the rule {rule!r} cannot run: {reason}",
            hint="Change the rule in the contract, then look again: millpond check",
            at=at,
        )
