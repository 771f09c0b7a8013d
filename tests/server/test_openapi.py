"""The OpenAPI document, and what becomes of requests that are made up from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
import schemathesis
from schemathesis import engine
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished

from nbsession import App
from nbsession.models import SimulatedModel
from nbsession.server import Limits
from nbsession.server.openapi import document
from nbsession.server.routes import ROUTES
from nbsession.stores import MemoryStore
from tests.support.notepad import Notepad

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "use_after_free",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = App(Notepad, model=SimulatedModel(rate=0), store=MemoryStore())
    limits = Limits(rate=1e6, burst=10**6)
    server = app.serve(0, token=TOKEN, limits=limits, background=True, say=None)
    with httpx.Client(base_url=server.url, headers=BEARER) as client:
        client.post("/sessions", json={"id": "s"}).raise_for_status()
    yield server.url
    server.close()


def test_every_route_is_described_with_its_body_and_answer() -> None:
    made = document(ROUTES, token=True)
    for route in ROUTES:
        operation = made["paths"][route.path][route.method.lower()]
        assert operation["summary"], route
        assert ("requestBody" in operation) == (route.body is not None)
        assert str(route.status) in operation["responses"]
    ids = [operation["operationId"] for path in made["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


# A stream that goes on is tried elsewhere.
@pytest.mark.parametrize(
    ("method", "path"),
    [(route.method, route.path) for route in ROUTES if route.path != "/sessions/{id}/events"],
)
def test_what_is_made_up_from_the_document_is_answered_as_it_says(method: str, path: str, url: str) -> None:
    schema = schemathesis.openapi.from_dict(document(ROUTES, token=True)).include(path=path, method=method)
    schema.config.update(base_url=url, headers=BEARER)
    schema.config.checks.update(included_check_names=CHECKS)
    schema.config.generation.update(max_examples=15, deterministic=True)
    schema.config.phases.update(phases=["examples", "coverage", "fuzzing"])
    events = list(engine.from_schema(schema).execute())
    assert [event for event in events if isinstance(event, (FatalError, NonFatalError))] == []
    scenarios = [event.recorder for event in events if isinstance(event, ScenarioFinished)]
    made = [check for scenario in scenarios for checks in scenario.checks.values() for check in checks]
    assert made
    assert [check for check in made if check.failure_info is not None] == []


@pytest.mark.parametrize("path", sorted(document(ROUTES, token=True)["paths"]))
def test_nothing_but_health_is_answered_without_the_token(path: str) -> None:
    operations = document(ROUTES, token=True)["paths"][path]
    assert all(("security" in operation) == (path != "/health") for operation in operations.values())
