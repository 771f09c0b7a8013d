"""The OpenAPI document, made of the routes and of the very models that check what comes in.

https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

import inspect
import re
from http import HTTPStatus
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from pydantic.json_schema import models_json_schema

from nbsession.protocol import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from nbsession.server.route import Route

Mode = Literal["validation", "serialization"]

PLACE = "#/components/schemas/{model}"

TOLD = {
    "{id}": "The session's id.",
    "{tool}": "The tool's name.",
    "{number}": "The tick's number; the first is 0.",
    "{run}": "The run's id.",
    "{question}": "The question's id.",
}

REFUSALS = (400, 401, 403, 404, 409, 413, 415, 422, 429, 500, 502, 503)
"""What any route may answer instead."""


def document(routes: Sequence[Route], *, token: bool) -> dict[str, Any]:
    """Return the document as JSON data; ``token`` says whether one is needed."""
    kinds: list[tuple[type[BaseModel], Mode]] = [(ErrorAnswer, "serialization")]
    for route in routes:
        kinds += [(kind, "validation") for kind in (route.body, route.query) if kind is not None]
        kinds += [(route.answer, "serialization")] if route.answer is not None else []
    refs, schemas = models_json_schema(list(dict.fromkeys(kinds)), ref_template=PLACE)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, refs, token=token)
    secured = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if token else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "nbsession", "version": metadata.version("nbsession"), "license": {"name": "MIT"}},
        "paths": paths,
        "components": {"schemas": schemas["$defs"], **secured},
    }


def _operation(route: Route, refs: Mapping[Any, Any], *, token: bool) -> dict[str, Any]:
    said = inspect.getdoc(route.handler) or ""
    made: dict[str, Any] = {
        "operationId": f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}",
        "summary": said.partition("\n")[0].rstrip("."),
        "parameters": [*_in_path(route), *_in_query(route), *_in_headers(route)],
        "responses": _responses(route, refs),
    }
    if route.body is not None:
        content = {"application/json": {"schema": refs[route.body, "validation"]}}
        made["requestBody"] = {"required": route.needs_body, "content": content}
    if token and not route.open:
        made["security"] = [{"token": []}]
    return made


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name.strip("{}"),
            "in": "path",
            "required": True,
            "description": TOLD[name],
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{\w+\}", route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    schema = route.query.model_json_schema()
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _bare(item)}
        for name, item in schema.get("properties", {}).items()
    ]


def _bare(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out: there is no null in an address."""
    kinds = [item for item in schema.get("anyOf", ()) if item.get("type") != "null"]
    bare = {name: value for name, value in schema.items() if name not in ("anyOf", "title", "default")}
    if kinds:
        bare |= kinds[0]
    if schema.get("default") is not None:
        bare["default"] = schema["default"]
    return bare


def _in_headers(route: Route) -> list[dict[str, Any]]:
    named = []
    if route.matches:
        named.append(("If-Match", "The ETag of the session as it was read."))
    if route.resumes:
        named.append(("Last-Event-ID", "The id of the last event that was had; it goes before after."))
    return [
        {"name": name, "in": "header", "required": False, "description": told, "schema": {"type": "string"}}
        for name, told in named
    ]


def _responses(route: Route, refs: Mapping[Any, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    if route.stream:
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    elif route.answer is not None:
        good["content"] = {"application/json": {"schema": refs[route.answer, "serialization"]}}
    more = [code for code, said in ((412, route.matches), (410, route.path.endswith("/history"))) if said]
    error = {"application/json": {"schema": refs[ErrorAnswer, "serialization"]}}
    refused = {
        str(code): {"description": HTTPStatus(code).phrase, "content": error}
        for code in sorted((*REFUSALS, *more, 402))
    }
    return {str(route.status): good, **refused}
