"""Batches: trials that are sent together, answered later, and for less."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbsession import (
    App,
    MissingKeyError,
    Model,
    ModelError,
    SessionError,
    System,
    Timeline,
    component,
    tool,
    use_gate,
)
from nbsession.experiment import Experiment, batch
from nbsession.experiment.engine import LocalEngine
from nbsession.models.anthropic import AnthropicModel
from nbsession.stores import MemoryStore, SqlStore
from nbsession.usage import Usage, cost
from tests.support.fake_batches import FakeBatches, said
from tests.support.quiz import CAPITALS, Teacher, cases, quiz, right

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
MODEL = "claude-sonnet-4-5"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(batch, "LONGEST_PAUSE", 0.02)


@pytest.fixture
def server() -> Iterator[FakeBatches]:
    with FakeBatches() as server:
        server.answer = knowing
        yield server


def knowing(request: Mapping[str, Any]) -> str:
    return next((city for country, city in CAPITALS.items() if country in said(request)), "I am not sure.")


def claude(server: FakeBatches, name: str = MODEL, **options: Any) -> AnthropicModel:
    given = {"max_retries": 0, **options}
    return AnthropicModel(name, base_url=server.url, api_key="sk-secret-1234", **given)


async def test_trials_are_sent_together_and_each_answer_becomes_a_session_of_its_own(
    server: FakeBatches,
) -> None:
    server.looks = 2
    knobs = {"tone": ["friendly", "terse"]}
    store = MemoryStore()
    run = await Experiment(quiz(claude(server)), cases(), knobs=knobs, score=right).run(
        store=store, batch=True
    )
    assert [trial.text for trial in run.trials] == [city for city in CAPITALS.values() for _ in range(2)]
    assert run.arms["terse"].mean == 1.0
    assert [len(made.requests) for made in server.batches] == [8]
    assert server.batches[0].looks >= 3
    tick = run.trials[2].session().ticks[0]
    assert tick.text == "Rome"
    assert tick.source == "live"
    assert "friendly teacher" in str(tick.context)
    assert tick.model == f"anthropic:{MODEL}"
    assert tick.usage == Usage(100, 20, batch=True)
    requests = server.batches[0].requests
    assert all(len(each["custom_id"]) <= 64 for each in requests)
    assert "stream" not in requests[0]["params"]


async def test_a_batch_costs_half_and_the_plan_says_so_beside_the_full_price(server: FakeBatches) -> None:
    experiment = Experiment(quiz(claude(server)), cases())
    plan = experiment.plan()
    assert plan.cost is not None
    assert plan.batch_cost == plan.arms["default"].batch_cost == pytest.approx(plan.cost / 2)
    assert "≈ in a batch" in str(plan)
    assert server.asked == []
    run = await experiment.run(batch=True)
    full = cost(f"anthropic:{MODEL}", Usage(100, 20))
    assert full is not None
    assert run.trials[0].cost == pytest.approx(full / 2)
    assert run.progress.cost == pytest.approx(4 * full / 2)


def test_a_search_costs_the_same_in_a_batch() -> None:
    searched = Usage(1_000_000, web_searches=2)
    whole, half = (cost(MODEL, Usage(1_000_000, web_searches=2, batch=b)) for b in (False, True))
    assert cost(MODEL, searched) == whole == pytest.approx(3.02)
    assert half == pytest.approx(1.52)


async def test_what_ended_is_not_sent_again(server: FakeBatches) -> None:
    store, app = MemoryStore(), quiz(claude(server))
    await Experiment(app, cases("France", "Italy")).run(store=store, batch=True)
    run = await Experiment(app, cases()).run(store=store, batch=True)
    assert (run.progress.done, run.progress.reused, server.sent) == (4, 2, 4)
    again = await Experiment(app, cases()).run(store=store, batch=True)
    assert (again.progress.reused, server.sent) == (4, 4)


async def test_a_request_that_failed_fails_with_what_was_said_and_the_next_run_sends_it_again(
    server: FakeBatches,
) -> None:
    def fate(request: Mapping[str, Any], nth: int) -> str:
        return "errored" if "Italy" in said(request) and nth == 1 else "succeeded"

    server.fate = fate
    store, app = MemoryStore(), quiz(claude(server))
    run = await Experiment(app, cases()).run(store=store, batch=True)
    assert (run.progress.done, run.progress.failed) == (4, 1)
    failed = run.failures[0]
    assert failed.case.name == "italy"
    assert failed.error == (
        f"ModelError: anthropic:{MODEL} refused it in its batch (invalid_request_error): max_tokens: too many; "
        "run again to send it"
    )
    assert failed.session().ticks[0].context.hash == failed.figures.context
    again = await Experiment(app, cases()).run(store=store, batch=True)
    assert (again.progress.failed, again.progress.reused, again.trials[1].text) == (0, 3, "Rome")
    assert [len(made.requests) for made in server.batches] == [4, 1]


@pytest.mark.parametrize("fate", ["expired", "lost"])
async def test_what_its_batch_did_not_come_to_in_time_is_sent_again(server: FakeBatches, fate: str) -> None:
    server.fate = lambda request, nth: fate if "Spain" in said(request) and nth < 3 else "succeeded"
    run = await Experiment(quiz(claude(server)), cases()).run(batch=True)
    assert (run.progress.done, run.progress.failed, run.trials[2].text) == (4, 0, "Madrid")
    assert [len(made.requests) for made in server.batches] == [4, 1, 1]


async def test_what_expires_again_and_again_fails_in_the_end(server: FakeBatches) -> None:
    server.fate = lambda *_: "expired"
    run = await Experiment(quiz(claude(server)), cases("France")).run(batch=True)
    assert len(server.batches) == batch.SENDS == 3
    assert "did not come to it before its batch expired; run again" in run.failures[0].error


async def test_what_somebody_canceled_at_the_provider_fails_and_is_not_sent_against_their_will(
    server: FakeBatches,
) -> None:
    server.fate = lambda _, nth: "canceled" if nth == 1 else "succeeded"
    store, app = MemoryStore(), quiz(claude(server))
    run = await Experiment(app, cases("France")).run(store=store, batch=True)
    assert "its batch was canceled before" in run.failures[0].error
    assert len(server.batches) == 1
    again = await Experiment(app, cases("France")).run(store=store, batch=True)
    assert (again.progress.failed, len(server.batches)) == (0, 2)


async def test_a_run_that_is_stopped_leaves_its_batch_and_the_next_takes_up_the_answers() -> None:
    with FakeBatches(held=True) as server:
        store, app = MemoryStore(), quiz(claude(server))
        run = Experiment(app, cases()).run(store=store, batch=True)
        await asyncio.to_thread(server.looked.wait)
        run.abort()
        await run
        assert run.progress.done == 0
        assert "stopped by the user; batch msgbatch_1 stays at the provider" in str(run)
        assert not server.batches[0].canceled
        server.release()
        again = await Experiment(app, cases()).run(store=store, batch=True)
        assert (again.progress.done, again.progress.failed, server.sent) == (4, 0, 4)


async def test_a_plan_counts_what_batches_hold_already_and_prices_the_rest_alone() -> None:
    with FakeBatches(held=True) as server:
        store, app = MemoryStore(), quiz(claude(server))
        run = Experiment(app, cases("France", "Italy")).run(store=store, batch=True)
        await asyncio.to_thread(server.looked.wait)
        run.abort()
        await run
        asked = len(server.asked)
        plan = Experiment(app, cases()).plan(store=store)
        rest = Experiment(app, cases("Spain", "Norway")).plan()
        assert (plan.calls, plan.in_batches, plan.arms["default"].in_batches) == (4, 2, 2)
        assert plan.batch_cost == rest.batch_cost
        assert plan.cost is not None
        assert plan.cost > (rest.cost or 0)
        assert "2 calls were sent in batches: run(batch=True) takes the answers up" in str(plan)
        assert len(server.asked) == asked, "a plan sends nothing"
        server.release()
        await Experiment(app, cases()).run(store=store, batch=True)
        assert Experiment(app, cases()).plan(store=store).in_batches == 0


async def test_what_a_stopped_run_did_not_send_is_sent_beside_what_it_did() -> None:
    with FakeBatches(held=True) as server:
        store, app = MemoryStore(), quiz(claude(server))
        run = Experiment(app, cases("France")).run(store=store, batch=True)
        await asyncio.to_thread(server.looked.wait)
        run.abort()
        await run
        server.release()
        await Experiment(app, cases()).run(store=store, batch=True)
        assert [len(made.requests) for made in server.batches] == [1, 3]


DRIVER = """
import asyncio, sys
from nbsession.experiment import Experiment, batch
from nbsession.models.anthropic import AnthropicModel
from nbsession.stores import SqlStore
from tests.support.quiz import cases, quiz

batch.FIRST_PAUSE = batch.LONGEST_PAUSE = 0.01

async def main():
    model = AnthropicModel("claude-sonnet-4-5", base_url=sys.argv[1], api_key="sk-secret-1234", max_retries=0)
    await Experiment(quiz(model), cases(), name="killed").run(store=SqlStore(sys.argv[2]), batch=True)

asyncio.run(main())
"""


def drive(server: FakeBatches, url: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", DRIVER, server.url, url], cwd=ROOT, env=env)


def taken_up(server: FakeBatches, url: str) -> int:
    """Kill the driver that waits, and run again; return how many trials ended."""
    store = SqlStore(url)
    app = quiz(claude(server))
    run = Experiment(app, cases(), name="killed").run(store=store, batch=True).wait()
    store.close()
    assert run.progress.failed == 0
    return run.progress.done


def test_after_kill_9_in_mid_batch_nothing_is_sent_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with FakeBatches(held=True) as server, drive(server, url) as driver:
        assert server.looked.wait(60)
        driver.kill()
        driver.wait()
        server.release()
        assert taken_up(server, url) == 4
        assert server.sent == 4


def test_a_batch_that_was_made_while_its_sender_was_killed_is_found(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'runs.db'}"
    with FakeBatches(mute=True) as server:
        theirs = [{"custom_id": f"theirs-{n}", "params": {"model": "m", "messages": []}} for n in range(4)]
        server.answer = lambda _: "Paris"
        server.create(theirs)
        server.made.clear()
        with drive(server, url) as driver:
            assert server.made.wait(60)
            driver.kill()
            driver.wait()
        server.create(theirs)
        server.create(theirs[:2])
        server.mute = False
        assert taken_up(server, url) == 4
        assert [len(made.requests) for made in server.batches] == [4, 4, 4, 2], "ours is the second"


async def test_a_batch_that_was_noted_and_not_made_is_made(server: FakeBatches) -> None:
    store, app = MemoryStore(), quiz(claude(server, max_retries=2))
    server.refusals = [(500, "api_error", "no luck")]
    with pytest.raises(ModelError, match="failed on its side"):
        await Experiment(app, cases()).run(store=store, batch=True)
    assert server.asked == ["POST /v1/messages/batches"], (
        "it may have been made, so it is not just sent again"
    )
    run = await Experiment(app, cases()).run(store=store, batch=True)
    assert (run.progress.done, server.sent) == (4, 4)
    assert "GET /v1/messages/batches" in server.asked


async def test_looking_at_a_batch_outlasts_failures_of_the_way_to_it() -> None:
    with FakeBatches(held=True) as server:
        run = Experiment(quiz(claude(server)), cases()).run(batch=True)
        await asyncio.to_thread(server.looked.wait)
        server.refusals = [
            (529, "overloaded_error", "later"),
            (502, "api_error", "no luck"),
            (500, "api_error", "no"),
        ]
        server.release()
        await run
        assert (run.progress.done, server.refusals, server.sent) == (4, [], 4)


async def test_a_way_that_stays_broken_ends_the_run_and_the_next_one_takes_the_batch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "PATIENCE", 2)
    with FakeBatches(held=True) as server:
        store, app = MemoryStore(), quiz(claude(server))
        run = Experiment(app, cases()).run(store=store, batch=True)
        await asyncio.to_thread(server.looked.wait)
        server.refusals = [(500, "api_error", "no luck")] * 3
        with pytest.raises(ModelError, match=r"failed on its side \(500\)"):
            await run
        server.release()
        again = await Experiment(app, cases()).run(store=store, batch=True)
        assert (again.progress.done, again.progress.failed, server.sent) == (4, 0, 4)


async def test_results_that_break_off_are_read_again(server: FakeBatches) -> None:
    server.torn = 1
    run = await Experiment(quiz(claude(server)), cases()).run(batch=True)
    assert (run.progress.done, run.progress.failed, server.torn, server.sent) == (4, 0, 0, 4)


async def test_a_run_that_is_stopped_while_it_sends_says_that_a_batch_may_be_there() -> None:
    with FakeBatches(mute=True) as server:
        store, app = MemoryStore(), quiz(claude(server))
        run = Experiment(app, cases()).run(store=store, batch=True)
        await asyncio.to_thread(server.made.wait)
        run.abort()
        await run
        assert "batch that was just being sent stays at the provider" in run.reason
        server.mute = False
        again = await Experiment(app, cases()).run(store=store, batch=True)
        assert (again.progress.done, again.progress.failed, server.sent) == (4, 0, 4)


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (
            (401, "authentication_error", "invalid x-api-key"),
            r"refused the API key \(401\): invalid x-api-key; check",
        ),
        (
            (400, "invalid_request_error", "requests: bad"),
            r"refused the request \(400\): requests: bad; look at",
        ),
        ((404, "not_found_error", "no page"), "takes no batches at 127.0.0.1.*; run without batch=True"),
    ],
)
async def test_what_the_provider_refuses_as_a_whole_is_said_in_one_sentence(
    server: FakeBatches, refusal: tuple[int, str, str], told: str
) -> None:
    server.refusals = [refusal]
    run = Experiment(quiz(claude(server)), cases()).run(batch=True)
    with pytest.raises(ModelError, match=told):
        await run
    assert "sk-secret-1234" not in str(run)


async def test_a_batch_of_another_workspace_is_not_sent_anew(server: FakeBatches) -> None:
    store = MemoryStore()
    with FakeBatches(held=True) as first:
        run = Experiment(quiz(claude(first)), cases()).run(store=store, batch=True)
        await asyncio.to_thread(first.looked.wait)
        run.abort()
        await run
    with pytest.raises(ModelError, match=r"batch msgbatch_1 is not known at .* to this API key"):
        await Experiment(quiz(claude(server)), cases()).run(store=store, batch=True)
    assert server.sent == 0


async def test_without_a_key_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    experiment = Experiment(quiz(AnthropicModel(MODEL)), ["hi"])
    assert experiment.plan().batch_cost
    with pytest.raises(MissingKeyError, match="no API key: set ANTHROPIC_API_KEY"):
        await experiment.run(batch=True)


async def test_an_arm_with_tools_of_its_own_is_refused_before_anything_is_sent(server: FakeBatches) -> None:
    def Desk() -> Any:
        @tool
        def look_up(word: str) -> str:
            """Look a word up."""
            return word

        return [look_up, Timeline()]

    experiment = Experiment(App(component(Desk), model=claude(server)), ["hi"])
    plan = experiment.plan()
    assert (plan.batch_cost, plan.arms["default"].batch_cost) == (None, None)
    assert "≈ in a batch" not in str(plan)
    with pytest.raises(
        SessionError, match=r"arm 'default' has no batch: it has the tools look_up, .* run it without"
    ):
        await experiment.run(batch=True)
    assert server.asked == []


async def test_one_arm_of_another_provider_is_refused_before_the_others_are_sent(server: FakeBatches) -> None:
    experiment = Experiment(quiz(), cases(), models={"one": claude(server), "two": Teacher()})
    plan = experiment.plan()
    assert plan.arms["one"].batch_cost
    assert plan.batch_cost is None
    with pytest.raises(
        SessionError, match="arm 'two' has no batch: scripted takes none; run it without batch=True"
    ):
        await experiment.run(batch=True)
    assert server.asked == []


def test_a_batch_and_another_engine_do_not_go_together(server: FakeBatches) -> None:
    engine = LocalEngine(1)
    with pytest.raises(SessionError, match="batch=True sends the trials away itself; give it no executor="):
        Experiment(quiz(claude(server)), cases()).run(batch=True, executor=engine)


async def test_two_models_of_one_place_go_in_one_batch(server: FakeBatches) -> None:
    models = [claude(server), claude(server, "claude-haiku-4-5")]
    run = await Experiment(quiz(), cases(), models=models).run(batch=True)
    assert run.progress.failed == 0
    assert [len(made.requests) for made in server.batches] == [8]
    assert {trial.figures.model for trial in run.trials} == {model.name for model in models}


async def test_many_requests_go_in_several_batches(
    server: FakeBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "MOST_REQUESTS", 3)
    run = await Experiment(quiz(claude(server)), cases(), repeat=2).run(batch=True)
    assert run.progress.done == 8
    assert [len(made.requests) for made in server.batches] == [3, 3, 2]
    monkeypatch.setattr(batch, "MOST_BYTES", 1)
    await Experiment(quiz(claude(server)), ["one?", "two?"]).run(batch=True)
    assert [len(made.requests) for made in server.batches[3:]] == [1, 1]


@pytest.mark.parametrize("budget", [{"tokens": 3_500}, 0.025])
async def test_a_budget_bounds_what_is_sent_at_once_and_the_rest_follows(
    server: FakeBatches, budget: Any
) -> None:
    model = claude(server, max_tokens=1_000)
    run = await Experiment(quiz(model), cases()).run(batch=True, budget=budget)
    assert [len(made.requests) for made in server.batches] == [3, 1]
    assert (run.progress.done, run.progress.refused) == (4, 0)


async def test_what_a_budget_does_not_allow_is_refused_and_no_answer_that_came_is(
    server: FakeBatches,
) -> None:
    model = claude(server, max_tokens=100)
    store = MemoryStore()
    run = await Experiment(quiz(model), cases()).run(store=store, batch=True, budget={"tokens": 300})
    statuses = [trial.status for trial in run.trials]
    assert statuses.count("done") == server.sent
    assert statuses.count("refused") == 4 - server.sent
    assert "would pass the experiment's budget of 300 tokens" in run.refused[0].error
    again = await Experiment(quiz(model), cases()).run(store=store, batch=True)
    assert (again.progress.refused, server.sent) == (0, 4)


async def test_a_trial_that_wants_a_second_tick_fails_and_says_so(server: FakeBatches) -> None:
    def Checked() -> Any:
        use_gate("checked", "Say it once more.", open=True)
        return Timeline()

    run = await Experiment(App(component(Checked), model=claude(server)), ["hi"]).run(batch=True)
    assert "a batch has one tick, and this trial wants another one" in run.failures[0].error


async def test_an_answer_to_a_context_that_is_another_one_by_then_is_not_taken_for_its_own(
    server: FakeBatches,
) -> None:
    times = iter(range(1_000))

    def Clock() -> Any:
        return [System(f"It is {next(times)}."), Timeline()]

    run = await Experiment(App(component(Clock), model=claude(server)), ["hi"]).run(batch=True)
    assert "the context is another one than" in run.failures[0].error


async def test_what_the_provider_clears_of_a_context_is_asked_for_in_a_batch_too(server: FakeBatches) -> None:
    def Cleared() -> Any:
        return [Model(claude(server), context_management=True), Timeline()]

    run = await Experiment(App(component(Cleared)), ["hi"]).run(batch=True)
    assert run.progress.failed == 0
    assert server.batches[0].requests[0]["params"]["context_management"]
    assert "context-management" in server.headers[0]["anthropic-beta"]
