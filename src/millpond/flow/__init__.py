"""Where the stages meet: plan, apply, run, and back. Read ``run`` first.

Owns the order in which things happen. Never reads data for people: that is ``access``.
"""

from millpond.flow.apply import Applied, apply_plan
from millpond.flow.checking import check_definitions, run_cases
from millpond.flow.definitions import Definitions, define
from millpond.flow.environments import Difference, NothingToRollBack, difference, rollback
from millpond.flow.leases import AnotherRun
from millpond.flow.looking import QualityView, open_quarantine, quality_of, quarantine_counts
from millpond.flow.plan import BreakingChange, DatasetChange, Plan, WorldMoved, make_plan
from millpond.flow.project import Project, load_project
from millpond.flow.review import NotIngested, Reviewed, Selection, review
from millpond.flow.run import NotApplied, RunFailed, RunOptions, RunResult, StepReport, decisions, run
from millpond.flow.settings import Environment, ProjectNotFound, Settings, find_root, load_settings
from millpond.flow.staging import AuditFailed
from millpond.flow.stale import Decision
from millpond.flow.upkeep import TableCompacted, TableVacuumed, compact, vacuum
from millpond.flow.workspace import EnvironmentUnknown, Workspace

__all__ = [
    "AnotherRun",
    "Applied",
    "AuditFailed",
    "BreakingChange",
    "DatasetChange",
    "Decision",
    "Definitions",
    "Difference",
    "Environment",
    "EnvironmentUnknown",
    "NotApplied",
    "NotIngested",
    "NothingToRollBack",
    "Plan",
    "Project",
    "ProjectNotFound",
    "QualityView",
    "Reviewed",
    "RunFailed",
    "RunOptions",
    "RunResult",
    "Selection",
    "Settings",
    "StepReport",
    "TableCompacted",
    "TableVacuumed",
    "Workspace",
    "WorldMoved",
    "apply_plan",
    "check_definitions",
    "compact",
    "decisions",
    "define",
    "difference",
    "find_root",
    "load_project",
    "load_settings",
    "make_plan",
    "open_quarantine",
    "quality_of",
    "quarantine_counts",
    "review",
    "rollback",
    "run",
    "run_cases",
    "vacuum",
]
