from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, CompileError, KnobError, Knobs, Section, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel, call, render

if TYPE_CHECKING:
    from collections.abc import Mapping


@component
def Tuned() -> Any:
    depth, _ = use_knob("depth", 3, min=1, max=10, description="how deep to dig")
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    return [System(f"{tone}, {depth} deep"), Knobs(), Timeline()]


def test_the_model_sees_each_knob_with_value_and_limits() -> None:
    context = render(Tuned()).context
    section = next(part for part in context.parts if part.key == "knobs")

    assert section.title == "Knobs"
    for words in ("depth = 3", "1", "10", "how deep to dig", 'tone = "friendly"', '"terse"'):
        assert words in section.text


async def test_the_model_sets_a_knob_for_the_very_next_tick() -> None:
    session = App(
        Tuned, model=ScriptedModel([call("set_knob", name="depth", value=7)], "Deeper now.")
    ).session()
    result = await session.send("Dig deeper.")

    assert "3 deep" in str(result.ticks[0].context.system)
    assert "7 deep" in str(result.ticks[1].context.system)
    assert session.knobs["depth"] == 7


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"name": "depth", "value": 11}, "knob 'depth' must be"),
        ({"name": "tone", "value": "rude"}, "knob 'tone' must be"),
        ({"name": "dept", "value": 1}, "did you mean 'depth'"),
    ],
)
async def test_a_value_that_does_not_fit_goes_back_to_the_model(asked: dict[str, Any], said: str) -> None:
    session = App(Tuned, model=ScriptedModel([call("set_knob", **asked)], "Sorry.")).session()
    result = await session.send("Set it.")

    (run,) = result.tool_calls
    assert run.result is not None
    assert run.result.is_error
    assert said in run.result.text
    assert session.knobs["depth"] == 3


def test_render_takes_over_what_is_shown_and_the_tool_stays() -> None:
    def rendered(values: Mapping[str, Any]) -> Any:
        return Section(", ".join(f"{name}: {value}" for name, value in values.items()), id="mine")

    @component
    def Agent() -> Any:
        use_knob("depth", 3)
        return [System("s"), Knobs(rendered)]

    context = render(Agent()).context
    assert [part.text for part in context.system] == ["s", "depth: 3"]
    assert [spec.name for spec in context.tools] == ["set_knob"]


def test_without_knobs_there_is_nothing_at_all() -> None:
    context = render([System("s"), Knobs()]).context

    assert context.system.text == "s"
    assert not context.tools


def test_knobs_of_components_further_down_are_listed() -> None:
    @component
    def Below() -> Any:
        use_knob("below", default=True)
        return None

    context = render([Knobs(), Section("x"), [Below()]]).context
    assert "below = true" in context.system.text.lower()


def test_equal_specs_share_a_knob_and_different_ones_name_both_places() -> None:
    @component
    def Deep(most: int) -> Any:
        depth, _ = use_knob("depth", 3, max=most)
        return System(f"depth {depth}")

    mounted = render([Deep(most=5), Deep(most=5)])
    mounted.knobs["depth"] = 4
    assert [part.text for part in mounted.context.system] == ["depth 4", "depth 4"]

    with pytest.raises(
        KnobError, match=r"knob 'depth' has two specs that differ in max: one at .*0, one at .*1"
    ):
        render([Deep(most=5), Deep(most=6)])


def test_two_of_them_are_two_tools_of_one_name() -> None:
    with pytest.raises(CompileError, match=r"two tools are named 'set_knob': one at .*, one at "):
        _ = render([Tuned(), Knobs()]).context
