from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, Model, RenderError, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel, render


async def test_the_tree_chooses_the_model_over_the_app() -> None:
    in_tree, of_app = ScriptedModel("tree"), ScriptedModel("app")

    @component
    def Agent() -> Any:
        return [Model(in_tree, max_tokens=100), System("s"), Timeline()]

    result = await App(Agent, model=of_app).session().send("hello")

    assert result.text == "tree"
    assert result.ticks[0].context.settings == {"max_tokens": 100}


async def test_send_wins_over_the_tree() -> None:
    @component
    def Agent() -> Any:
        return [Model(ScriptedModel("tree")), Timeline()]

    result = await App(Agent).session().send("hello", model=ScriptedModel("send"))
    assert result.text == "send"


async def test_without_a_name_it_only_adds_settings() -> None:
    @component
    def Agent() -> Any:
        return [Model(temperature=0.5), Timeline(), Model(max_tokens=5)]

    result = await App(Agent, model=ScriptedModel("app")).session().send("hello")

    assert result.text == "app"
    assert result.ticks[0].context.settings == {"temperature": 0.5, "max_tokens": 5}


async def test_a_knob_changes_the_model_between_ticks() -> None:
    fast, slow = ScriptedModel("fast"), ScriptedModel("slow")

    @component
    def Agent() -> Any:
        careful, _ = use_knob("careful", default=False)
        return [Model(slow if careful else fast), Timeline()]

    session = App(Agent).session()
    assert (await session.send("hello")).text == "fast"
    session.knobs["careful"] = True
    assert (await session.send("hello")).text == "slow"


def test_settings_are_part_of_the_hash_and_the_diff_and_cost_no_tokens() -> None:
    one = render([Model(max_tokens=1), System("s")]).context
    two = render([Model(max_tokens=2), System("s")]).context

    assert one.hash != two.hash
    diff = two.diff(one)
    assert diff
    assert diff.settings == {"max_tokens": (1, 2)}
    assert diff.tokens == 0


@pytest.mark.parametrize("model", [3, object, ["simulated"]])
def test_what_is_no_model_is_refused(model: Any) -> None:
    with pytest.raises(RenderError, match=r"Model\(\) takes a model's name or an adapter, got"):
        Model(model)
