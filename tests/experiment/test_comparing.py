"""Arms set beside each other: paired by case, in words, and by judges of pairs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, ScoreError, SessionError, System, Timeline, component
from nbsession.experiment import Case, Experiment, judge
from nbsession.stores import MemoryStore
from nbsession.testing import pause
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from nbsession import Result

TONES = {"tone": ["friendly", "terse"]}
MANY = [Case(f"The capital of {country}? ({n})", "Rome") for n in range(10) for country in ("Italy",)]


async def test_two_arms_are_compared_case_by_case_with_a_verdict() -> None:
    run = await Experiment(quiz(), MANY, knobs=TONES, score=right).run()
    comparison = run.compare("terse", "friendly")
    assert (comparison.difference, comparison.won, comparison.lost, comparison.tied) == (1.0, 10, 0, 0)
    assert comparison.verdict.startswith("a real difference (+1.00")
    assert f"terse beside friendly: {comparison}" in str(run)
    assert run.compare("friendly", "terse").difference == -1.0


async def test_the_cases_that_flipped_stand_with_both_arms_trials() -> None:
    run = await Experiment(quiz(), cases(), knobs=TONES, score=right, repeat=2).run()
    flips = run.flips("friendly", "terse")
    assert [(flip.case.id, flip.difference) for flip in flips] == [
        ("italy", -1.0),
        ("spain", -1.0),
        ("norway", -1.0),
    ]
    assert {trial.text for trial in flips[0].trials_b} == {"Rome"}
    assert len(flips[0].trials_a) == 2
    assert str(flips[0]) == (
        "'italy' (The capital of Italy?): 0.00 under 'friendly' ('I am not sure.'), 1.00 under 'terse' ('Rome')"
    )
    assert run.flips("terse", "terse") == []


async def test_few_cases_are_too_few_to_say() -> None:
    run = await Experiment(quiz(), cases("Italy", "Spain"), knobs=TONES, score=right).run()
    assert run.compare("terse", "friendly").verdict == "too few cases to say (n=2)"


async def test_several_arms_are_corrected_for_their_number() -> None:
    knobs = {"tone": ["friendly", "terse"], "depth": [1, 2]}
    run = await Experiment(quiz(), MANY, knobs=knobs, score=right).run()
    against = run.report.against_first()
    assert list(against) == ["tone=friendly, depth=2", "tone=terse, depth=1", "tone=terse, depth=2"]
    assert {comparison.among for comparison in against.values()} == {3}


async def test_repetitions_do_not_pass_for_cases() -> None:
    answers = iter(["Rome", "no"] * 20)
    run = await Experiment(
        quiz(Teacher(lambda _: next(answers))), cases("Italy"), repeat=20, score=right
    ).run()
    arm = run.arms["default"]
    assert (arm.n, arm.mean, arm.interval.within is not None) == (1, 0.5, True)
    assert len(arm.by_case()["italy"]) == 20


async def test_arms_without_a_case_in_common_are_not_compared() -> None:
    def respond(context: Any) -> Any:
        lost = "Italy" if "terse" in str(context.system) else "Spain"
        return RuntimeError("broken") if lost in str(context.messages) else "Rome"

    run = await Experiment(quiz(Teacher(respond)), cases("Italy", "Spain"), knobs=TONES, score=right).run()
    with pytest.raises(SessionError, match="'terse' and 'friendly' have no case in common"):
        run.compare("terse", "friendly")
    with pytest.raises(SessionError, match="there is no score 'wrong'"):
        run.compare("terse", "friendly", score="wrong")
    assert "terse beside friendly: too few cases to say (n=0)" in str(run)


@component
def Court() -> Any:
    return [System("Which is better?"), Timeline()]


async def test_a_judge_of_pairs_is_asked_both_ways_once_and_kept() -> None:
    def decide(context: Any) -> str:
        said = str(context.messages[-1])
        first_is_rome = said.index("Rome") < said.index("not sure")
        return f'{{"reason": "It answers.", "better": "{"first" if first_is_rome else "second"}"}}'

    model, store = Teacher(decide), MemoryStore()
    court = judge(App(Court, model=model), pairwise=True)
    run = await Experiment(quiz(), cases("Italy", "Spain", "Norway"), knobs=TONES).run(store=store)
    with pytest.raises(ValueError, match="substring"):
        await run.prefer("terse", "friendly", lambda *_: "abc".index("x"))
    run = await Experiment(quiz(), [Case("Italy?"), Case("Of Italy?")], knobs=TONES).run(store=store)
    preferred = await run.prefer("terse", "friendly", court)
    assert [(pair.case.message, pair.score) for pair in preferred.pairs] == [
        ("Italy?", 1.0),
        ("Of Italy?", 1.0),
    ]
    assert (model.asked, preferred.swayed, preferred.comparison.won) == (4, 0, 2)
    assert preferred.pairs[0].notes["reasons"] == ("It answers.", "It answers.")
    again = await run.prefer("terse", "friendly", court)
    assert (model.asked, again.pairs[0].score, again.pairs[0].notes["swayed"]) == (4, 1.0, False)


async def test_where_the_order_decides_neither_is_better() -> None:
    court = App(Court, model=Teacher(lambda _: '{"reason": "It came first.", "better": "first"}'))
    run = await Experiment(quiz(), cases("Italy", "Spain"), knobs=TONES).run()
    preferred = await run.prefer("terse", "friendly", judge(court, pairwise=True))
    assert (preferred.swayed, preferred.comparison.tied) == (2, 2)
    assert "the order decided 2 of 2 pairs" in str(preferred)


async def test_what_a_judge_of_pairs_may_give_is_told() -> None:
    run = await Experiment(quiz(), cases("Italy"), knobs=TONES).run()

    def odd(a: Result, b: Result, case: Case) -> str:
        return "the first"

    with pytest.raises(ScoreError, match="the judge of pairs gave 'the first' for case 'italy'"):
        await run.prefer("terse", "friendly", odd)


async def test_where_a_judge_of_pairs_fails_none_is_left_at_work() -> None:
    run = await Experiment(quiz(), cases(), knobs=TONES).run()
    begun = asyncio.Event()
    over: list[str] = []

    async def failing(a: Result, b: Result, case: Case) -> float:
        if case.name == "france":
            await begun.wait()
            raise OSError("out of reach")
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(over.append, case.name)  # winding up takes its time
        return 1.0

    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="out of reach"):
        await run.prefer("terse", "friendly", failing)
    assert sorted(over) == ["italy", "norway", "spain"]
    assert asyncio.all_tasks() == before


async def test_a_run_that_goes_on_is_not_judged() -> None:
    here = pause()
    run = Experiment(quiz(Teacher(lambda _: ["so", here])), ["hi"], knobs=TONES).run()
    with pytest.raises(SessionError, match="the run goes on"):
        await run.prefer("terse", "friendly", lambda *_: 1)
    here.release()
    await run
