"""Signed thinking is replayed behind the context it was made under, and nowhere else."""

from __future__ import annotations

from typing import Any

from nbsession import App, System, Timeline, component, tool, use_knob
from nbsession.content import Text, Thinking
from nbsession.testing import ScriptedModel, call


@component
def Root() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])

    @tool
    def look() -> str:
        """Look."""
        return "seen"

    return [System(f"Be {tone}."), look, Timeline()]


def signed(text: str) -> Thinking:
    return Thinking(text, {"type": "thinking", "thinking": text, "signature": "s"})


def thoughts(context: Any) -> list[str]:
    return [
        block.text for message in context.messages for block in message.content if isinstance(block, Thinking)
    ]


def thinking_model(*answers: Any) -> ScriptedModel:
    return ScriptedModel(*answers)


async def test_thinking_is_replayed_as_long_as_the_prefix_stands() -> None:
    model = thinking_model([signed("one"), call("look")], [signed("two"), "done"], "again")
    session = App(Root, model=model).session()
    await session.send("go")
    await session.send("more")
    assert [thoughts(context) for context in model.contexts] == [[], ["one"], ["one", "two"]]
    assert model.contexts[-1].withheld == ()


async def test_thinking_is_left_out_and_said_so_once_a_knob_changed_what_stands_before_it() -> None:
    model = thinking_model([signed("one"), "done"], [signed("two"), "again"], "third")
    session = App(Root, model=model).session()
    await session.send("go")
    session.knobs["tone"] = "terse"
    await session.send("more")
    await session.send("last")
    assert [thoughts(context) for context in model.contexts] == [[], [], ["two"]]
    assert [item.reason for item in model.contexts[1].withheld] == ["thinking made under another context"]
    for tick in session.ticks:
        assert session.fork(at=tick.number, before=True).compile().hash == tick.context.hash
        assert tick.context.tokens == sum(part.tokens for part in tick.context.parts)


async def test_thinking_that_no_provider_signed_is_never_sent() -> None:
    model = thinking_model([Thinking("a rule"), "done"], "again")
    session = App(Root, model=model).session()
    await session.send("go")
    await session.send("more")
    assert thoughts(model.contexts[1]) == []
    assert session.timeline[1].content == (Thinking("a rule"), Text("done"))
