"""``instrument``: sessions tell OpenTelemetry what they do."""

from __future__ import annotations

import os
from importlib import metadata
from typing import TYPE_CHECKING

from nbsession.app import App
from nbsession.errors import SessionError
from nbsession.session import Session

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from nbsession.session import Observer

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The variable that asks for content where ``instrument`` is not told."""


def instrument(
    what: App | Session, *, tracer_provider: TracerProvider | None = None, content: bool | None = None
) -> None:
    """Make OpenTelemetry spans of what a session does, or all sessions of an app, those to come included.

    An execution is a span ``invoke_agent <root component>``, below the one that is current where it is sent. In it
    stand a span ``chat <model>`` for each model call and one ``execute_tool <tool>`` for each tool that runs; that is
    current while it does, so that a tool's own spans, in threads too, and the executions that it spawns stand below
    it. They go to ``tracer_provider``, by default the one that OpenTelemetry is set up with; without any, nothing
    happens. No text of messages, of tools' inputs and results, or of errors is in them, unless ``content`` is true
    or, where it is not given, ``$OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` is ``true``, ``SPAN_ONLY`` or
    ``SPAN_AND_EVENT``. A second call replaces the first; ``session.observe(None)`` ends it. Raises ``SessionError``
    for anything else than an app or a session, and where OpenTelemetry is not installed.
    """
    if not isinstance(what, (App, Session)):
        raise SessionError(
            f"instrument() takes an App or a Session, got {type(what).__name__}: {what!r:.80}; "
            "instrument the app, and its sessions are"
        )
    try:
        from opentelemetry.trace import get_tracer

        from nbsession.traces.spans import Spans
    except ImportError as error:
        raise SessionError(
            f'to make spans, install what it takes: pip install "nbsession[otel]" ({error})'
        ) from error
    tracer = get_tracer("nbsession", metadata.version("nbsession"), tracer_provider)
    with_content = _asked_for() if content is None else content

    def observe(session: str, agent: str) -> Observer:
        return Spans(tracer, session, agent, with_content).hear

    if isinstance(what, Session):
        what.observe(observe)
        return
    what.observe = observe
    for session in what.opened.values():
        session.observe(observe)


def _asked_for() -> bool:
    return os.environ.get(CAPTURE, "").strip().lower() in ("true", "span_only", "span_and_event")
