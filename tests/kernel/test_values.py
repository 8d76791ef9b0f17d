from __future__ import annotations

import json
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.kernel import (
    Location,
    MiB,
    MillpondError,
    Problem,
    ProblemsFound,
    Secret,
    StorageUnreachable,
    Store,
    canonical_json,
    digest,
    format_bytes,
    format_count,
    format_seconds,
    new_id,
    now_us,
    parse_bytes,
    to_iso,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


def test_ids_sort_by_time_and_are_safe_in_names() -> None:
    """An id made later sorts later; none repeats; all are lower-case letters, digits and one dash."""
    early = new_id("run")
    time.sleep(0.002)
    many = {new_id("run") for _ in range(2_000)}
    assert len(many) == 2_000
    assert all(early < each and len(each) == 24 and each.replace("-", "").isalnum() and each.islower() for each in many)


def test_time_is_written_in_utc_to_the_microsecond() -> None:
    """The written time ends in Z and never drops a zero."""
    assert to_iso(0) == "1970-01-01T00:00:00.000000Z"
    assert to_iso(1_600_000_000_000_010) == "2020-09-13T12:26:40.000010Z"
    assert abs(now_us() - time.time() * 1e6) < 1e6


@given(JSON)
def test_equal_values_have_one_fingerprint(value: object) -> None:
    """A value read back from its JSON has the same text and fingerprint, whatever the order of its keys."""
    text = canonical_json(value)
    again = json.loads(text)
    assert canonical_json(again) == text
    if isinstance(again, dict):
        again = dict(reversed(again.items()))
    assert digest(again) == digest(value)
    assert len(digest(value)) == 32


def test_a_fingerprint_tells_where_one_part_ends() -> None:
    """Parts are not glued together, and what JSON cannot say is refused."""
    assert digest("a", "bc") != digest("ab", "c")
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


def test_a_secret_never_prints() -> None:
    """No way of printing shows it; equality, hashing and pickling work; only reveal gives the text."""
    secret = Secret("hunter2")
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        repr(Store("s3://b", {"k": secret})),
        repr([secret]),
    ]
    assert not any("hunter2" in text for text in shown)
    assert secret == pickle.loads(pickle.dumps(secret)) != Secret("other")
    assert hash(secret) == hash(Secret("hunter2"))
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_errors_cross_processes_with_their_facts() -> None:
    """A pickled error keeps its kind, message, hint and attributes."""
    error = pickle.loads(pickle.dumps(StorageUnreachable("s3://b/x", "timeout")))
    assert isinstance(error, StorageUnreachable)
    assert (error.uri, error.reason, error.transient, error.code) == (
        "s3://b/x",
        "timeout",
        True,
        "storage-unreachable",
    )
    assert "s3://b/x" in str(error)
    assert str(error.hint) in str(error)


def test_an_error_says_what_where_and_what_next() -> None:
    """The text holds the message, the place as editors read it, and the hint."""
    error = MillpondError("it broke", hint="mend it", at=Location("a.yaml", 3, 7))
    assert str(error) == "it broke (a.yaml:3:7)\nmend it"
    problems = ProblemsFound([Problem(what="no name", at=Location("b.yaml", 1), fix="name: x")])
    assert "1 problem in" in str(problems)
    assert "b.yaml:1: no name" in str(problems)
    assert problems.exit_code == 2


@given(st.integers(0, 2**49))
def test_sizes_are_read_as_written(count: int) -> None:
    """A size written with its unit is read back within the three digits shown."""
    assert abs(parse_bytes(format_bytes(count)) - count) <= count * 0.006 + 1


def test_sizes_and_times_read_like_people_write_them() -> None:
    """Binary and decimal units are told apart; nonsense is refused."""
    assert parse_bytes("512 MiB") == 512 * MiB
    assert parse_bytes("1GB") == 10**9
    assert parse_bytes(7) == 7
    with pytest.raises(ValueError, match="512 MiB"):
        parse_bytes("lots")
    assert format_count(336_776) == "336,776"
    assert [format_seconds(each) for each in (0.012, 3.42, 302)] == ["12 ms", "3.4 s", "5 min 2 s"]
