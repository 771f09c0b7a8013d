"""A flow's messages are the same however it is cut into chunks, and grown."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis import given

from nbsession.content import Entry, Text, ToolResult
from nbsession.context.chunk import Chunk, flatten
from nbsession.context.compiled import merge
from nbsession.context.messages import merged
from nbsession.context.part import entry_part

if TYPE_CHECKING:
    from nbsession.content import Block
    from nbsession.context.chunk import FlowItem

ROLES = {"user": "user", "assistant": "assistant", "tool": "tool", "empty": "user"}


def entry_of(number: int, kind: str) -> Entry:
    content: tuple[Block, ...] = (Text(f"{number}"),)
    if kind == "tool":
        content = (ToolResult(f"{number}", "look", (Text("seen"),)),)
    return Entry(f"{number}", None, ROLES[kind], () if kind == "empty" else content)  # type: ignore[arg-type]  # one of its roles


@given(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.integers(0, 3)), max_size=20))
def test_messages_are_those_of_the_parts_one_by_one(kinds: list[tuple[str, int]]) -> None:
    flow: list[FlowItem] = []
    entries = [(entry_of(number, kind), group) for number, (kind, group) in enumerate(kinds)]
    for group, run in groupby(entries, lambda each: each[1]):
        some = [entry for entry, _ in run]
        if group == 0:
            flow += [entry_part(entry, "timeline") for entry in some]
            continue
        chunk = Chunk((some[0],))
        for entry in some[1:]:
            assert chunk.messages == tuple(merged(chunk.parts))
            chunk = chunk.append(entry)
        flow.append(chunk)
    assert merge(flow) == tuple(merged(flatten(flow)))
