"""An app that knows a capital or not, by its knobs, and cases to ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsession import App, System, Timeline, component, use_knob
from nbsession.experiment import Case
from nbsession.testing import ScriptedModel

if TYPE_CHECKING:
    from nbsession.session import Result

CAPITALS = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo"}


@component
def Quiz() -> Any:
    tone, _ = use_knob("tone", "friendly", options=["friendly", "terse"])
    depth, _ = use_knob("depth", 1, min=1, max=3)
    return [System(f"You are a {tone} teacher of depth {depth}."), Timeline()]


def cases(*countries: str) -> list[Case]:
    return [
        Case(f"The capital of {country}?", CAPITALS[country], country.lower())
        for country in countries or CAPITALS
    ]


def answer(context: Any) -> str:
    """Know all when terse, and France alone when friendly."""
    asked = str(context.messages[-1])
    known = {c: city for c, city in CAPITALS.items() if "terse" in str(context.system) or c == "France"}
    return next((city for country, city in known.items() if country in asked), "I am not sure.")


class Teacher(ScriptedModel):
    """Answers any number of questions, by a function of the context."""

    def __init__(self, respond: Any = answer, name: str = "scripted") -> None:
        super().__init__()
        self.respond = respond
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def _next(self, context: Any) -> Any:
        self.responses = (*self.responses, self.respond)
        return await super()._next(context)

    @property
    def asked(self) -> int:
        return len(self.contexts)


def quiz(model: Any = None, **options: Any) -> App:
    return App(Quiz, model=model or Teacher(), **options)


def right(result: Result, case: Case) -> bool:
    return case.expected in result.text
