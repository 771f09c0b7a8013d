"""The OpenAPI document, and what becomes of requests that are made up from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
    use_after_free,
)

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
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    use_after_free,
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


# A stream that goes on is tried elsewhere.
schema = schemathesis.openapi.from_dict(document(ROUTES, token=True)).exclude(path="/sessions/{id}/events")


def test_every_route_is_described_with_its_body_and_answer() -> None:
    made = document(ROUTES, token=True)
    for route in ROUTES:
        operation = made["paths"][route.path][route.method.lower()]
        assert operation["summary"], route
        assert ("requestBody" in operation) == (route.body is not None)
        assert str(route.status) in operation["responses"]
    ids = [operation["operationId"] for path in made["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


@schema.parametrize()
@hypothesis.settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
def test_what_is_made_up_from_the_document_is_answered_as_it_says(
    case: schemathesis.Case[Any], url: str
) -> None:
    case.call_and_validate(base_url=url, headers=BEARER, checks=CHECKS)


@pytest.mark.parametrize("path", sorted(document(ROUTES, token=True)["paths"]))
def test_nothing_but_health_is_answered_without_the_token(path: str) -> None:
    operations = document(ROUTES, token=True)["paths"][path]
    assert all(("security" in operation) == (path != "/health") for operation in operations.values())
