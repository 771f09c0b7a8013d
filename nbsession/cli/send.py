"""``nbsession send``: a message to a session, from a terminal or a script."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

from nbsession.cli.command import (
    Failure,
    app_of,
    app_option,
    json_option,
    store_option,
    write_json,
)
from nbsession.content import visible
from nbsession.events import (
    BreakpointReached,
    ConfirmationRequested,
    ContentBlockStart,
    MessageStart,
    ModelWaiting,
    TextDelta,
    ToolEnd,
    ToolStart,
)
from nbsession.session import StopReason
from nbsession.stores import default_store

if TYPE_CHECKING:
    import argparse

    from nbsession.session import Execution, Result, Session

WAITS = 3
"""The status of a command whose session waits for a person."""


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "send",
        help="send a message to a session and stream the answer",
        description="Send a message to a session and stream the answer. Without --session it is a new one that is not "
        "stored. A message of - is read from standard input. A session that waits for a person ends with status 3, "
        "and goes on by: nbsession send --session ID --answer VALUE.",
    )
    parser.add_argument("message", nargs="?", metavar="MESSAGE", help="what to say, or - for standard input")
    parser.add_argument("--session", metavar="ID", help="go on with this session, or begin it")
    parser.add_argument("--model", metavar="NAME", help="as in anthropic:claude-…, ollama:…, simulated")
    parser.add_argument("--max-cost", type=float, metavar="USD", help="stop before a call that would pass it")
    parser.add_argument(
        "--answer", metavar="VALUE", help="answer what the session waits for, as JSON or text"
    )
    parser.add_argument("--question", metavar="ID", help="which question to answer, where several wait")
    parser.add_argument("--quiet", action="store_true", help="write the answer alone, when it is whole")
    app_option(parser, required=True)
    store_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Carry the command out."""
    if (options.message is None) == (options.answer is None):
        raise Failure("give a message (- reads it from standard input), or --answer VALUE to one that waits")
    if options.answer is not None and options.session is None:
        raise Failure("--answer needs the session that waits: --session ID")
    message = sys.stdin.read() if options.message == "-" else options.message
    store = default_store(options.store) if options.session is not None or options.store else None
    app = app_of(options.app, store)
    return asyncio.run(_sent(app.session(options.session), message, options))


async def _sent(session: Session, message: str | None, options: argparse.Namespace) -> int:
    async with _closing(session):
        if message is None:
            execution = session.answer(_question(session, options.question), _value(options.answer))
        else:
            execution = session.send(message, model=options.model, budget=options.max_cost)
        silent = options.json or options.quiet
        await _followed(session, execution, silent=silent)
        result = await execution
        _tell(session, result, options)
        return WAITS if result.stop_reason is StopReason.paused else 0


class _closing:  # noqa: N801  # used as the function that contextlib.aclosing is
    """Close a session at the end, so that all of it is stored."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, *_: object) -> None:
        await self._session.aclose()


async def _followed(session: Session, execution: Execution, *, silent: bool) -> None:
    """Write what happens as it does, and ask what is asked where somebody sits there."""
    thinks = False
    async for event in execution:
        if isinstance(event, ContentBlockStart):
            thinks = event.block == "thinking"
        elif isinstance(event, ConfirmationRequested):
            if silent or not sys.stdin.isatty():
                execution.pause()
            else:
                answer = await asyncio.to_thread(input, f"\n{visible(event.message)} [y/N] ")
                session.answer(event.question, answer.strip().lower() in ("y", "yes"))
        elif isinstance(event, BreakpointReached):
            execution.resume()
        elif silent:
            continue
        elif isinstance(event, TextDelta) and not thinks:
            print(visible(event.text), end="", flush=True)
        elif isinstance(event, MessageStart) and event.source != "live":
            print(f"({event.source}: {event.model})", file=sys.stderr)
        elif isinstance(event, ModelWaiting):
            print(f"({visible(event.reason)}; asked again in {event.seconds:.0f} s)", file=sys.stderr)
        elif isinstance(event, ToolStart):
            print(f"\n· {visible(str(event.call))}", flush=True)
        elif isinstance(event, ToolEnd):
            print(f"  → {visible(event.result.text)[:400]}", flush=True)


def _tell(session: Session, result: Result, options: argparse.Namespace) -> None:
    if options.json:
        write_json(
            {
                "session": session.id,
                "text": result.text,
                "stop_reason": str(result.stop_reason),
                "reason": result.reason,
                "source": result.source,
                "model": result.model,
                "usage": result.usage.to_dict(),
                "cost": result.cost,
                "ticks": [tick.number for tick in result.ticks],
                "tool_calls": [run.call.to_dict() for run in result.tool_calls],
                "waiting": [question.to_dict() for question in session.waiting],
            }
        )
        return
    print(visible(result.text) if options.quiet else "")
    if result.stop_reason is not StopReason.end_turn:
        print(f"({result.stop_reason}: {visible(result.reason)})", file=sys.stderr)
    for question in session.waiting:
        how = f"--session {session.id} --question {question.id} --answer …"
        print(f"waits for an answer: {visible(question.text)} ({how})", file=sys.stderr)


def _question(session: Session, asked: str | None) -> str:
    waiting = session.waiting
    if asked is not None:
        return asked
    if len(waiting) == 1:
        return waiting[0].id
    if not waiting:
        raise Failure(f"session {session.id!r} waits for no answer")
    listed = "; ".join(f"{question.id} ({visible(question.text)})" for question in waiting)
    raise Failure(f"several questions wait; say which by --question: {listed}")


def _value(text: str) -> Any:
    """Read an answer: JSON where it is some, else text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
