"""Experiments: cases under arms, planned, asked, scored, and each trial a session."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from nbsession import (
    App,
    KnobError,
    Result,
    SessionError,
    System,
    Timeline,
    component,
    tool,
    use_effect,
    use_timeline,
)
from nbsession.experiment import Case, Experiment, Trial
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel, call
from tests.support.quiz import Quiz, Teacher, cases, quiz, right

TONES = {"tone": ["friendly", "terse"]}


async def test_every_case_is_asked_under_every_arm_and_scored() -> None:
    run = await Experiment(quiz(), cases(), knobs=TONES, score=right).run()
    assert [(t.case.name, t.arm.name, t.text, t.scores) for t in run.trials][:4] == [
        ("france", "friendly", "Paris", {"right": 1.0}),
        ("france", "terse", "Paris", {"right": 1.0}),
        ("italy", "friendly", "I am not sure.", {"right": 0.0}),
        ("italy", "terse", "Rome", {"right": 1.0}),
    ]
    assert len(run.trials) == run.progress.done == 8
    assert run.arms["friendly"].mean == 0.25
    assert run.arms["terse"].mean == 1.0
    assert run.arms["terse"].n == 4


async def test_trials_come_as_they_end_to_several_readers_and_to_late_ones() -> None:
    run = Experiment(quiz(), cases(), repeat=2).run()

    async def read() -> list[Trial]:
        return [trial async for trial in run]

    one, other = await asyncio.gather(read(), read())
    assert one == other == await read()
    assert {trial.number for trial in one} == set(range(8))
    assert all(trial.status == "done" for trial in one)


async def test_a_trial_is_a_session_that_can_be_opened_gone_on_with_and_forked() -> None:
    app = quiz(store=MemoryStore())
    run = await Experiment(app, cases("Italy"), knobs=TONES, score=right).run()
    trial = run.trials[1]
    session = trial.session()
    assert session is app.session(trial.session_id)
    assert [str(entry) for entry in session.timeline] == ["The capital of Italy?", "Rome"]
    assert session.ticks[0].context.hash == trial.figures.context
    assert session.knobs["tone"] == "terse"
    assert session.metadata == {"trial": trial.key, "case": "italy", "arm": "terse"}
    assert (await session.fork().send("And of Spain?")).text == "Madrid"
    assert session.verify() == []


async def test_models_are_arms_too_and_win_over_the_apps() -> None:
    knowing = Teacher(lambda _: "Rome", name="fake:knowing")
    silent = Teacher(lambda _: "…", name="fake:silent")
    run = await Experiment(quiz(), cases("Italy"), models=[knowing, silent], score=right).run()
    assert {name: float(arm.mean) for name, arm in run.arms.items()} == {"fake:knowing": 1, "fake:silent": 0}
    assert run.trials[1].session().model is silent


async def test_a_trial_of_several_ticks_counts_them_and_its_tool_calls() -> None:
    @component
    def Desk() -> Any:
        @tool
        def look_up(country: str) -> str:
            return f"{country}: Rome"

        return [System("Look it up."), look_up, Timeline()]

    def respond(context: Any) -> Any:
        return "Rome" if "Italy: Rome" in str(context.messages) else call("look_up", country="Italy")

    run = await Experiment(App(Desk, model=Teacher(respond)), cases("Italy"), score=right).run()
    figures = run.trials[0].figures
    assert (figures.ticks, figures.tool_calls, figures.stop_reason) == (2, 1, "end_turn")
    assert [tick.number for tick in run.trials[0].session().ticks] == [0, 1]


async def test_what_asks_for_confirmation_is_denied() -> None:
    ran = []

    @component
    def Desk() -> Any:
        @tool(confirm=True)
        def pay() -> str:
            ran.append("paid")
            return "paid"

        return [pay, Timeline()]

    def respond(context: Any) -> Any:
        return "It was denied." if "nobody is asked" in str(context.messages) else call("pay")

    run = await Experiment(App(Desk, model=Teacher(respond)), ["Pay!"]).run()
    assert run.trials[0].text == "It was denied."
    assert not ran


async def test_a_trial_that_fails_keeps_its_error_and_stops_nobody() -> None:
    def respond(context: Any) -> Any:
        return RuntimeError("no such country") if "Italy" in str(context.messages) else "Paris"

    run = await Experiment(quiz(Teacher(respond)), cases("France", "Italy"), score=right).run()
    assert [trial.status for trial in run.trials] == ["done", "failed"]
    assert run.failures[0].error == "RuntimeError: no such country"
    assert run.arms["default"].n == 1
    assert "1 failed" in str(run)
    assert run.failures[0].session().ticks[0].error is not None


async def test_a_clean_up_that_fails_takes_back_no_answer_and_stops_nobody() -> None:
    @component
    def Untidy() -> Any:
        def opened() -> Any:
            def close() -> None:
                raise OSError("it is stuck")

            return close

        use_effect(opened, [])
        return Timeline()

    run = await Experiment(App(Untidy, model=Teacher(lambda _: "hm")), ["one", "two"]).run()
    assert [(trial.status, trial.text) for trial in run.trials] == [("done", "hm")] * 2
    assert "it is stuck" in run.trials[0].error
    assert run.trials[0].session().ticks


async def test_the_same_order_is_asked_each_time_and_no_arm_is_behind() -> None:
    first, second = Teacher(), Teacher()
    for model in (first, second):
        await Experiment(quiz(model), cases(), knobs=TONES, repeat=2).run(concurrency=1)
    asked = [(str(c.messages[-1]), "terse" in str(c.system)) for c in first.contexts]
    assert asked == [(str(c.messages[-1]), "terse" in str(c.system)) for c in second.contexts]
    assert [terse for _, terse in asked] == [False, True] * 8
    assert len({message for message, _ in asked[:8]}) == 4


async def test_sessions_are_closed_when_they_end() -> None:
    open_now: set[object] = set()
    most = 0

    @component
    def Watched() -> Any:
        def opened() -> Any:
            nonlocal most
            token = object()
            open_now.add(token)
            most = max(most, len(open_now))
            return lambda: open_now.discard(token)

        use_effect(opened, [])
        return Timeline()

    run = await Experiment(App(Watched, model=Teacher()), [f"question {n}" for n in range(20)]).run(
        concurrency=3
    )
    assert run.progress.done == 20
    assert not open_now
    assert most <= 3


async def test_stopping_keeps_what_ended() -> None:
    model = Teacher()
    run = Experiment(quiz(model), [f"question {n}" for n in range(50)]).run(concurrency=1)
    async for _ in run:
        if run.progress.done == 5:
            run.abort("enough")
    await run
    assert run.reason == "enough"
    done = [trial for trial in run.trials if trial.status == "done"]
    assert 5 <= len(done) < 50
    assert {trial.status for trial in run.trials} == {"done", "unsent"}
    with pytest.raises(SessionError, match="was not sent"):
        next(trial for trial in run.trials if trial.status == "unsent").session()


async def test_cancelling_who_awaits_it_stops_it() -> None:
    run = Experiment(quiz(), [f"question {n}" for n in range(50)]).run(concurrency=1)
    waiting = asyncio.ensure_future(run)
    async for _ in run:
        waiting.cancel()
        break
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert run.done
    assert run.progress.done < 50


def test_without_a_loop_one_waits_for_it() -> None:
    run = Experiment(quiz(), cases(), score=right).run().wait()
    assert run.arms["default"].mean == 0.25


def test_one_that_was_made_without_a_loop_begins_where_its_trials_are_read() -> None:
    run = Experiment(quiz(), cases(), score=right).run()

    async def read() -> list[str]:
        return [trial.case.name async for trial in run]

    assert len(asyncio.run(read())) == 4


async def test_a_budget_bounds_all_trials_and_refuses_the_rest() -> None:
    model = Teacher()
    experiment = Experiment(quiz(model), cases(), knobs=TONES, score=right)
    tokens = experiment.plan().tokens // 2
    run = await experiment.run(budget={"tokens": tokens}, concurrency=1)
    assert 0 < model.asked < 8
    assert len(run.refused) == 8 - model.asked
    assert "budget" in run.refused[0].error
    assert sum(trial.tokens for trial in run.trials) <= tokens
    assert "refused" in str(run)
    again = await experiment.run(budget={"tokens": tokens}, concurrency=1)
    assert len(again.refused) == len(run.refused), "what was spent before counts"
    full = await experiment.run()
    assert (full.progress.done, full.progress.reused, model.asked) == (8, 8 - len(run.refused), 8)


async def test_a_value_that_does_not_fit_is_told_before_anything_is_sent() -> None:
    model = Teacher()
    experiment = Experiment(quiz(model), cases(), knobs={"tone": ["terse", "rude"]})
    for attempt in (experiment.plan, experiment.run):
        with pytest.raises(KnobError, match="arm 'rude': knob 'tone' must be one of"):
            attempt()
    with pytest.raises(KnobError, match="tune"):
        Experiment(quiz(model), cases(), knobs={"tune": [1]}).run()
    assert model.asked == 0


async def test_a_context_that_does_not_compile_is_told_before_anything_is_sent() -> None:
    @component
    def Mute() -> Any:
        return System("There is no timeline.")

    model = Teacher()
    with pytest.raises(Exception, match="Timeline") as raised:
        await Experiment(App(Mute, model=model), cases("Italy")).run()
    assert raised.value.__notes__ == ["in case 'italy' under arm 'default'"]
    assert model.asked == 0


async def test_a_plan_says_what_would_be_asked_and_sends_nothing() -> None:
    model = Teacher()
    store = MemoryStore()
    experiment = Experiment(quiz(model), cases(), knobs=TONES, repeat=2)
    plan = experiment.plan(store=store)
    assert (plan.calls, plan.reused, model.asked) == (16, 0, 0)
    assert plan.arms["terse"].calls == 8
    assert plan.tokens == sum(arm.tokens for arm in plan.arms.values()) > 0
    assert plan.cost == 0.0
    assert plan.seconds is None
    assert not plan.arms["friendly"].diff
    assert "terse" in str(plan.arms["terse"].diff)
    assert "terse, beside friendly:" in str(plan)
    await experiment.run(store=store)
    after = experiment.plan(store=store)
    assert (after.calls, after.reused, after.tokens, after.seconds) == (0, 16, 0, 0.0)


def test_a_plan_says_what_a_batch_cannot_do() -> None:
    @component
    def Desk() -> Any:
        @tool
        def look_up() -> str:
            return ""

        return [look_up, Timeline()]

    plan = Experiment(App(Desk, model=Teacher()), ["hi"]).plan()
    assert "look_up" in plan.arms["default"].batch
    assert "scripted takes none" in str(Experiment(quiz(), ["hi"]).plan())


async def test_a_long_answer_is_read_from_the_store() -> None:
    text = "word " * 1_000
    run = await Experiment(quiz(Teacher(lambda _: text)), cases("Italy")).run()
    assert len(run.trials[0].figures.text) < 1_000
    assert run.trials[0].text == text
    assert run.frame()["text"].tolist() == [text]


async def test_held_out_cases_are_asked_and_reported_apart() -> None:
    given = [*cases("France", "Italy"), Case("The capital of Spain?", "Madrid", "spain", held_out=True)]
    run = await Experiment(quiz(), given, score=right).run()
    assert (run.arms["default"].n, run.held_out.arms["default"].n) == (2, 1)
    assert run.arms["default"].mean == 0.5
    assert "held out:" in str(run)
    assert list(run.frame()["held_out"]) == [False, False, True]


async def test_a_frame_has_a_row_for_each_trial() -> None:
    frame = (await Experiment(quiz(), cases(), knobs=TONES, score=right).run()).frame()
    assert len(frame) == 8
    assert list(frame.columns[:8]) == [
        "case",
        "arm",
        "model",
        "repeat",
        "held_out",
        "status",
        "right",
        "tone",
    ]
    assert frame.groupby("arm")["right"].mean().to_dict() == {"friendly": 0.25, "terse": 1.0}


async def test_a_plot_shows_an_axis_for_each_score() -> None:
    def both(result: Result, case: Case) -> dict[str, float]:
        return {"right": case.expected in result.text, "words": len(result.text.split())}

    run = await Experiment(quiz(), cases(), knobs=TONES, score=both).run()
    assert [axes.get_title(loc="left") for axes in run.plot().axes] == ["both.right", "both.words"]


async def test_a_plot_typesets_no_names(tmp_path: Path) -> None:
    run = await Experiment(quiz(), ["hi"], score=lambda *_: {r"$\cost$": 1.0}).run()
    run.plot().savefig(tmp_path / "plot.png")


async def test_a_name_that_no_arm_has_is_told_with_those_there_are() -> None:
    run = await Experiment(quiz(), cases("Italy"), knobs=TONES).run()
    with pytest.raises(SessionError, match="there is no arm 'ters'; did you mean 'terse'"):
        _ = run.arms["ters"]


async def test_one_session_is_mounted_and_shared_by_all_arms() -> None:
    run = await Experiment(App(Quiz(), model=ScriptedModel("a", "b")), ["hi"], knobs=TONES).run()
    assert sorted(trial.text for trial in run.trials) == ["a", "b"]


async def test_what_is_planned_is_what_is_sent_whatever_was_compiled_before() -> None:
    """One tree is asked for one message after another; none of them leaves anything behind."""

    @component
    def Echo() -> Any:
        timeline = use_timeline()
        return [System(f"{len(timeline)} entries: {timeline[-1] if timeline else 'none'}"), Timeline()]

    model = Teacher(lambda _: "hm")
    given = [
        "one",
        [
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": "so"},
            {"role": "user", "content": "?"},
        ],
        *[f"message {n}" for n in range(120)],
    ]
    experiment = Experiment(App(Echo, model=model), given)
    run = await experiment.run()
    assert {context.hash for context in model.contexts} == {trial.figures.context for trial in run.trials}
    assert experiment.plan().reused == 122
    assert experiment.plan().tokens == 0
    fresh = Experiment(App(Echo, model=model), given).plan()
    assert fresh.tokens == sum(context.tokens for context in model.contexts)


HIDDEN = "\x1b[31m\u202e"


@pytest.mark.parametrize("text", [HIDDEN, "x" * 1_000_000, f"<b>{HIDDEN}</b>\n" * 50_000])
async def test_a_text_of_somebody_else_stays_short_and_plain_wherever_it_stands(text: str) -> None:
    def strange(result: Result, case: Case) -> Any:
        if case.id == text:
            raise LookupError(text)
        return {text: len(result.text) % 2}

    model = Teacher(lambda context: text + "!" * len(str(context.system)))
    asked = [Case(text, expected=text, id=text), Case("hi", text)]
    experiment = Experiment(quiz(model), asked, knobs={text: {"tone": "terse"}, "": {}}, score=strange)
    plan, run = experiment.plan(), await experiment.run()
    told = [str(plan), str(run), repr(run), repr(run.trials[0]), *map(repr, run.arms.values())]
    told += [str(flip) for flip in run.flips(*run.arms)]
    assert all(len(each) < 10_000 and not {"\x1b", "\u202e"} & set(each) for each in told)
    assert len(str(run.trials[0].scores)) < 20_000
