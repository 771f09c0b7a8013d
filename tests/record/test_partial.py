"""Ticks and responses as a store keeps them come back as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nbsession.content import Block, Text, Thinking, ToolCall
from nbsession.record.partial import grown, growth

blocks = st.one_of(
    st.builds(Text, st.text(max_size=6)),
    st.builds(Thinking, st.text(max_size=6)),
    st.builds(ToolCall, st.just("id"), st.just("name"), st.just({})),
)


@given(st.lists(st.lists(blocks, max_size=4), max_size=5))
def test_a_growing_response_is_made_again_of_its_rows(steps: list[list[Block]]) -> None:
    kept: tuple[Block, ...] = ()
    again: tuple[Block, ...] = ()
    for step in steps:
        again = grown(again, growth(kept, step))
        kept = tuple(step)
        assert again == kept


def test_a_row_of_growth_holds_only_what_is_new() -> None:
    data = growth((Text("one two"),), (Text("one two three"), ToolCall("1", "look", {})))
    assert data["more"] == " three"
    assert [item["type"] for item in data["then"]] == ["tool_call"]
