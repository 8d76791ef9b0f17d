from __future__ import annotations

from pathlib import Path

import pytest

from millpond.ingest import FileSource, load_source
from millpond.kernel import ProblemsFound


def _load(root: Path, text: str) -> FileSource:
    path = root / "products" / "orders.source.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return load_source(path, root=root, product="shop")


def test_a_source_says_where_and_how(tmp_path: Path) -> None:
    """Every setting is read in the spelling that people use."""
    source = _load(
        tmp_path,
        "format: csv\nlocation: data/*.csv\nmode: merge\ndelimiter: tab\nnull_values: ['', NA]\n"
        "row_bytes_max: 1 MiB\nbad_share_max: 2%\ndecimal_separator: ','\nencoding: Latin1\nquote: ''\n",
    )
    assert (source.dataset, source.delimiter, source.null_values) == ("shop.orders", "\t", ("", "NA"))
    assert (source.row_bytes_max, source.bad_share_max, source.encoding) == (1024**2, 0.02, "iso8859-1")
    assert (source.mode, source.decimal_separator, source.quote) == ("merge", ",", "")
    assert str(source.at).startswith("products/orders.source.yaml")


def test_an_empty_text_of_json_is_a_text(tmp_path: Path) -> None:
    """Only CSV has texts that mean no value unless some are declared."""
    assert _load(tmp_path, "format: ndjson\nlocation: x.jsonl\n").null_values == ()
    assert _load(tmp_path, "format: csv\nlocation: x.csv\n").null_values == ("",)


def test_every_problem_is_told_at_once_with_its_place(tmp_path: Path) -> None:
    """Unknown keys and wrong values are all listed, with line, column and what was probably meant."""
    with pytest.raises(ProblemsFound) as caught:
        _load(
            tmp_path,
            "formt: csv\nmode: appendd\ndelimiter: ab\nbad_share_max: 7\nnull_values: 1\nheader: maybe\n"
            "encoding: utf-88\nrow_bytes_max: 1\n",
        )
    told = str(caught.value)
    for text in (
        "products/orders.source.yaml:1:1", "'format'", "'append'", ":3:1", ":4:1", ":5:1", ":6:1", "'utf-8'", ":8:1",
        "location is missing", "format is missing",
    ):  # fmt: skip
        assert text in told, text
    assert len(caught.value.problems) == 10


@pytest.mark.parametrize(
    "text",
    [
        "- format: csv\n",
        "format: csv\nlocation: x\ndelimiter: '\"'\n",
        "format: parquet\nlocation: x\ndelimiter: ';'\n",
        "format: csv\nformat: csv\nlocation: x\n",
        "format: csv\nlocation: ''\n",
        "format: csv\nlocation: x\nbad_share_max: true\n",
        "format: csv\nlocation: x\nbad_share_max: many%\n",
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    """A source that cannot be meant is a problem, not a surprise later."""
    with pytest.raises(ProblemsFound):
        _load(tmp_path, text)
