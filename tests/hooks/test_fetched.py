from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from nbsession import App, RenderError, SessionError, System, Tick, Timeline, component, use_data, use_knob
from nbsession.stores import MemoryStore
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbsession import CompiledContext, Session


class Note(BaseModel):
    text: str
    stars: int = 0


def live(root: Any, *responses: Any, **options: Any) -> Session:
    """Return a session whose model answers with ``responses``, then with "ok"."""
    left = list(responses)

    def answer(context: CompiledContext) -> Any:
        return left.pop(0) if left else "ok"

    return App(root, model=ScriptedModel(*[answer] * 50), **options).session()


def system(tick: Tick) -> str:
    return str(tick.context.system)


def noting(fetched: list[Any], data: Any) -> Callable[[], Any]:
    """Return what fetches ``data`` and writes that down."""

    def fetch() -> Any:
        fetched.append(data)
        return data

    return fetch


async def test_data_is_awaited_before_the_model_is_called_and_is_none_at_first() -> None:
    seen: list[Any] = []

    async def fetch() -> str:
        await asyncio.sleep(0)
        return "sunny"

    @component
    def Agent() -> Any:
        weather = use_data("weather", fetch)
        seen.append(weather)
        return [System(f"It is {weather}."), Timeline()]

    session = live(Agent)
    unsent = session.compile()
    assert unsent.pending == ("weather",)
    assert str(unsent.system) == "It is None."

    result = await session.send("hi")
    assert system(result.ticks[0]) == "It is sunny."
    assert not result.ticks[0].context.pending
    assert seen == [None, "sunny"]


async def test_data_is_fetched_again_when_a_dependency_changes_and_the_last_value_stands() -> None:
    fetched: list[str] = []

    @component
    def Agent() -> Any:
        city, _ = use_knob("city", "Rome")

        def fetch() -> str:
            fetched.append(city)
            return f"sun in {city}"

        return [System(str(use_data("weather", fetch, [city]))), Timeline()]

    session = live(Agent)
    await session.send("a")
    await session.send("b")
    assert fetched == ["Rome"]
    session.knobs["city"] = "Oslo"
    assert str(session.compile().system) == "sun in Rome"
    assert session.compile().pending == ("weather",)
    result = await session.send("c")
    assert system(result.ticks[0]) == "sun in Oslo"
    assert fetched == ["Rome", "Oslo"]


async def test_a_preview_that_would_fetch_says_so_and_fetches_nothing() -> None:
    fetched: list[str] = []

    @component
    def Agent() -> Any:
        city, _ = use_knob("city", "Rome")
        data = use_data("weather", noting(fetched, city), [city])
        return [System(str(data)), Timeline()]

    session = live(Agent)
    await session.send("a")
    preview = session.preview(city="Oslo")

    assert preview.context.pending == ("weather",)
    assert not session.compile().pending
    assert fetched == ["Rome"]


async def test_a_failed_fetch_fails_that_execution_and_is_tried_again_in_the_next() -> None:
    tries: list[int] = []

    async def fetch() -> str:
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("down")
        return "up"

    @component
    def Agent() -> Any:
        return [System(str(use_data("server", fetch))), Timeline()]

    model = ScriptedModel("fine")
    session = App(Agent, model=model).session()
    with pytest.raises(RenderError, match=r"use_data\('server'\) of Agent failed: ConnectionError: down"):
        await session.send("a")
    assert not model.contexts
    assert session.status == "idle"

    assert system((await session.send("b")).ticks[0]) == "up"


@pytest.mark.parametrize("data", [{"sun": [1, 2.5, None]}, Note(text="n", stars=2), [Note(text="n")], "text"])
async def test_data_comes_back_from_the_store_without_fetching(data: Any) -> None:
    store = MemoryStore()
    fetched: list[Any] = []

    @component
    def Agent() -> Any:
        found = use_data("data", noting(fetched, data), ["x", 1])
        return [System(repr(found)), Timeline()]

    session = App(Agent, model=ScriptedModel("ok"), store=store).session("x")
    first = await session.send("a")
    await session.aclose()

    again = App(Agent, model=ScriptedModel("ok"), store=store).session("x")
    assert str(again.compile().system) == repr(data)
    assert not again.compile().pending
    assert again.fork(at=0, before=True).compile().hash == first.ticks[0].context.hash
    await again.send("b")
    assert fetched == [data]


async def test_data_that_opts_out_is_fetched_again() -> None:
    store = MemoryStore()
    fetched: list[Any] = []

    @component
    def Agent() -> Any:
        data = use_data("data", noting(fetched, {1, 2}), persist=False)
        return [System(str(data)), Timeline()]

    for _ in range(2):
        session = App(Agent, model=ScriptedModel("ok"), store=store).session("x")
        await session.send("a")
        await session.aclose()
    assert fetched == [{1, 2}, {1, 2}]


async def test_data_that_cannot_be_kept_names_its_component() -> None:
    @component
    def Agent() -> Any:
        use_data("data", lambda: {1, 2})
        return Timeline()

    with pytest.raises(SessionError, match=r"state 'data' \(use_data\) of Agent holds .*set.*persist=False"):
        await live(Agent).send("a")


async def test_several_are_fetched_together() -> None:
    both = asyncio.Barrier(2)

    async def fetch() -> str:
        async with asyncio.timeout(5), both:
            return "here"

    @component
    def Agent() -> Any:
        return [System(use_data("a", fetch)), System(use_data("b", fetch)), Timeline()]

    assert str((await live(Agent).send("x")).ticks[0].context.system) == "here\n\nhere"
