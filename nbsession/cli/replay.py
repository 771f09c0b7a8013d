"""``nbsession replay``: a stored session once more, as it was, or with the app as it is now."""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.app import App
from nbsession.cli.command import (
    Failure,
    app_of,
    app_option,
    json_option,
    kept,
    opened,
    store_option,
    write_json,
)
from nbsession.cli.sessions import show
from nbsession.content import visible
from nbsession.errors import NbsessionError, RecordingMissError
from nbsession.events import ConfirmationRequested
from nbsession.export import Conversation, Turn
from nbsession.models import RecordedModel
from nbsession.session.export import recorded, told

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from nbsession.context import CompiledContext
    from nbsession.session import Execution, Session
    from nbsession.timeline import Tick, ToolRun
    from nbsession.tools import Question

DIFFERS = 1


def add_to(commands: Any) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "replay",
        help="say a stored session again with its own answers, and see which contexts differ now",
        description="Send a stored session's messages again to the app as it is now, with the answers that were "
        "recorded, and say of each tick whether the model would be sent the same: free, with no key and no network. "
        "Tools run again. The stored session does not change. Ends with status 1 where something differs. "
        "Without --app the session is shown as it was.",
    )
    parser.add_argument("id", metavar="ID")
    app_option(parser)
    store_option(parser)
    json_option(parser)
    parser.set_defaults(run=run, tick=None)


def run(options: argparse.Namespace) -> int:
    """Carry the command out."""
    if options.app is None:
        return show(options)
    store = opened(options.store)
    session = kept(store, options.id)
    conversation = _joined(told(session._core))
    if not conversation.turns or not conversation.turns[0].whole:
        raise Failure(
            f"session {options.id!r} cannot be said again: its first turn was cut off, or has no message"
        )
    app = app_of(options.app)
    with tempfile.TemporaryDirectory() as folder:
        tape = Path(folder) / "recording.jsonl"
        tape.write_text(recorded(conversation, None), "utf-8", errors="surrogatepass")
        fresh = App(
            app.root,
            model=RecordedModel(tape),
            tools=app.tools,
            max_ticks=app.max_ticks,
            policies=app.policies,
        )
        compared = asyncio.run(_compared(fresh, conversation))
    if options.json:
        write_json([{"tick": tick.number, "same": not said, "difference": said} for tick, said in compared])
    else:
        for tick, said in compared:
            print(
                f"tick {tick.number} · ≈{tick.context.tokens:,} tokens · {'differs' if said else 'the same'}"
            )
            if said:
                print(visible(said))
        left = len(conversation.ticks) - len(compared)
        if left:
            print(f"{left} ticks were not reached")
    same = len(compared) == len(conversation.ticks) and not any(said for _, said in compared)
    return 0 if same else DIFFERS


def _joined(conversation: Conversation) -> Conversation:
    """Make one turn of what was paused and went on."""
    turns: list[Turn] = []
    for turn in conversation.turns:
        if turns and not turn.messages:
            turns[-1] = replace(turns[-1], ticks=(*turns[-1].ticks, *turn.ticks))
        else:
            turns.append(turn)
    return Conversation(conversation.session, tuple(turns))


async def _compared(app: App, conversation: Conversation) -> list[tuple[Tick, str]]:
    """Return each tick with how its context differs now, as far as recorded answers lead."""
    session = app.session()
    missed: CompiledContext | None = None
    try:
        await _say_again(session, conversation)
    except RecordingMissError:
        missed = session.compile()
    now = [*(tick.context for tick in session.ticks), *([missed] if missed is not None else [])]
    await session.aclose()
    return [
        (tick, _difference(tick.context, context))
        for tick, context in zip(conversation.ticks, now, strict=False)
    ]


def _difference(then: CompiledContext, now: CompiledContext) -> str:
    return "" if now.hash == then.hash else str(now.diff(then)) or "another model or other settings"


async def _say_again(session: Session, conversation: Conversation) -> None:
    """Send the messages again, and give the answers that people gave, as long as something is answered."""
    for turn in conversation.turns:
        if turn.messages:
            known = session.knobs.specs()
            session.knobs.set_many({name: value for name, value in turn.knobs.items() if name in known})
            said = [{"role": entry.role, "content": list(entry.content)} for entry in turn.messages]
            try:
                await _paused_or_done(session.send(said))
            except RecordingMissError:
                raise
            except NbsessionError as error:
                raise Failure(f"the app of now cannot answer {turn.text[:60]!r}: {error}") from error
        while session.waiting:
            question = session.waiting[0]
            run = _run_of(conversation.ticks, question)
            if run is None or run.result is None:
                return  # nobody has answered it so far
            await _paused_or_done(session.answer(question.id, _answer_of(question, run)))


async def _paused_or_done(execution: Execution) -> None:
    async for event in execution:
        if isinstance(event, ConfirmationRequested):
            execution.pause()
    await execution


def _run_of(ticks: Sequence[Tick], question: Question) -> ToolRun | None:
    runs = ticks[question.tick].tool_calls if question.tick < len(ticks) else []
    return next((run for run in runs if run.id == question.call.id), None)


def _answer_of(question: Question, run: ToolRun) -> Any:
    """Return what somebody answered, by what came of the call."""
    assert run.result is not None
    if question.kind == "confirmation":
        return run.result.status != "denied"
    text = run.result.text
    return text if question.schema.get("type") == "string" else json.loads(text)
