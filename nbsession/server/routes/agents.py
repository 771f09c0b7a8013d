"""The apps that are served, and that the server runs."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from nbsession.errors import NbsessionError
from nbsession.models.resolve import default_model
from nbsession.protocol import AgentAnswer, Agents, Health, ToolAnswer
from nbsession.server.route import Call, Route
from nbsession.server.told import knobs_answer
from nbsession.tree import Component

if TYPE_CHECKING:
    from nbsession.server.served import Served


async def agents(call: Call) -> Agents:
    """List the apps that are served, with the knobs and tools of a new session."""
    return Agents(agents=[_agent(served) for served in call.gateway.served.values()])


async def health(_: Call) -> Health:
    """Say that the server runs."""
    return Health(version=metadata.version("nbsession"))


def _agent(served: Served) -> AgentAnswer:
    root, app = served.app.root, served.app
    model = app.model if app.model is not None else default_model()
    answer = AgentAnswer(
        id=served.name,
        component=served.component,
        model=model.name,
        source=getattr(model, "source", ""),
        description=(root.function.__doc__ or "").strip() if isinstance(root, Component) else "",
        work_dir=served.takes_folder,
    )
    try:
        trial = app.like(root).session()
        answer.knobs = knobs_answer(trial).knobs
        answer.tools = [ToolAnswer(**spec.to_dict()) for spec in trial.compile().tools]
    except (NbsessionError, TypeError):  # a root that needs properties shows none of these before it has them
        pass
    return answer


ROUTES = [
    Route("GET", "/agents", agents, Agents),
    Route("GET", "/health", health, Health, open=True),
]
