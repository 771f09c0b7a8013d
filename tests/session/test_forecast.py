"""What the provider may read from its cache is forecast by component, and stands beside what it reported."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nbsession import App, Section, SessionError, System, Timeline, component, use_knob
from nbsession.events import MessageDelta
from nbsession.testing import ScriptedModel
from nbsession.usage import CacheDiagnosis, Usage


@component
def Tone() -> Any:
    tone, _ = use_knob("tone", "kind")
    return Section(f"You are {tone}.", title="Tone")


@component
def Agent() -> Any:
    return [System("x" * 400), Tone(), Section("y" * 200, id="rules"), Timeline()]


class Live(ScriptedModel):
    @property
    def source(self) -> Any:
        return "live"


def reported(read: int) -> MessageDelta:
    return MessageDelta("end_turn", Usage(input_tokens=200, output_tokens=2, cache_read_tokens=read))


async def test_what_stands_before_a_change_is_kept_by_component() -> None:
    session = App(Agent, model=ScriptedModel("One.", "Two.")).session("s")
    first = session.forecast()
    assert first.kept is None
    assert str(first) == "unknown: nothing was sent before in this session"
    assert [share.kept for share in first.shares] == [None, None, None]
    await session.send("Hello.")
    assert session.forecast().kept == session.ticks[0].context.tokens
    assert session.forecast().broken_by == ""
    session.knobs["tone"] = "blunt"
    forecast = session.forecast()
    assert forecast.broken_by == "Agent/Tone.1/Section.0"
    assert [(share.path, share.kept) for share in forecast.shares] == [
        ("Agent/System.0", 100),
        ("Agent/Tone.1/Section.0", 0),
        ("Agent/Section[rules]", 0),
        ("timeline", 0),
    ]
    assert sum(share.tokens for share in forecast.shares) == forecast.tokens
    assert forecast.kept == 100


async def test_a_tick_has_its_forecast_beside_what_the_provider_reported() -> None:
    session = App(Agent, model=Live(["One.", reported(0)], ["Two.", reported(150)])).session("s")
    await session.send("Hello.")
    before = session.compile("And?").diff(session.ticks[0].context).prefix_tokens_kept
    await session.send("And?")
    assert (session.forecast(0).kept, session.forecast(0).reported) == (None, 0)
    forecast = session.forecast(session.ticks[1])
    assert (forecast.kept, forecast.reported) == (before, 150)
    assert str(forecast).endswith("; the provider reported 150")


async def test_what_a_model_without_a_provider_read_is_unknown() -> None:
    session = App(Agent, model=ScriptedModel("One.")).session("s")
    await session.send("Hello.")
    assert session.forecast(0).reported is None
    assert str(session.forecast(0)).endswith("; what the provider read is unknown")
    assert not session.forecast().sent


async def test_why_the_provider_read_nothing_is_unknown_where_it_does_not_say() -> None:
    session = App(Agent, model=Live(["One.", reported(0)], ["Two.", reported(0)])).session("s")
    await session.send("Hello.")
    await session.send("And?")
    assert str(session.forecast(0)).endswith("; the provider reported 0")
    assert str(session.forecast(1)).endswith("; the provider reported 0: why is unknown")


async def test_a_change_that_the_provider_found_is_said_with_what_it_read() -> None:
    changed = CacheDiagnosis("an earlier message changed", "messages_changed", 90)
    delta = replace(reported(150), cache_diagnosis=changed)
    session = App(Agent, model=Live(["One.", reported(0)], ["Two.", delta])).session("s")
    await session.send("Hello.")
    await session.send("And?")
    assert session.forecast(1).diagnosis == changed
    assert str(session.forecast(1)).endswith(
        "; the provider reported 150: an earlier message changed (messages_changed), ≈90 tokens missed"
    )


async def test_another_model_has_another_cache() -> None:
    class Other(ScriptedModel):
        @property
        def name(self) -> str:
            return "other"

    session = App(Agent, model=ScriptedModel("One.")).session("s")
    await session.send("Hello.")
    session.model = Other("Two.")
    assert str(session.forecast()) == "unknown: nothing was sent to other before in this session"


def test_a_tick_that_is_not_there_is_said() -> None:
    session = App(Agent, model=ScriptedModel()).session("s")
    with pytest.raises(SessionError, match="there is no tick 3"):
        session.forecast(3)
