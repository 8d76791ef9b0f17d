"""What data must look like: contracts (ODCS 3), their types, and what a change of one means.

Owns reading contracts. No I/O but reading files; knows no engine, no lake, no ledger.
"""

from millpond.contracts.compare import diff
from millpond.contracts.contract import load_contract
from millpond.contracts.errors import UnknownType
from millpond.contracts.report import RESERVED
from millpond.contracts.spec import Change, Column, Contract, Dataset, Operator, Reference, Rule, Severity, Sla
from millpond.contracts.sqltypes import canonical_type, widens
from millpond.contracts.wire import contract_from_json, contract_to_json, dataset_from_json, dataset_to_json

__all__ = [
    "RESERVED",
    "Change",
    "Column",
    "Contract",
    "Dataset",
    "Operator",
    "Reference",
    "Rule",
    "Severity",
    "Sla",
    "UnknownType",
    "canonical_type",
    "contract_from_json",
    "contract_to_json",
    "dataset_from_json",
    "dataset_to_json",
    "diff",
    "load_contract",
    "widens",
]
