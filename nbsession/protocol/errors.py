"""Errors as they cross the wire: a code and an HTTP status for each type, and the type again for each code."""

from __future__ import annotations

from typing import NamedTuple

from nbsession.errors import (
    BudgetError,
    CompileError,
    KnobError,
    MissingKeyError,
    ModelError,
    NbsessionError,
    RecordingMissError,
    RenderError,
    SessionBusyError,
    SessionClosedError,
    SessionError,
    SessionNotFoundError,
    StoreError,
    ToolError,
)


class Code(NamedTuple):
    """How errors of one type are told: ``open`` says that their words are for whoever asked."""

    name: str
    status: int
    type: type[NbsessionError]
    open: bool = True


CODES = (
    Code("session_not_found", 404, SessionNotFoundError),
    Code("session_busy", 409, SessionBusyError),
    Code("session_closed", 409, SessionClosedError),
    Code("session", 409, SessionError),
    Code("knob", 422, KnobError),
    Code("tool", 422, ToolError),
    Code("budget", 402, BudgetError),
    Code("missing_key", 503, MissingKeyError, open=False),
    Code("recording_miss", 502, RecordingMissError, open=False),
    Code("model", 502, ModelError, open=False),
    Code("store", 503, StoreError, open=False),
    Code("compile", 500, CompileError, open=False),
    Code("render", 500, RenderError, open=False),
)
"""The more special before the more general."""


def code_of(error: BaseException) -> Code | None:
    """Return how an error is told, ``None`` for one that is none of ours: it is told as ``internal``, with status 500."""
    return next((code for code in CODES if isinstance(error, code.type)), None)


def status_of(name: str) -> int:
    """Return the status of a code."""
    return next((code.status for code in CODES if code.name == name), 500)


def error_of(name: str, status: int, message: str) -> NbsessionError:
    """Return the error that a server told, to be raised at the client: of the same type, with its words.

    What has no type of its own is a ``SessionError``: a refused body, a missing token, a limit.
    """
    if status == 404 and name == "not_found":
        return SessionNotFoundError(message)
    kind = next((code.type for code in CODES if code.name == name), SessionError)
    return kind(message)
