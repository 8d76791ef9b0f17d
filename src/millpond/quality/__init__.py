"""Whether data is right: what a contract's rules mean, row by row at the door and over a whole table in one scan.

Never writes data, and never decides what a verdict leads to: severity says that, and ``ingest`` and ``flow`` obey.
Keeps true: a rule that cannot run has failed; a row whose verdict is NULL is bad; what is not run never passed.
"""

from millpond.quality.audit import audit, check_rules
from millpond.quality.checks import checks_digest, describe_rule, row_rules, unrun
from millpond.quality.errors import RuleInvalid
from millpond.quality.spec import CheckResult, RowRule

__all__ = [
    "CheckResult",
    "RowRule",
    "RuleInvalid",
    "audit",
    "check_rules",
    "checks_digest",
    "describe_rule",
    "row_rules",
    "unrun",
]
