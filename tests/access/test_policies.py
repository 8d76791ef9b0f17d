# ruff: noqa: E501 - queries and policies are data; a case stays on one line
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import POLICIES

from millpond.access import PolicySet, load_policies
from millpond.access.spec import folded, matches
from millpond.kernel import ProblemsFound


def load(root: Path, text: str) -> PolicySet:
    """Load one policy file with this *text*."""
    path = root / "policies" / "access.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_policies([path], root=root)


def problems(root: Path, text: str) -> list[str]:
    """Give what is said of a policy file with this *text*."""
    with pytest.raises(ProblemsFound) as found:
        load(root, text)
    return [str(problem) for problem in found.value.problems]


def test_what_is_applied_reads_back_as_the_same_policies(tmp_path: Path) -> None:
    """Policies kept in the ledger as JSON decide exactly as the files did."""
    policies = load(tmp_path, POLICIES)
    kept = json.loads(json.dumps(policies.to_json()))
    assert PolicySet.from_json(kept) == policies
    assert PolicySet.from_json(kept).digest == policies.digest


def test_the_digest_follows_meaning(tmp_path: Path) -> None:
    """Comments and order of keys leave the digest; a changed expression, group or width moves it."""
    base = load(tmp_path, POLICIES).digest
    assert load(tmp_path, "# a remark\n" + POLICIES).digest == base
    for old, new in (
        ("width: 1000000", "width: 10"),
        ("groups: [analysts]", "groups: [analysts, readers]"),
        ("'open'", "'opened'"),
    ):
        assert load(tmp_path, POLICIES.replace(old, new, 1)).digest != base


def test_no_policies_means_nobody_may_read() -> None:
    """An empty set holds no principal and no grant."""
    assert not PolicySet.empty().grants
    assert PolicySet.from_json(PolicySet.empty().to_json()) == PolicySet.empty()


def test_an_empty_file_is_no_problem(tmp_path: Path) -> None:
    """A policy file may hold nothing but comments."""
    assert load(tmp_path, "# nothing yet\n") == PolicySet.empty()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("grant: []", ("policies/access.yaml:1:1", "unknown key grant", "Did you mean 'grants'?")),
        ("principals: [{id: ana, group: [a]}]", ("unknown key principals[0].group", "Did you mean 'groups'?")),
        ("principals: [{id: ana}, {id: ana}]", (":1:26", "the principal 'ana' is declared twice")),
        ("principals: [{groups: [a]}]", ("id is missing",)),
        ("principals: [{id: 7}]", ("id must be text", 'Write id: "7"')),
        ("principals: [{id: a, kind: robot}]", ("kind must be one of person, service",)),
        ("grants: {id: a}", ("grants must be a list",)),
        ("grants: [5]", ("must be a mapping",)),
        ("grants: [{id: a, datasets: ['x.*']}]", ("to is missing", "to: everyone")),
        ("grants: [{id: a, to: everyone}]", ("a grant names the datasets",)),
        ("grants: [{id: a, to: everyone, datasets: [flights]}]", ("'flights' is not a dataset's name", "flights.*")),
        ("grants: [{id: a, to: {groups: [nobody]}, datasets: ['x.*']}]", ("there is no group 'nobody'",)),
        ("grants: [{id: a, to: {}, datasets: ['x.*']}]", ("to names nobody",)),
        (
            "principals: [{id: ana, groups: [analysts]}]\ngrants: [{id: a, to: {groups: [analists]}, datasets: ['x.*']}]",
            ("access.yaml:2:", "there is no group 'analists'", "Did you mean 'analysts'?"),
        ),
        ("denies: [{id: a}]", ("on is missing",)),
        ("denies: [{id: a, on: {}}]", ("on names nothing",)),
        ("masks: [{id: a, on: {datasets: ['x.*']}, mask: null}]", ("a mask says which columns",)),
        ("masks: [{id: a, on: {columns: [c]}}]", ("mask is missing",)),
        ("masks: [{id: a, on: {columns: [c]}, mask: parcial}]", ("there is no mask 'parcial'", "Did you mean 'partial'?")),
        ("masks: [{id: a, on: {columns: [c]}, mask: {kind: partial, keep: 2}}]", ("unknown key masks[0].mask.keep",)),
        ("masks: [{id: a, on: {columns: [c]}, mask: {kind: band, width: 0}}]", ("width is a number above 0",)),
        ("masks: [{id: a, on: {columns: [c]}, mask: {kind: constant}}]", ("value must be one value",)),
        ("masks: [{id: a, on: {columns: [c]}, mask: {expression: other}}]", ("a mask sees its own column only",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'a ='}]", ("not a DuckDB expression",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: '(select 1)'}]", ("cannot hold a subquery",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'a = ?'}]", ("cannot hold a parameter",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'sum(a) over () > 1'}]", ("function sum is not allowed",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: \"getenv('X') = a\"}]", ("function getenv is not allowed",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'lowr(a) = b'}]", ("did you mean 'lower'",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'a = 1; b = 2'}]", ("exactly one expression",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'other.a = 1'}]", ("neither a column of the row",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'a::nosuch = 1'}]", ("not a type of DuckDB",)),
        ("filters: [{id: a, on: {datasets: ['x.*']}, rows: 'value = 1'}]", ("value stands for the column",)),
        (
            "principals: [{id: p, attributes: {origin: JFK}}]\nfilters: [{id: a, on: {columns: [o]}, rows: o = principal.orign}]",
            ("no principal has the attribute 'orign'", "Did you mean 'origin'?"),
        ),
        ("masks: [\n", ("not YAML",)),
        (
            "grants: [{id: a, to: everyone, datasets: ['x.*']}]\ndenies: [{id: a, on: {columns: [c]}}]",
            ("two policies are called 'a'", "access.yaml:1:"),
        ),
    ],
)  # fmt: skip
def test_every_mistake_is_named_with_its_place(tmp_path: Path, text: str, expected: tuple[str, ...]) -> None:
    """A policy that cannot be used says where it stands, what is wrong, and what to write instead."""
    found = "\n".join(problems(tmp_path, text))
    assert "policies/access.yaml:" in found
    for part in expected:
        assert part in found


def test_all_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    """One run of the check shows every problem of every policy file."""
    (tmp_path / "a.yaml").write_text("grants: [{id: a}]\n")
    (tmp_path / "b.yaml").write_text("filters: [{id: b, on: {columns: [c]}, rows: '('}]\n")
    with pytest.raises(ProblemsFound) as found:
        load_policies([tmp_path / "a.yaml", tmp_path / "b.yaml", tmp_path / "missing.yaml"], root=tmp_path)
    assert {problem.at.path for problem in found.value.problems} == {"a.yaml", "b.yaml", "missing.yaml"}
    assert len(found.value.problems) == 4


def test_groups_and_attributes_from_elsewhere_can_be_declared(tmp_path: Path) -> None:
    """A group or attribute that an identity provider brings is declared, and then no mistake."""
    text = "groups: [outside]\nattributes: [region]\ngrants: [{id: a, to: {groups: [outside]}, datasets: ['x.*']}]\n"
    policies = load(tmp_path, text + "filters: [{id: f, on: {columns: [r]}, rows: r = principal.region}]\n")
    assert policies.grants[0].to.groups == ("outside",)


_NAMES = st.text(alphabet="ab.", max_size=8)


@given(st.lists(_NAMES, min_size=1, max_size=4), st.lists(_NAMES, max_size=4))
def test_a_pattern_matches_what_it_was_cut_from(pieces: list[str], between: list[str]) -> None:
    """Any text may stand where the pattern has a star, and case does not matter."""
    padded = [*between, *[""] * len(pieces)]
    name = "".join(piece + padded[index] for index, piece in enumerate(pieces[:-1])) + pieces[-1]
    assert matches("*".join(pieces), name.upper())


@pytest.mark.parametrize(
    ("pattern", "name"), [("a.*", "ab.c"), ("*.c", "a.cd"), ("a*a", "a"), ("a.b", "a.bc"), ("", "a")]
)
def test_a_pattern_matches_no_more(pattern: str, name: str) -> None:
    """A pattern without a star at an end is bound there."""
    assert not matches(pattern, name)


def test_only_ascii_letters_fold() -> None:
    """Names are compared as the engine compares them, so no other alphabet's letter passes for one."""
    assert folded("ABC.İ\u212a") == "abc.İ\u212a"
