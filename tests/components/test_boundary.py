from __future__ import annotations

from typing import Any

import pytest

from nbsession import (
    App,
    ErrorBoundary,
    RenderError,
    Section,
    System,
    Timeline,
    component,
    create_context,
    use_context,
    use_knob,
    use_state,
)
from nbsession.testing import ScriptedModel, render

Language = create_context("English")


@component
def Speaker() -> Any:
    return System(f"Speak {use_context(Language)}.")


@component
def Fragile() -> Any:
    broken, _ = use_knob("broken", default=False)
    count, set_count = use_state(0)
    set_count_of[:] = [set_count]
    if broken:
        raise ValueError("no tea")
    return Section(f"count {count}", id="fragile")


set_count_of: list[Any] = []


def test_a_context_reaches_everything_below_and_the_default_everything_else() -> None:
    context = render([Speaker(), Language("French", [Speaker(), Language("Latin", Speaker())])]).context

    assert [part.text for part in context.system] == ["Speak English.", "Speak French.", "Speak Latin."]


def test_a_new_value_renders_those_who_read_it() -> None:
    @component
    def Agent() -> Any:
        language, _ = use_knob("language", "French", options=["French", "Latin"])
        return Language(language, Speaker())

    mounted = render(Agent())
    mounted.knobs["language"] = "Latin"

    assert mounted.context.system.text == "Speak Latin."


def test_a_boundary_shows_its_fallback_while_a_child_raises_and_keeps_its_state() -> None:
    def fallback(error: Exception) -> Any:
        return System(f"Sorry: {error}")

    mounted = render([System("s"), ErrorBoundary(Fragile(), fallback=fallback)])
    set_count_of[0](3)
    assert "count 3" in str(mounted.context.system)

    mounted.knobs["broken"] = True
    assert "no tea" in str(mounted.context.system)
    assert "count" not in str(mounted.context.system)

    mounted.knobs["broken"] = False
    assert "count 3" in str(mounted.context.system)


def test_a_fallback_may_be_a_plain_node() -> None:
    mounted = render(ErrorBoundary(Fragile(), fallback=System("Sorry.")))
    mounted.knobs["broken"] = True

    assert mounted.context.system.text == "Sorry."


def test_a_boundary_without_a_fallback_is_refused() -> None:
    with pytest.raises(RenderError, match="needs fallback="):
        ErrorBoundary(Fragile())


async def test_without_a_boundary_the_path_is_named_and_the_model_not_called() -> None:
    model = ScriptedModel("fine")

    @component
    def Agent() -> Any:
        return [Fragile(), Timeline()]

    session = App(Agent, model=model).session()
    await session.send("hello")
    session.knobs["broken"] = True

    with pytest.raises(RenderError, match=r"Agent/Fragile.*ValueError: no tea") as raised:
        await session.send("again")

    assert raised.value.path == "Agent/Fragile.0"
    assert isinstance(raised.value.__cause__, ValueError)
    assert len(model.contexts) == 1
    assert session.knobs["broken"] is True
    session.knobs["broken"] = False
    assert "count 0" in str(session.compile().system)
