"""Finding datasets by name, by words and by lineage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shelf import chain, entry, ref

from millpond.catalog import Catalog, ColumnLineage, DatasetUnknown, Edge, Lineage
from millpond.contracts import Column
from millpond.kernel import ProblemsFound


@pytest.fixture(scope="module")
def shop() -> Catalog:
    """Four datasets, each with the word revenue in another place."""
    made = [
        entry("sales.revenue", ["day", "euros"], description="What came in."),
        entry("sales.days", ["day", "revenue"], description="One row per day."),
        entry("sales.orders", ["order_id", "amount"], description="What revenue is made of.", owner="Ada Lovelace"),
        entry(
            "staff.people",
            [Column(name="e_mail", type="VARCHAR", description="Where to write.")],
            tags={"e_mail": ("pii",)},
        ),
    ]
    return Catalog("prod", {one.dataset.name: one for one in made})


def found(catalog: Catalog, words: str) -> list[str]:
    """Search, and give the names in order."""
    return [hit.entry.dataset.name for hit in catalog.search(words)]


def test_a_name_weighs_more_than_a_column_and_a_column_more_than_a_description(shop: Catalog) -> None:
    """The dataset of that name comes first, then the one with such a column, then the one that mentions it."""
    assert found(shop, "revenue") == ["sales.revenue", "sales.days", "sales.orders"]
    assert [hit.where for hit in shop.search("revenue")] == [("name",), ("column revenue",), ("description",)]


def test_a_word_is_found_by_its_beginning(shop: Catalog) -> None:
    """Typing the first letters is enough; letters from the middle are not."""
    assert found(shop, "reven") == ["sales.revenue", "sales.days", "sales.orders"]
    assert found(shop, "venue") == []


def test_a_whole_word_weighs_more_than_a_beginning() -> None:
    """Of two names, the one that is the word itself comes first, though the other stands before it in the alphabet."""
    made = {name: entry(name, ["id"]) for name in ("a.orders_old", "b.order")}
    assert found(Catalog("prod", made), "order") == ["b.order", "a.orders_old"]


def test_all_words_must_be_found_wherever_they_stand(shop: Catalog) -> None:
    """One word may be in the name and another in a column; a dataset that lacks one is not shown."""
    assert found(shop, "day revenue") == ["sales.revenue", "sales.days"]
    assert found(shop, "day revenue ada") == []
    assert found(shop, "orders lovelace") == ["sales.orders"]


def test_tags_and_owners_are_found_whatever_the_case(shop: Catalog) -> None:
    """A column's classification leads to its dataset, and says which column it was; so does its owner."""
    (hit,) = shop.search("PII")
    assert (hit.entry.dataset.name, hit.where) == ("staff.people", ("column e_mail",))
    assert found(shop, "ADA") == ["sales.orders"]


def test_a_name_of_several_words_is_found_by_each(shop: Catalog) -> None:
    """Underscores separate words, in the question and in what is searched."""
    assert found(shop, "mail") == found(shop, "e_mail") == ["staff.people"]


def test_no_more_than_asked_for_is_shown_and_order_does_not_depend_on_chance(shop: Catalog) -> None:
    """Equal scores stand in the order of their names, and the best are shown."""
    assert [hit.entry.dataset.name for hit in shop.search("sales", limit=2)] == ["sales.days", "sales.orders"]


@given(st.text(max_size=30))
def test_any_words_can_be_asked(words: str) -> None:
    """No text breaks a search, and every hit has all words."""
    catalog = chain()
    for hit in catalog.search(words):
        assert hit.where or not words.strip("\x00 _").isalnum()


def test_where_a_column_comes_from_includes_what_decided_its_rows() -> None:
    """Upwards: the values' way through both models, the hidden one marked, and filters, joins and groups by name."""
    edges = chain().trace([ref("shop.by_country.buyers")], "up")
    shown = {(str(edge.source), str(edge.target), edge.how) for edge in edges}
    assert {
        ("shop.sales.who", "shop.by_country.buyers", "masked"),
        ("shop.customers.email", "shop.sales.who", "masked"),
        ("shop.sales.country", "shop.by_country.buyers", "group"),
        ("shop.customers.country", "shop.sales.country", "direct"),
        ("shop.orders.state", "shop.sales.who", "filter"),
        ("shop.orders.customer_id", "shop.sales.who", "join"),
    } <= shown
    assert not any(edge.source == ref("shop.sales.amount") for edge in edges)


def test_without_what_decided_the_rows_only_values_are_followed() -> None:
    """Upwards, direct flows only: one column of one source."""
    edges = chain().trace([ref("shop.by_country.revenue")], "up", indirect=False)
    assert [(str(edge.source), edge.how) for edge in edges] == [
        ("shop.sales.amount", "direct"), ("shop.orders.amount", "direct"),
    ]  # fmt: skip


def test_what_a_column_bears_on_is_everything_that_would_change_with_it() -> None:
    """Downwards: a column that only filters bears on every column of the model, and of the models that read those."""
    catalog = chain()
    touched = {edge.target for edge in catalog.trace([ref("shop.orders.state")], "down")}
    assert {str(one) for one in touched} == {
        *(f"shop.sales.{column}" for column in ("amount", "country", "who")),
        *(f"shop.by_country.{column}" for column in ("country", "revenue", "buyers")),
    }
    assert catalog.trace([ref("shop.orders.state")], "down", indirect=False) == ()


def test_up_and_down_are_the_same_edges() -> None:
    """An edge is found from its source downwards and from its target upwards."""
    catalog = chain()
    for edge in catalog.edges():
        assert edge in catalog.trace([edge.source], "down")
        assert edge in catalog.trace([edge.target], "up")


def test_a_circle_in_lineage_ends() -> None:
    """Lineage that reads itself, by whatever mistake, is followed once."""
    own = entry("a.x", ["n"])
    circle = ColumnLineage(column="n", direct=(ref("a.x.n"),))
    looped = type(own)(
        **{name: getattr(own, name) for name in own.__slots__}
        | {"lineage": Lineage(columns=(circle,), datasets=("a.x",))}
    )
    catalog = Catalog("prod", {"a.x": looped})
    assert catalog.trace([ref("a.x.n")], "up") == (Edge(source=ref("a.x.n"), target=ref("a.x.n"), how="direct"),)
    assert catalog.downstream("a.x") == ("a.x",)


def test_readers_of_readers_are_downstream() -> None:
    """A dataset's readers are found through any number of models; a last one has none."""
    catalog = chain()
    assert catalog.downstream("shop.orders") == ("shop.by_country", "shop.sales")
    assert catalog.downstream("shop.sales") == ("shop.by_country",)
    assert catalog.downstream("shop.by_country") == ()


def test_the_product_may_be_left_out_where_one_dataset_is_meant() -> None:
    """A short name is enough until two products use it."""
    made = {name: entry(name, ["id"]) for name in ("a.orders", "b.orders", "b.people")}
    catalog = Catalog("prod", made)
    assert catalog.entry("people").dataset.name == "b.people"
    with pytest.raises(DatasetUnknown):
        catalog.entry("orders")


@pytest.mark.parametrize(("typed", "meant"), [("shop.ordrs", "shop.orders"), ("shop.by_contry", "shop.by_country")])
def test_a_mistyped_dataset_is_corrected(typed: str, meant: str) -> None:
    """Whoever mistypes a name is told the one that was probably meant."""
    with pytest.raises(DatasetUnknown, match=f"There is no dataset {typed} in environment prod") as caught:
        chain().entry(typed)
    assert caught.value.hint == f"Did you mean '{meant}'?"
    assert (caught.value.name, caught.value.env, caught.value.exit_code) == (typed, "prod", 2)


def test_a_short_name_mistyped_is_corrected_too() -> None:
    """A name without its product is compared with names without theirs."""
    with pytest.raises(DatasetUnknown) as caught:
        chain().entry("ordrs")
    assert "shop.orders" in (caught.value.hint or "")


def test_nothing_applied_is_said_as_such() -> None:
    """In an empty environment the hint is the command that fills it."""
    with pytest.raises(DatasetUnknown, match="millpond apply"):
        Catalog("dev", {}).entry("shop.orders")


def test_a_mistyped_column_in_a_model_is_corrected() -> None:
    """The problem names the column that was probably meant, and where the typo stands."""
    with pytest.raises(ProblemsFound) as caught:
        entry("a.m", ["amount"], sql="SELECT amuont FROM a.t", schemas={"a.t": {"amount": "BIGINT", "id": "BIGINT"}})
    (problem,) = caught.value.problems
    assert "amount" in (problem.fix or "")
    assert str(problem.at) == "a.m.sql:1:8"
