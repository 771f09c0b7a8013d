"""A sweep as a data frame and as a figure."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from nbsession import App, ModelError, Session, SessionError, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse", "$5 to $10"])
    use_knob("tokens", 1, min=1, max=5)
    return [System(f"You are {tone}."), Timeline()]


def session(*responses: Any) -> Session:
    return App(Agent, model=ScriptedModel(*responses)).session("s")


async def test_a_frame_has_a_row_each_with_its_knobs_and_what_came_of_it() -> None:
    sweep = await session("Hello.", "Hi.", ModelError("the line is dead"), "Hi.").sweep(
        "Hi", tone=["friendly", "terse"], tokens=[2], repeat=2, concurrency=1
    )
    frame = sweep.frame()
    assert list(frame.columns) == [
        "tone",
        "tokens (knob)",
        "run",
        "tokens",
        "input_tokens",
        "output_tokens",
        "cost",
        "seconds",
        "text",
        "stop_reason",
        "error",
    ]
    assert list(frame["tone"]) == ["friendly", "friendly", "terse", "terse"]
    assert list(frame["tokens (knob)"]) == [2] * 4
    assert list(frame["run"]) == [0, 1, 0, 1]
    assert list(frame["tokens"]) == [row.context.tokens for row in sweep]
    assert list(frame["text"])[:2] == ["Hello.", "Hi."]
    assert frame["error"][2] == "ModelError: the line is dead"
    assert frame["stop_reason"].isna().tolist() == [False, False, True, False]
    assert (frame["seconds"] >= 0).all()
    assert frame.groupby("tone")["text"].nunique()["friendly"] == 2


async def test_a_frame_of_contexts_alone_leaves_out_what_is_not_known() -> None:
    frame = session().sweep("Hi", tone=["friendly", "terse"], context_only=True).frame()
    assert frame[["cost", "seconds", "text", "stop_reason"]].isna().all(axis=None)
    assert (frame["tokens"] > 0).all()


async def test_a_plot_shows_tokens_cost_time_and_different_answers_by_value() -> None:
    sweep = await session("Hello.", "Hi.", "Yes.", "Yes.").sweep(
        "Hi", tone=["friendly", "$5 to $10"], repeat=2, concurrency=1
    )
    figure = sweep.plot()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["context, tokens", "cost, US dollars", "time, seconds", "different answers"]
    answers: Any = figure.axes[3]
    assert [bar.get_height() for bar in answers.patches] == [2, 1]
    assert [label.get_text() for label in answers.get_xticklabels()] == ["friendly", r"\$5 to \$10"]
    figure.savefig(io.BytesIO(), format="png")
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_plot_of_contexts_alone_says_what_is_not_known() -> None:
    figure = session().sweep("Hi", tone=["friendly", "terse"], context_only=True).plot()
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["not known"] * 3


@pytest.mark.parametrize(("call", "package"), [("frame", "pandas"), ("plot", "matplotlib")])
def test_without_the_package_the_error_says_how_to_install_it(
    call: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = session().sweep("Hi", tone=["friendly", "terse"], context_only=True)
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SessionError, match=f"needs {package}: pip install {package}$"):
        getattr(sweep, call)()
