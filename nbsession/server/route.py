"""A route: what is asked by which method at which path, with which body, and what is answered.

The routes are listed once; the application and its OpenAPI document are both made of that list.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from nbsession.protocol import dumps
from nbsession.server.fault import Refusal, answer_of, closing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from nbsession.server.gateway import Gateway
    from nbsession.server.service import Service

DEEPEST = 200
"""Levels of lists and objects in a body."""

B = TypeVar("B", bound=BaseModel)


class Query(BaseModel):
    """What stands behind the ``?`` of an address; what is not known there is left out of account."""


@dataclass(slots=True)
class Call:
    """A request that was let through and read: who asks for what, and what came with it."""

    service: Service
    user: str
    request_id: str
    path: Mapping[str, str]
    headers: Mapping[str, str]
    gone: Callable[[], Awaitable[None]]
    """Returns when who asked went away."""
    _body: BaseModel | None = None
    _query: BaseModel | None = None
    answered: dict[str, str] = field(default_factory=dict)
    """Headers of the answer."""

    @property
    def gateway(self) -> Gateway:
        """The sessions."""
        return self.service.gateway

    def body(self, kind: type[B]) -> B:
        """Return the body, which was read as this kind."""
        assert isinstance(self._body, kind)
        return self._body

    def query(self, kind: type[B]) -> B:
        """Return the query, which was read as this kind."""
        assert isinstance(self._query, kind)
        return self._query


@dataclass(frozen=True, slots=True)
class Route:
    """One route. Its handler's docstring is what the OpenAPI document says of it.

    ``body`` and ``query`` are checked before the handler is called; ``answer`` is what it returns, ``None``
    for an answer without content; a ``stream`` is one of server-sent events. A body is needed unless
    all of it has defaults.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Any]]
    answer: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    status: int = 200
    stream: bool = False
    matches: bool = False
    """Whether it takes ``If-Match``."""
    resumes: bool = False
    """Whether it takes ``Last-Event-ID``."""
    open: bool = False
    """Whether it needs no token."""

    @property
    def needs_body(self) -> bool:
        """Whether a body has to be sent."""
        return self.body is not None and any(item.is_required() for item in self.body.model_fields.values())

    def endpoint(self, service: Service) -> Callable[[Request], Awaitable[Response]]:
        """Return what Starlette calls."""

        async def answer(request: Request) -> Response:
            request_id: str = request.state.request_id
            try:
                service.begin()
                if service.gateway.closing:
                    raise closing()
                call = Call(
                    service,
                    request.state.user,
                    request_id,
                    request.path_params,
                    request.headers,
                    partial(_gone, request),
                    await self._read_body(request, service.gateway.limits.stalled),
                    self._read_query(request),
                )
                return self._answer(await self.handler(call), call)
            except Exception as error:  # noqa: BLE001  # whatever fails is answered, and logged where it is told
                return answer_of(error, request_id)

        return answer

    async def _read_body(self, request: Request, patience: float) -> BaseModel | None:
        if self.body is None:
            return None
        text = await _read(request, patience)
        if not text.strip() and not self.needs_body:
            return self.body.model_validate({})
        try:
            data = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Refusal(400, "json", "the body is not JSON") from None
        if text.count(b"[") + text.count(b"{") > DEEPEST and _is_deep(data):
            raise Refusal(400, "json", f"the body is nested more than {DEEPEST} levels deep")
        return _checked(self.body, data, "the body")

    def _read_query(self, request: Request) -> BaseModel | None:
        if self.query is None:
            return None
        return _checked(self.query, dict(request.query_params), "the query")

    def _answer(self, made: Any, call: Call) -> Response:
        if isinstance(made, Response):
            made.headers.update(call.answered)
            return made
        if made is None:
            return Response(status_code=204, headers=call.answered)
        text = dumps(made.model_dump(by_alias=True))
        return Response(text, self.status, call.answered, "application/json")


async def _read(request: Request, patience: float) -> bytes:
    """Read a body whole; refuse one that stops coming for longer than ``patience``, in seconds."""
    chunks: list[bytes] = []
    try:
        async with aclosing(request.stream()) as body:
            while True:
                async with asyncio.timeout(patience):
                    chunks.append(await anext(body))
    except StopAsyncIteration:
        return b"".join(chunks)
    except TimeoutError:
        raise Refusal(
            408, "slow", f"nothing of the body came for {patience:g} s", headers={"connection": "close"}
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "gone", "the body broke off") from None


def _is_deep(data: Any) -> bool:
    """Say whether JSON data has more levels than is allowed, whatever the interpreter could take."""
    level = [data]
    for _ in range(DEEPEST):
        level = [
            item
            for each in level
            for item in (each.values() if isinstance(each, dict) else each)
            if isinstance(item, (dict, list))
        ]
        if not level:
            return False
    return True


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _checked(kind: type[B], data: Any, what: str) -> B:
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        said = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or what}: {fault['msg']}" for fault in faults[:5]
        )
        raise Refusal(422, "invalid", f"{what} is not as it should be: {said}") from None
