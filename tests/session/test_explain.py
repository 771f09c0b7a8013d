"""What each component is worth to an answer: left out one at a time, and set against the noise of sampling."""

from __future__ import annotations

import asyncio
import threading
from random import Random
from typing import Any

import pytest

from nbsession import (
    App,
    CompiledContext,
    ModelError,
    Section,
    SessionError,
    System,
    Timeline,
    component,
    tool,
    use_knob,
)
from nbsession.content import Text
from nbsession.session.distance import Answer
from nbsession.testing import ScriptedModel, call, pause
from nbsession.timeline import Tick, ToolRun

CITY, LORE, TONE = "Agent/Section[city]", "Agent/Section[lore]", "Agent/Section[tone]"
ran: list[str] = []


@component
def Agent() -> Any:
    tone, _ = use_knob("tone", "kind", options=["kind", "blunt"])

    @tool
    def look_up(place: str) -> str:
        """Look up."""
        ran.append(place)
        return "Found."

    return [
        System("You are an agent."),
        Section("The city is Vienna.", id="city"),
        Section("Lore that nobody needs. " * 40, id="lore"),
        Section(tone, id="tone"),
        look_up,
        Timeline(),
    ]


def noisy(chance: Random) -> Any:
    def answer(context: CompiledContext) -> Any:
        city = "Vienna" if "The city is Vienna." in str(context.system) else "Somewhere else, far away"
        return f"{city} {' '.join(chance.choices(['is', 'it', 'so', 'well', 'I', 'say'], k=4))}."

    return answer


def made(answer: Any = None, **options: Any) -> tuple[Any, ScriptedModel]:
    ran.clear()
    model = ScriptedModel(*[answer or noisy(Random(3))] * 200)
    return App(Agent, model=model, **options).session("s"), model


async def test_nothing_is_sent_before_it_is_awaited_and_the_price_is_said_first() -> None:
    session, model = made()
    await session.send("Where?")
    explanation = session.explain(0)
    assert [row.path for row in explanation] == ["Agent/System.0", CITY, LORE, TONE]
    assert explanation.plan.calls == 30  # five without each of four, and ten with all
    assert explanation.plan.tokens > 10 * session.ticks[0].context.tokens
    assert "nothing was asked so far; it takes ≈30 model calls, " in str(explanation)
    assert "await this, or run() it, to ask" in str(explanation)
    assert len(model.contexts) == 1
    lore = explanation.rows[2]
    assert lore.tokens == next(part.tokens for part in session.ticks[0].context.parts if part.path == LORE)
    assert (lore.effect, lore.dead, explanation.dead, explanation.cost) == (None, False, [], 0.0)


async def test_what_makes_a_difference_is_told_from_noise_and_dead_context_is_named() -> None:
    session, model = made()
    await session.send("Where?")
    before = session.compile().hash
    explanation = session.explain(0)
    assert await explanation is explanation
    kinds = {row.path: row.effect and row.effect.kind for row in explanation}
    assert kinds == {"Agent/System.0": "noise", CITY: "real", LORE: "noise", TONE: "noise"}
    assert explanation.conclusion == f"1 of 4 components made a difference that is no noise: {CITY}"
    city = explanation.rows[1]
    assert city.effect is not None
    assert city.effect.verdict.startswith("a real difference (+0.")
    assert city.effect.verdict.endswith("among 4 comparisons)")
    assert [len(row.ticks) for row in explanation] == [5] * 4
    assert "Somewhere else" in city.ticks[0].text
    assert [row.path for row in explanation.dead] == [LORE, "Agent/System.0", TONE]
    assert "dead context: Agent/Section[lore] (≈" in str(explanation)
    assert "those of the full context lie 0." in str(explanation)
    assert explanation.calls == explanation.plan.calls == len(model.contexts) - 1
    assert (session.compile().hash, len(session.ticks)) == (before, 1)
    await explanation
    assert explanation.calls == 30


async def test_a_score_tells_what_a_component_adds() -> None:
    session, _ = made()
    await session.send("Where?")

    async def right(tick: Tick) -> bool:
        return "Vienna" in tick.text

    explanation = await session.explain(0, score=right)
    city = explanation.rows[1].effect
    assert city is not None
    assert (city.difference, city.kind) == (1.0, "real")
    assert "a real difference (+1.00, 95% interval 0.48 to 1.00" in city.verdict
    assert explanation.rows[2].effect is not None
    assert explanation.rows[2].effect.verdict == "no difference in any of 5 runs"
    assert "the full context has 1.00 (0.72 to 1.00, n=10)" in explanation.basis


async def test_tools_are_not_run_and_whether_one_is_called_counts() -> None:
    def asking(context: CompiledContext) -> Any:
        if context.messages[-1].role == "user" and "Found." in str(context.messages[-1]):
            return "Done."
        return call("look_up", place="x") if "Vienna" in str(context.system) else "I cannot tell."

    session, _ = made(asking)
    await session.send("Where?")
    assert ran == ["x"]
    explanation = await session.explain(0)
    assert ran == ["x"]
    effects = {row.path: row.effect for row in explanation}
    assert effects[CITY] is not None
    assert (effects[CITY].kind, effects[CITY].difference) == ("real", 1.0)
    assert effects[LORE] is not None
    assert effects[LORE].kind == "equal"


async def test_what_changed_in_the_session_is_not_dead() -> None:
    session, _ = made()
    await session.send("Where?")
    session.knobs["tone"] = "blunt"
    await session.send("And now?")
    explanation = await session.explain(session.ticks[1], components=[TONE, LORE])
    assert [(row.path, row.seen, row.changed) for row in explanation] == [(TONE, 2, 1), (LORE, 2, 0)]
    assert [row.path for row in explanation.dead] == [LORE]
    assert explanation.plan.calls == 20
    assert not explanation.differs


async def test_too_few_repetitions_say_nothing_and_nothing_is_called_dead() -> None:
    session, _ = made()
    await session.send("Where?")
    explanation = await session.explain(0, repeat=1)
    assert {str(row.effect) for row in explanation} == {"too few runs to say (n=1)"}
    assert explanation.dead == []
    assert explanation.conclusion == "none of 4 components made a difference that could be told from noise"


async def test_a_budget_ends_it_with_the_same_number_of_answers_for_all() -> None:
    session, model = made()
    await session.send("Where?")
    each = session.ticks[0].usage.total_tokens
    explanation = await session.explain(0, budget={"tokens": 14 * each})
    assert explanation.calls < 20
    counts = [len(row.ticks) for row in explanation]
    assert max(counts) - min(counts) <= 1
    assert "budget" in explanation.stopped
    assert explanation.stopped in explanation.conclusion
    assert len(model.contexts) == 1 + explanation.calls


async def test_a_budget_counts_what_its_score_has_models_asked_for() -> None:
    session, _ = made()
    await session.send("Where?")
    each = session.ticks[0].usage.total_tokens
    long = "word " * 20 * each

    async def by_a_model(tick: Tick) -> int:
        return len((await App(Timeline, model=ScriptedModel(long)).session().send(tick.text)).text)

    explanation = await session.explain(0, score=by_a_model, budget={"tokens": 60 * each})
    assert 0 < explanation.calls < 20
    assert "the explanation's budget" in explanation.stopped


@pytest.mark.parametrize(
    ("fault", "said"),
    [(ModelError("overloaded, try later"), "overloaded, try later"), (KeyError("tone"), "KeyError: 'tone'")],
)
async def test_a_call_that_fails_is_told_and_the_others_go_on(fault: Exception, said: str) -> None:
    chance = Random(1)
    good = noisy(chance)
    failing = iter([False, True, *[False] * 100])

    def sometimes(context: CompiledContext) -> Any:
        if next(failing):
            raise fault
        return good(context)

    session, _ = made(sometimes)
    await session.send("Where?")
    explanation = await session.explain(0)
    assert len(explanation.failures) == 1
    assert said in explanation.failures[0]
    assert "1 failed: " in explanation.conclusion
    assert sum(len(row.ticks) for row in explanation) + 10 in (29, 30)


async def test_whoever_cancels_it_stops_what_is_asked_and_keeps_what_was_answered() -> None:
    held = pause()
    model = ScriptedModel(*[noisy(Random(3))] * 9, ["too l", held, "ate"], *[held] * 50)
    session = App(Agent, model=model).session("s")
    await session.send("Where?")
    explanation = session.explain(0)
    task = asyncio.ensure_future(explanation)
    await held.reached
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert explanation.done
    assert 0 < explanation.calls < 30
    assert len(model.contexts) <= 1 + explanation.calls + 4  # those that were under way


async def test_a_score_that_fails_is_found_before_anything_is_sent() -> None:
    session, model = made()
    await session.send("Where?")
    for bad, said in (
        (lambda tick: tick.nothing, "the score failed at tick 0: AttributeError"),
        (lambda _: "high", "the score of tick 0 is 'high'; score= gives a finite number"),
        (lambda _: float("nan"), "the score of tick 0 is nan"),
        (lambda _: 10**309, "the score of tick 0 is 1000"),
    ):
        with pytest.raises(SessionError, match=said):
            await session.explain(0, score=bad)
    assert len(model.contexts) == 1


async def test_what_cannot_be_explained_is_refused_at_once() -> None:
    session, _ = made()
    with pytest.raises(SessionError, match="0"):
        session.explain(0)
    await session.send("Where?")
    with pytest.raises(SessionError, match="repeat must be a whole number from 1 on, got 0"):
        session.explain(0, repeat=0)
    with pytest.raises(SessionError, match="no component stands at 'Agent/Nothing'"):
        session.explain(0, components="Agent/Nothing")
    bare = App(Timeline(), model=ScriptedModel("Hm.")).session()
    await bare.send("Well?")
    with pytest.raises(SessionError, match="tick 0 has no component that could be left out"):
        bare.explain(0)


def test_a_program_without_a_loop_may_block_for_it() -> None:
    session, _ = made()
    session.run("Where?")
    assert session.explain(0).run().done


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("It is Vienna.", "it is  VIENNA", 0.0),
        ("", "", 0.0),
        ("Yes", "", 1.0),
        ("yes", "no", 1.0),
        ("a b", "b a", 1 / 3),
        ("維也納", "維也纳", 0.4),
    ],
)
def test_answers_lie_apart_by_their_words(one: str, other: str, distance: float) -> None:
    a, b = (Answer(Tick(0, response=(Text(text),))) for text in (one, other))
    assert a.distance(b) == b.distance(a) == pytest.approx(distance)


def test_answers_lie_apart_by_the_tools_that_they_call() -> None:
    def calling(*calls: Any) -> Answer:
        return Answer(Tick(0, response=(Text("So."),), tool_calls=[ToolRun(each) for each in calls]))

    plain, one = calling(), calling(call("look_up", place="x"))
    assert plain.distance(one) == 1.0
    assert one.distance(calling(call("look_up", place="y"))) == 0.5
    assert one.distance(calling(call("look_up", place="x"))) == 0.0


async def test_a_score_that_takes_its_time_holds_nobody_up() -> None:
    session, _ = made()
    await session.send("Where?")
    going_on = threading.Event()

    def patient(tick: Tick) -> bool:
        return going_on.wait(20)

    asyncio.get_running_loop().call_later(0.05, going_on.set)  # of the loop that a score must not hold
    explanation = await session.explain(0, score=patient, repeat=2)
    assert explanation.failures == []
    assert explanation.full.mean == 1.0
