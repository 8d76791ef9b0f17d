from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from millpond.contracts import Contract, load_contract
from millpond.engines import Session
from millpond.quality import check_rules, row_rules, unrun

EXAMPLES = Path(__file__).parents[2] / "examples"
CONTRACTS = sorted(EXAMPLES.glob("*/products/*/contract.odcs.yaml"))


@pytest.fixture(params=CONTRACTS, ids=lambda path: path.parts[-4])
def contract(request: pytest.FixtureRequest) -> Contract:
    """Load the contract of one example."""
    path: Path = request.param
    return load_contract(path, root=path.parents[2])


def test_every_rule_of_the_examples_can_run(contract: Contract, session: Session) -> None:
    """Over tables without rows, each rule binds; none is left to people or to another engine."""
    for dataset in contract.datasets:
        session.attach_empty(dataset.name, [(column.name, column.type) for column in dataset.columns])
    names = {dataset.name: dataset.name for dataset in contract.datasets}
    for dataset in contract.datasets:
        assert check_rules(dataset, relation=dataset.name, session=session, references=names) == ()
        assert unrun(dataset) == ()
        assert row_rules(dataset)


def test_every_column_of_the_examples_is_described_and_classified(contract: Contract) -> None:
    """A reader of the contract learns what each column means and who may see it; each product has an owner."""
    columns = [column for dataset in contract.datasets for column in dataset.columns]
    assert [column.name for column in columns if not column.description] == []
    assert {column.classification for column in columns} <= {"public", "internal", "confidential", "restricted"}
    assert contract.owner
    assert contract.sla


def test_the_shop_delivers_the_same_bytes_again(tmp_path: Path) -> None:
    """The generator's seed decides its files: what a test saw once, it sees again."""
    digests = []
    for place in ("one", "two"):
        script = [sys.executable, str(EXAMPLES / "shop" / "make_data.py"), "--orders", "300", "--out"]
        subprocess.run([*script, str(tmp_path / place)], check=True, capture_output=True)
        files = sorted(path for path in (tmp_path / place).rglob("*") if path.is_file())
        digests.append([(path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files])
    assert digests[0] == digests[1]
    assert len(digests[0]) == 7
