"""SQL models: read, bound to what they read, ordered, checked against contracts, built whole or in part, tested.

Never commits and never decides what runs: ``flow`` does, with what is in here.
"""

from millpond.models.building import Built, build
from millpond.models.cases import Case, CaseResult, load_cases, run_case
from millpond.models.errors import CasesInvalid, ModelsCycle
from millpond.models.header import load_model
from millpond.models.models import SCD2_COLUMNS, bind, fingerprint, order
from millpond.models.ranges import changed_range
from millpond.models.spec import Everything, Model, ModelSpec, Range
from millpond.models.types import check_types, select_for
from millpond.models.wire import model_from_json, model_to_json, spec_from_json, spec_to_json

__all__ = [
    "SCD2_COLUMNS",
    "Built",
    "Case",
    "CaseResult",
    "CasesInvalid",
    "Everything",
    "Model",
    "ModelSpec",
    "ModelsCycle",
    "Range",
    "bind",
    "build",
    "changed_range",
    "check_types",
    "fingerprint",
    "load_cases",
    "load_model",
    "model_from_json",
    "model_to_json",
    "order",
    "run_case",
    "select_for",
    "spec_from_json",
    "spec_to_json",
]
