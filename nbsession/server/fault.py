"""What is refused or fails, as it is answered: a code, a sentence, and the id under which the log has more.

A fault of the server itself names no path, no key and no place in the code: its sentence says
what kind of thing failed, and the log says the rest.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response

from nbsession.errors import ToolError
from nbsession.protocol import ErrorAnswer, Fault, code_of, dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG = logging.getLogger("nbsession.server")

WITHHELD = {
    "missing_key": "the server has no key for the model that was asked for",
    "recording_miss": "no recording answers this",
    "model": "the model's answer failed",
    "store": "the store failed; what was not stored waits, and is stored with the next that can be",
    "compile": "the app's tree does not make a context",
    "render": "the app's tree could not be rendered",
}
"""What is said of errors whose own words are for the server's log, by their codes."""


LONGEST = 1_000
"""Characters that are said of an error."""


class Refusal(Exception):
    """A request is refused. ``status`` is HTTP's, ``code`` a word for programs."""

    def __init__(
        self, status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def not_found(what: str) -> Refusal:
    """Return the refusal of what is not there, or not this user's."""
    return Refusal(404, "not_found", what)


def closing() -> Refusal:
    """Return the refusal of what a server that is being closed does not begin any more."""
    return Refusal(503, "closing", "the server is being closed", headers={"retry-after": "1"})


def fault_of(error: BaseException, request_id: str) -> tuple[int, Fault]:
    """Return the status of an error and what is told of it; what is not told is logged."""
    if isinstance(error, Refusal):
        return error.status, Fault(code=error.code, message=_short(str(error)), request_id=request_id)
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        name = phrase.lower().replace(" ", "_")
        return error.status_code, Fault(code=name, message=phrase.lower(), request_id=request_id)
    code = code_of(error)
    if code is None:
        LOG.error("request %s failed", request_id, exc_info=error)
        return 500, Fault(
            code="internal", message="the server failed; its log says why", request_id=request_id
        )
    if isinstance(error, ToolError) and error.traceback:
        LOG.error("request %s: a tool failed: %s\n%s", request_id, error, error.traceback)
        return 500, Fault(
            code=code.name, message="the tool failed; the server's log says why", request_id=request_id
        )
    if code.open:
        return code.status, Fault(code=code.name, message=_short(str(error)), request_id=request_id)
    LOG.warning("request %s: %s: %s", request_id, type(error).__name__, error)
    return code.status, Fault(code=code.name, message=WITHHELD[code.name], request_id=request_id)


def _short(text: str) -> str:
    """Return a sentence that is not endless, whatever was sent that it is about."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def answer_of(error: BaseException, request_id: str) -> Response:
    """Return the answer that tells an error."""
    status, fault = fault_of(error, request_id)
    headers = dict(getattr(error, "headers", None) or {})
    headers["x-request-id"] = request_id
    body = dumps(ErrorAnswer(error=fault).model_dump())
    return Response(body, status, headers, "application/json")
