from __future__ import annotations

from dataclasses import replace

import pytest
from dock import Dock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.contracts import Column

CASES: dict[str, tuple[list[tuple[str, str]], list[str]]] = {
    "INTEGER": (
        [
            ("1", "1"),
            ("517.0", "517"),
            ("+5", "5"),
            ("-0", "0"),
            (" 12 ", "12"),
            ("1_000", "1000"),
            ("007", "7"),
            ("2147483647",) * 2,
        ],
        ["1.5", "1e2", "1__0", "0x10", "0b1", "2147483648", "abc", "1 2", ".5", "true", "NaN", "--1", "1,5"],
    ),
    "UBIGINT": ([("18446744073709551615", "18446744073709551615")], ["-1", "18446744073709551616"]),
    "DECIMAL(9,2)": (
        [("1", "1.00"), ("1.5", "1.50"), ("1.230", "1.23"), (".5", "0.50"), ("5.", "5.00"), ("-1234567.89",) * 2],
        ["1.239", "NaN", "inf", "1e-5", "1_.5", "12345678.00", "1,5", "."],
    ),
    "DOUBLE": (
        [("1.5", "1.5"), ("1e2", "100.0"), ("NaN", "nan"), ("-Infinity", "-inf"), (" .5 ", "0.5"), ("1_0.5", "10.5")],
        ["1e400", "0x1", "one"],
    ),
    "BOOLEAN": (
        [("true", "true"), ("F", "false"), ("yes", "true"), ("N", "false"), ("1", "true"), ("0", "false")],
        ["2", "maybe", "on", "truee"],
    ),
    "DATE": (
        [
            ("2013-02-03", "2013-02-03"),
            ("2013-2-3", "2013-02-03"),
            ("2013/02/03", "2013-02-03"),
            ("2013-02-03 00:00:00", "2013-02-03"),
        ],
        [
            "2013-02-30",
            "2013-02-03 10:00:00",
            "20130203",
            "2013-2-3 1:0",
            "epoch",
            "infinity",
            "03.02.2013",
            "13-02-03",
        ],
    ),
    "TIMESTAMP": (
        [
            ("2013-02-03", "2013-02-03 00:00:00"),
            ("2013-02-03 10:00", "2013-02-03 10:00:00"),
            ("2013-02-03T10:00:00Z", "2013-02-03 10:00:00"),
            ("2013-02-03T10:00:00.5+00:00", "2013-02-03 10:00:00.5"),
            ("2013-02-03 10:00:00.123456000", "2013-02-03 10:00:00.123456"),
        ],
        ["2013-02-03 10:00:00+02", "2013-02-03 10:00:00.1234567", "2013-02-03 10:00 Europe/Berlin", "infinity", "now"],
    ),
    "TIMESTAMP WITH TIME ZONE": (
        [
            ("2013-02-03 10:00:00+02", "2013-02-03 08:00:00+00"),
            ("2013-02-03T10:00:00", "2013-02-03 10:00:00+00"),
            ("2013-02-03T10:00:00-05:30", "2013-02-03 15:30:00+00"),
        ],
        ["2013-02-03 10:00:00 Europe/Berlin", "2013-02-30 10:00:00Z", "infinity"],
    ),
    "TIME": ([("10:00", "10:00:00"), ("10:00:00.5", "10:00:00.5")], ["25:00:00", "10:00:00.1234567", "10:00+02"]),
    "UUID": ([("6f1c1d1e-0000-4000-8000-000000000001",) * 2], ["6f1c"]),
    "INTEGER[]": ([("[1, 2]", "[1, 2]")], ["[1", "x"]),
    "VARCHAR": ([(" x ", " x "), ("NULL", "NULL"), ("ünï", "ünï")], []),
}


def _texts(dock: Dock, kind: str, texts: list[str], format_: str, **settings: str) -> tuple[list[str | None], set[int]]:
    dock.dataset = replace(dock.dataset, columns=(Column(name="n", type="INTEGER"), Column(name="v", type=kind)))
    if format_ == "csv":
        body = "n,v\n" + "".join(f'{i},"{text}"\n' for i, text in enumerate(texts))
    else:
        quoted = [text.replace("\\", "\\\\") for text in texts]
        body = "".join(f'{{"n": {i}, "v": "{text}"}}\n' for i, text in enumerate(quoted))
    landed = dock.land_text(body, f"v.{format_}", format=format_, **settings)
    dock.accepted(landed)  # binds `looked_at`
    texts_landed = dock.session.stream("SELECT CAST(v AS VARCHAR) FROM looked_at ORDER BY n").read_all()
    return texts_landed.column(0).to_pylist(), {row - 1 for row in dock.reasons(landed)}


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
@pytest.mark.parametrize("kind", sorted(CASES))
def test_a_text_is_taken_for_exactly_what_it_says_or_refused(dock: Dock, kind: str, format_: str) -> None:
    """What would be rounded, cut, wrapped or guessed is refused; other spellings of the same value are not."""
    if format_ == "ndjson" and kind == "INTEGER[]":
        pytest.skip("a list is a list in JSON, not a text")
    good, bad = CASES[kind]
    values, refused = _texts(dock, kind, [text for text, _ in good] + bad, format_)
    assert values == [value for _, value in good]
    assert refused == set(range(len(good), len(good) + len(bad)))


@pytest.mark.parametrize(("kind", "good"), [(kind, good) for kind, (good, _) in sorted(CASES.items())])
def test_clean_texts_go_the_fast_way_with_the_same_values(dock: Dock, kind: str, good: list[tuple[str, str]]) -> None:
    """A file of only good spellings has no quarantine, and the values of the full way."""
    values, refused = _texts(dock, kind, [text for text, _ in good], "csv")
    assert (values, refused) == ([value for _, value in good], set())


@pytest.mark.parametrize("bad", CASES["INTEGER"][1])
def test_a_file_with_one_inexact_number_never_lands_it(dock: Dock, bad: str) -> None:
    """The fast way refuses what the full way refuses."""
    assert _texts(dock, "INTEGER", ["1", bad], "csv") == (["1"], {1})


def test_formats_are_declared(dock: Dock) -> None:
    """A declared date format is the only one; so is a declared timestamp format."""
    values, refused = _texts(dock, "DATE", ["03.02.2013", "2013-02-03"], "csv", date_format="%d.%m.%Y")
    assert (values, refused) == (["2013-02-03"], {1})
    values, refused = _texts(
        dock, "TIMESTAMP", ["03/02/2013 5PM", "2013-02-03 17:00:00"], "csv", timestamp_format="%d/%m/%Y %I%p"
    )
    assert (values, refused) == (["2013-02-03 17:00:00"], {1})


def test_a_decimal_comma_is_declared(dock: Dock) -> None:
    """With a decimal comma a point is no number, and nothing is taken for a thousand's separator."""
    values, refused = _texts(dock, "DECIMAL(9,2)", ["1,5", "1.5", "1.000,5"], "csv", decimal_separator=",")
    assert (values, refused) == (["1.50"], {1, 2})


def test_declared_texts_mean_no_value(dock: Dock) -> None:
    """Null texts are as declared, quoted or not, also in a text column; without any an empty text is a text."""
    dock.dataset = replace(dock.dataset, columns=(Column(name="n", type="INTEGER"), Column(name="v", type="VARCHAR")))
    for odd in ("", "x,y\n"):
        landed = dock.land_text('n,v\nNA,"NA"\n1,\n' + odd, null_values=("NA",))
        assert [(row["n"], row["v"]) for row in dock.accepted(landed)] == [(1, ""), (None, None)]
        landed = dock.land_text('n,v\n1,""\n2,\n' + odd, null_values=())
        assert [(row["n"], row["v"]) for row in dock.accepted(landed)] == [(1, ""), (2, "")]


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**6), max_value=10**6)


@given(numbers=st.lists(NUMBERS))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_decimal_lands_unrounded_or_not_at_all(dock: Dock, numbers: list[object]) -> None:
    """For any numbers, those with two digits after the point land as they are, and all others are held."""
    texts = [f"{number:f}" for number in numbers]
    values, refused = _texts(dock, "DECIMAL(9,2)", texts, "csv")
    fitting = [i for i, text in enumerate(texts) if text.endswith("00")]
    assert [str(value) for value in values] == [texts[i][:-2].replace("-0.00", "0.00") for i in fitting]
    assert refused == set(range(len(texts))) - set(fitting)
