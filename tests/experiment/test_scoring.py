"""What scorers give, and what stands in place of a score."""

from __future__ import annotations

import asyncio
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import App, SessionError, StopReason, System, Timeline, component
from nbsession.experiment import Case, Experiment, contains, judge
from nbsession.experiment.scoring import scorers_of
from nbsession.session.result import result_of
from tests.support.quiz import Teacher, cases, quiz, right

if TYPE_CHECKING:
    from nbsession import Result


async def test_several_scorers_sync_and_async_each_stand_under_their_name() -> None:
    async def words(result: Result, case: Case) -> int:
        return len(result.text.split())

    def style(result: Result, case: Case) -> dict[str, Any]:
        return {"short": len(result.text) < 10, "polite": None}

    run = await Experiment(quiz(), cases("Italy"), score=[right, words, style]).run()
    assert run.trials[0].scores == {"right": 0.0, "words": 4.0, "style.short": 0.0, "style.polite": None}
    arm = run.arms["default"]
    assert (arm.mean_of("words"), arm.interval_of("style.polite").mean, arm.mean) == (4.0, None, 0.0)


async def test_a_scorer_that_fails_is_a_value_and_stops_nobody() -> None:
    def picky(result: Result, case: Case) -> bool:
        if case.id == "italy":
            raise LookupError("no such country")
        return True

    run = await Experiment(quiz(), cases("France", "Italy"), score=[picky, right]).run()
    assert run.trials[1].scores == {"picky": "LookupError: no such country", "right": 0.0}
    assert run.arms["default"].n == 1
    assert "1 could not be scored, such as: LookupError: no such country" in repr(run.arms["default"])
    assert run.frame()["picky (error)"].dropna().to_dict() == {1: "LookupError: no such country"}


async def test_a_scorer_that_ends_the_program_fails_and_ends_nothing() -> None:
    def quits(result: Result, case: Case) -> Any:
        sys.exit(3)

    async def quits_later(result: Result, case: Case) -> Any:
        await asyncio.to_thread(int)
        sys.exit(4)

    run = await Experiment(quiz(), ["hi"], score=[quits, quits_later]).run()
    assert run.trials[0].scores == {
        "quits": "ScoreError: it asked to end the program, by exit(3)",
        "quits_later": "ScoreError: it asked to end the program, by exit(4)",
    }


@pytest.mark.parametrize("expected", [{1: "a", "b": 2}, {(1, 2): 3}, object()])
async def test_what_a_case_expects_may_be_anything(expected: Any) -> None:
    case = Case("hi", expected, metadata={"years": {1: "a", "b": 2}})
    run = await Experiment(quiz(), [case], score=lambda _, case: case.expected is expected).run()
    assert run.trials[0].scores == {"score": 1.0}


async def test_a_dict_of_scores_that_cannot_be_read_is_the_scorers_failure() -> None:
    class Odd(dict[str, float]):
        def items(self) -> Any:
            raise LookupError("gone")

    run = await Experiment(quiz(), ["hi"], score=lambda *_: Odd(a=1)).run()
    assert run.trials[0].scores == {"score": "LookupError: gone"}


@pytest.mark.parametrize("odd", ["yes", float("nan"), [1], {"a": "b"}, object, 10**309])
async def test_what_is_no_score_is_an_error_that_names_scorer_and_value(odd: Any) -> None:
    def strange(result: Result, case: Case) -> Any:
        return odd

    run = await Experiment(quiz(), ["hi"], score=strange).run()
    (said,) = run.trials[0].scores.values()
    assert isinstance(said, str)
    assert said.startswith("scorer 'strange")
    assert repr(odd["a"] if isinstance(odd, dict) else odd)[:80] in said


async def test_names_of_scorers_are_told_apart() -> None:
    def right_by(limit: int, result: Result, case: Case) -> bool:
        return len(result.text) < limit

    scorers = [partial(right_by, 5), partial(right_by, 50), lambda *_: 1]
    run = await Experiment(quiz(), cases("Italy"), score=scorers).run()
    assert run.trials[0].scores == {"right_by": 0.0, "right_by-2": 1.0, "score": 1.0}


@pytest.mark.parametrize("score", ["contains", 3, [right, "contains"], bool])
def test_what_is_no_scorer_is_refused_at_once(score: Any) -> None:
    with pytest.raises(SessionError, match="function of a result and its case"):
        Experiment(quiz(), ["hi"], score=score)


async def test_an_async_scorer_runs_on_the_users_loop_and_a_sync_one_beside() -> None:
    ran: list[object] = []

    async def theirs(result: Result, case: Case) -> bool:
        ran.append(asyncio.get_running_loop())
        return True

    def beside(result: Result, case: Case) -> bool:
        ran.append(threading.current_thread())
        return True

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        for scorer in scorers_of([theirs, beside]):
            scores = await scorer.score(result_of((), StopReason.end_turn, ""), Case("hi"), loop)
            assert list(scores.values.values()) == [1.0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert ran[0] is loop
    assert ran[1] is not threading.current_thread()


def test_a_scorer_of_pairs_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(SessionError, match=r"scorer 'judge' takes .* is called with a result and its case"):
        Experiment(quiz(), ["hi"], score=judge(quiz(), pairwise=True))


async def test_a_judges_reason_and_session_stay_with_its_score() -> None:
    @component
    def Judge() -> Any:
        return [System("Be strict."), Timeline()]

    court = App(Judge, model=Teacher(lambda _: '{"reason": "It guesses.", "score": 0.25}'))
    run = await Experiment(quiz(), cases("Italy"), score=[contains, judge(court)]).run()
    trial = run.trials[0]
    assert trial.scores == {"contains": 0.0, "judge": 0.25}
    assert trial.notes["judge"]["reason"] == "It guesses."
    assert "I am not sure." in str(court.session(trial.notes["judge"]["session"]).ticks[0].context)
