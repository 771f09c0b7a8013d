"""Whether the values of a sweep differ, or no more than its repetitions do."""

from __future__ import annotations

from typing import Any

import pytest

from nbsession import App, CompiledContext, ModelError, SessionError, System, Timeline, component, use_knob
from nbsession.testing import ScriptedModel


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse", "plain"])
    use_knob("depth", 1, min=1, max=5)
    return [System(f"You are {tone}."), Timeline()]


def session(answer: Any, most: int = 60) -> Any:
    return App(Agent, model=ScriptedModel(*[answer] * most)).session("s")


def by_tone(context: CompiledContext) -> str:
    return "No." if "terse" in str(context.system) else "It is a long story, my friend."


async def test_a_difference_beyond_the_repetitions_is_called_real() -> None:
    sweep = await session(by_tone).sweep("Hi", tone=["friendly", "terse", "plain"], depth=[2], repeat=5)
    verdicts = sweep.verdict()
    assert str(verdicts).splitlines() == [
        (
            "tone='terse' against tone='friendly': a real difference "
            "(−27.0, 95% interval −27.0 to −27.0, p=0.02 among 2 comparisons)"
        ),
        "tone='plain' against tone='friendly': no difference in any of 5 runs",
    ]
    assert verdicts[0].comparison.difference == -27
    assert verdicts[0].knobs == {"tone": "terse"}


async def test_what_repetitions_differ_by_is_noise_and_how_many_more_would_tell_is_said() -> None:
    lengths = iter([4, 9, 7, 3, 8, 6, 5, 9, 9, 4] * 2)
    sweep = await session(lambda _: "x" * next(lengths)).sweep(
        "Hi", tone=["friendly", "terse"], repeat=5, concurrency=1
    )
    said = str(sweep.verdict())
    assert said.startswith("tone='terse' against tone='friendly': within the noise (+0.40, 95% interval ")
    assert said.endswith(" more runs would tell")


async def test_a_function_of_a_row_scores_it_and_rows_without_a_score_are_left_out() -> None:
    answers = iter(["Yes.", "Yes.", "", "Yes.", "No.", "No.", "No.", "No."])

    def answer(_: CompiledContext) -> str:
        if given := next(answers):
            return given
        raise ModelError("gone")

    sweep = await session(answer).sweep("Hi", tone=["friendly", "terse"], repeat=4, concurrency=1)
    verdict = sweep.verdict(lambda row: None if row.error else row.text == "Yes.")[0]
    assert (verdict.comparison.b.n, verdict.comparison.a.n) == (3, 4)
    assert str(verdict.comparison) == "a real difference (−1.00, 95% interval −1.00 to −0.25)"


@pytest.mark.parametrize("figure", ["length", "tokens", "input_tokens", "output_tokens", "cost", "seconds"])
async def test_every_figure_can_be_compared_by_its_name(figure: str) -> None:
    sweep = await session(by_tone).sweep("Hi", tone=["friendly", "terse"])
    assert str(sweep.verdict(figure)).startswith(
        "tone='terse' against tone='friendly': too few runs to say (n="
    )


async def test_a_single_combination_has_nothing_to_be_compared_with() -> None:
    sweep = await session(by_tone).sweep("Hi", tone=["terse"], repeat=2)
    assert str(sweep.verdict()) == "there is one combination only, and nothing to compare it with"


async def test_what_cannot_be_compared_by_is_refused() -> None:
    sweep = await session(by_tone).sweep("Hi", tone=["friendly", "terse"])
    with pytest.raises(SessionError, match="got 'lenght'; did you mean 'length'"):
        sweep.verdict("lenght")
    with pytest.raises(SessionError, match="the score failed at row 0: AttributeError"):
        sweep.verdict(lambda row: row.nothing)
