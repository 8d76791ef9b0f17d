from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.histories import BODIES, EVENTS, JSON, TEXTS
from millpond.kernel import canonical_json
from millpond.ledger import EVENT_KINDS, Event
from millpond.ledger.chain import JsonText, payload_text, record_text
from millpond.ledger.projections import EFFECTS

HALVES = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF) | st.characters(categories=["Lu"])
"""What Python makes of a file name that is no UTF-8."""


@given(event=EVENTS, seq=st.integers(1), at_us=st.integers(0))
def test_a_record_is_hashed_as_canonical_json(event: Event, seq: int, at_us: int) -> None:
    """What is hashed is the canonical JSON of the whole record, so that anybody can recompute it."""
    fields: dict[str, Any] = {"seq": seq, "at_us": at_us, "kind": event.kind, "actor": event.actor}
    fields |= {"env": event.env, "subject": event.subject, "run_id": event.run_id}
    text = record_text(**fields, payload=payload_text(event.payload))
    assert text == canonical_json(fields | {"payload": event.payload})


@given(payload=st.dictionaries(st.text(), JSON | st.text(HALVES)))
def test_a_payload_reads_back_as_it_was(payload: dict[str, Any]) -> None:
    """Every payload, with half characters from file names too, is text in UTF-8 and reads back unchanged."""
    assert json.loads(payload_text(payload).encode()) == payload


@given(body=BODIES)
def test_a_frozen_payload_is_written_like_a_dict(body: dict[str, Any]) -> None:
    """A read-only mapping, or a definition's lazy body, is written as the dict it stands for."""
    lazy = JsonText(payload_text({"body": body}), "body")
    assert payload_text({"a": MappingProxyType(body), "b": lazy}) == payload_text({"a": body, "b": body})
    assert lazy == body


@given(text=TEXTS)
def test_equal_payloads_have_equal_text(text: str) -> None:
    """The order in which keys were put does not matter."""
    assert payload_text({"a": 1, text + "b": 2}) == payload_text({text + "b": 2, "a": 1})


def test_every_kind_is_described_in_a_sentence() -> None:
    """Each kind of event says what it means, and only known kinds change a projection."""
    assert all(kind.doc.endswith(".") for kind in EVENT_KINDS.values())
    assert set(EFFECTS) <= set(EVENT_KINDS)
