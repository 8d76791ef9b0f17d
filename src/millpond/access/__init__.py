"""Who sees what: principals, policies, and the one reading door.

Owns every decision about who may read which rows, columns and values. Nothing leaves the lake but through
``Door.read``; no bytes leave without a decision and its event; a policy that cannot be applied is a refusal.
"""

from millpond.access.answer import Answer, Batches, Delivered
from millpond.access.door import Door
from millpond.access.errors import AccessRefused, AnswerFailed, AnswerStopped
from millpond.access.policies import PolicySet, load_policies
from millpond.access.spec import (
    Audience,
    ColumnOutcome,
    Deny,
    Explanation,
    Filter,
    Grant,
    Mask,
    MaskSpec,
    Principal,
    Target,
    Visible,
)

__all__ = [
    "AccessRefused",
    "Answer",
    "AnswerFailed",
    "AnswerStopped",
    "Audience",
    "Batches",
    "ColumnOutcome",
    "Delivered",
    "Deny",
    "Door",
    "Explanation",
    "Filter",
    "Grant",
    "Mask",
    "MaskSpec",
    "PolicySet",
    "Principal",
    "Target",
    "Visible",
    "load_policies",
]
