from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest
import yaml
from sqlglot import exp

from millpond.contracts import Contract, Severity, canonical_type, load_contract
from millpond.kernel import ProblemsFound

ODCS = Path(__file__).parent / "odcs"
VALID = sorted((ODCS / "valid").glob("*.yaml"))
INVALID = sorted((ODCS / "invalid").glob("*.yaml"))
HEAD = "apiVersion: v3.1.0\nkind: DataContract\nid: x\nversion: 1.0.0\nstatus: active\n"


def valid(name: str) -> Contract:
    """Load one of the valid documents."""
    return load_contract(ODCS / "valid" / f"{name}.yaml", root=ODCS)


def write(folder: Path, text: str) -> Contract:
    """Load *text* as the contract in *folder*."""
    path = folder / "contract.odcs.yaml"
    path.write_text(text)
    return load_contract(path, root=folder.parent)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_a_valid_document_becomes_tables_that_duckdb_can_make(path: Path) -> None:
    """Every valid document loads; DuckDB has its types, prints them so, and can evaluate its expressions."""
    contract = load_contract(path, root=ODCS)
    assert contract.path == f"valid/{path.name}"
    with duckdb.connect() as engine:
        for number, dataset in enumerate(dataset for dataset in contract.datasets if dataset.columns):
            columns = [
                exp.ColumnDef(
                    this=exp.to_identifier(column.name, quoted=True),
                    kind=exp.DataType.build(column.type, dialect="duckdb"),
                )
                for column in dataset.columns
            ]
            table = exp.Create(this=exp.Schema(this=exp.to_table(f"t{number}"), expressions=columns), kind="TABLE")
            engine.execute(table.sql("duckdb"))
            described = engine.execute(f"DESCRIBE t{number}").fetchall()
            assert [(row[0], row[1]) for row in described] == [(column.name, column.type) for column in dataset.columns]
            for rule in (rule for column in dataset.columns for rule in column.rules if rule.expression):
                engine.execute(f"SELECT count(*) FROM t{number} WHERE ({rule.expression}) IS NOT TRUE")
            assert all(canonical_type(column.type) == column.type for column in dataset.columns)


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_an_invalid_document_is_told_all_its_problems(path: Path) -> None:
    """Every problem comes at once, each with its line, its field and what to write instead."""
    with pytest.raises(ProblemsFound) as caught:
        load_contract(path, root=path.parent)
    assert f"{caught.value}\n" == path.with_suffix(".txt").read_text()


def test_there_are_enough_examples() -> None:
    """Both kinds of examples are found where the tests look for them."""
    assert len(VALID) >= 9
    assert len(INVALID) >= 25


def test_a_missing_file_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    """A contract that is not there is reported like any other mistake."""
    with pytest.raises(ProblemsFound, match=r"gone\.yaml: cannot be read: No such file"):
        load_contract(tmp_path / "gone.yaml", root=tmp_path)


def test_the_folder_names_the_product_unless_the_contract_does(tmp_path: Path) -> None:
    """Without dataProduct, datasets are called by the contract's folder."""
    folder = tmp_path / "delays"
    folder.mkdir()
    schema = "schema:\n  - {name: flights}\n"
    assert write(folder, HEAD + schema).datasets[0].name == "delays.flights"
    assert write(folder, HEAD + "dataProduct: air\n" + schema).datasets[0].name == "air.flights"


def test_who_answers_for_a_contract() -> None:
    """The owner is the member who is owner now, not one who left, and not a custom property."""
    people = valid("people-3.1.0")
    assert (people.owner, people.team) == ("ada", ("grace", "ada"))
    assert people.price == "9.95 USD per megabyte"
    assert [(line.property, line.value, line.unit) for line in people.sla][:2] == [
        ("latency", "4", "d"),
        ("timeOfAvailability", "09:00-08:00", None),
    ]


def test_a_team_or_a_custom_property_can_own(tmp_path: Path) -> None:
    """Without a member who is owner, the team owns; without a team, the custom property says who."""
    assert write(tmp_path, HEAD + "team: {name: crew, members: [{username: a, role: Steward}]}\n").owner == "crew"
    assert write(tmp_path, HEAD + "customProperties: [{property: owner, value: ann}]\n").owner == "ann"
    assert write(tmp_path, HEAD).owner is None


def test_everything_said_of_a_column_is_kept() -> None:
    """Names in the source, partitions, classification, importance and examples arrive."""
    dataset = valid("people-3.1.0").datasets[0]
    day, shop = dataset.columns
    assert dataset.partition_by == ("day",)
    assert day.critical
    assert (shop.physical_name, shop.classification, shop.examples) == ("SHOP_NO", "internal", ("1", "2.5", "x"))
    assert dataset.properties == {"retentionDays": "365", "tiers": '["hot","cold"]'}
    assert (day.at and (day.at.path, day.at.line, day.at.column)) == ("valid/people-3.1.0.yaml", 42, 9)


def test_keys_follow_their_positions_or_else_the_columns(tmp_path: Path) -> None:
    """Positions order a key; without any, the order of the columns does."""
    with_positions = """schema:
  - name: t
    properties:
      - {name: a, logicalType: string, primaryKey: true, primaryKeyPosition: 2}
      - {name: b, logicalType: string, primaryKey: true, primaryKeyPosition: 1}
"""
    assert write(tmp_path, HEAD + with_positions).datasets[0].primary_key == ("b", "a")
    without = with_positions.replace(", primaryKeyPosition: 2", "").replace(", primaryKeyPosition: 1", "")
    assert write(tmp_path, HEAD + without).datasets[0].primary_key == ("a", "b")


def test_references_are_found_by_name_and_by_id() -> None:
    """A foreign key resolves within its contract; beyond it, product and names are kept for later."""
    orders = valid("relationships-3.1.0").datasets[1]
    found = {(ref.columns, ref.to_dataset, ref.to_columns, ref.severity) for ref in orders.references}
    assert (("customer_id", "country"), "shop.customers", ("id", "country"), Severity.WARNING) in found
    assert (("customer_id",), "shop.customers", ("id",), Severity.ERROR) in found
    assert (("country",), "geography.countries", ("code",), Severity.WARNING) in found
    assert (("country",), "places.countries", ("code",), Severity.WARNING) in found


def test_a_measure_is_no_column() -> None:
    """What a query computes is not asked of the stored table."""
    names = [column.name for column in valid("nested-3.2.0").datasets[0].columns]
    assert "state" in names
    assert not {"total", "state_dim"} & set(names)


def test_words_stay_words() -> None:
    """NO is a country, on is a word and 2024-01-01 is a version: only true and false are flags."""
    merged = valid("merged-3.2.0")
    assert merged.version == "2024-01-01"
    state = valid("quality-3.1.0").datasets[0].column("state")
    assert state is not None
    assert state.rules[0].valid_values == ("NO", "SE", "1", "true")


def test_merged_anchors_are_overridden_in_place() -> None:
    """A merged mapping gives what its own fields do not."""
    first, second, _ = valid("merged-3.2.0").datasets[0].columns
    assert (first.name, first.required, second.name, second.required) == ("id", True, "parent_id", False)


def test_a_document_that_explodes_is_refused_quickly(tmp_path: Path) -> None:
    """Aliases of aliases do not fill the memory."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ProblemsFound, match="nested or repeated without end"):
        write(tmp_path, "\n".join(lines))


def test_loading_costs_little_more_than_reading_yaml(tmp_path: Path) -> None:
    """A contract of 400 columns loads within three times of what PyYAML takes to read its text."""
    column = (
        "      - {{name: c{0}, logicalType: string, description: Column {0} of it, required: true,"
        " classification: internal, logicalTypeOptions: {{maxLength: 9}}}}\n"
    )
    columns = "".join(column.format(number) for number in range(40))
    text = HEAD + "schema:\n" + "".join(f"  - name: t{n}\n    properties:\n{columns}" for n in range(10))
    write(tmp_path, text)  # warm: the first document imports and fills caches
    ours, theirs = [], []
    for _ in range(5):
        started = time.process_time()
        write(tmp_path, text)
        ours.append(time.process_time() - started)
        started = time.process_time()
        yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # the safe one, in C
        theirs.append(time.process_time() - started)
    assert min(ours) <= 3 * min(theirs), (min(ours), min(theirs))
