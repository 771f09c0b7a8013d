"""A session written to a file, as what the file's ending says."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsession.errors import ModelError, SessionError
from nbsession.export import (
    Conversation,
    Made,
    conversation_of,
    ending_of,
    markdown,
    notebook,
    replayed,
    script,
    tour,
)
from nbsession.session.keeping import knobs_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbsession.context import Capabilities
    from nbsession.session.core import SessionCore
    from nbsession.timeline import Tick

ENDINGS = (".ipynb", ".py", ".md", ".html", ".json")


def exported(core: SessionCore, path: str | os.PathLike[str], props: Mapping[str, Any]) -> dict[Path, str]:
    """Return the files that a session becomes, by path: the one asked for, and of Python the recording beside it."""
    ending = ending_of(path, ENDINGS)
    file = Path(path).expanduser()
    conversation = told(core)
    if not conversation.turns:
        raise SessionError(f"session {core.session.id!r} has no message to export yet; send one first")
    if ending == ".py":
        if not replayed(conversation):
            raise SessionError(
                f"session {core.session.id!r} cannot be said again: its first turn was cut off, or has no message; "
                "export it as .html, .md or .json"
            )
        recording = file.with_suffix(".jsonl")
        test = file.name.startswith("test_")
        text = script(conversation, _made(core, props), recording.name, test=test)
        return {file: text, recording: recorded(conversation, _takes(core))}
    made = {
        ".ipynb": lambda: notebook(conversation, _made(core, props)),
        ".md": lambda: markdown(conversation),
        ".html": lambda: tour(conversation),
        ".json": lambda: json.dumps(conversation.to_dict(), ensure_ascii=False, indent=1, default=str) + "\n",
    }
    return {file: made[ending]()}


def told(core: SessionCore) -> Conversation:
    """Return the session's conversation on the path to its head."""
    states = {state for tick in core.ticks for state in (tick.state_before, tick.state_after)}
    knobs = {state: knobs_in(core.state.at(state)) for state in states}
    return conversation_of(core.session.id, tuple(core.record), core.ticks, knobs)


def recorded(conversation: Conversation, takes: Capabilities | None) -> str:
    """Return the answers as a file that ``RecordedModel`` gives them from."""
    from nbsession.models.tape import Tape

    with tempfile.TemporaryDirectory() as folder:
        tape = Tape(Path(folder) / "recording.jsonl")
        for turn in replayed(conversation):
            for tick in turn.ticks:
                tape.append(_recording(tick, takes), tick.context)
        return tape.path.read_text("utf-8", errors="surrogatepass") if tape.path.exists() else ""


def _recording(tick: Tick, takes: Capabilities | None) -> Any:
    from nbsession.models.tape import EVERYTHING, Played, Recording

    return Recording(
        tick.context.hash,
        tick.recorded or datetime.fromtimestamp(tick.started, UTC).isoformat(timespec="seconds"),
        tick.model or tick.asked,
        tuple(map(Played, tick.response)),
        tick.stop_reason,
        tick.usage,
        tick.detail,
        settings=tick.context.settings,
        takes=takes or EVERYTHING,
    )


def _takes(core: SessionCore) -> Capabilities | None:
    """Return what the session's model takes: for it the contexts were compiled."""
    try:
        model = core.mount.preview(core.knobs.values(), choose=core.model_for(None), room=core.room).model
    except ModelError:  # it is not there any more, as where a key is gone
        return None
    return None if model is None else model.capabilities


def _made(core: SessionCore, props: Mapping[str, Any]) -> Made:
    name = getattr(core.model, "name", core.model)
    known = isinstance(name, str) and name.startswith(("anthropic:", "openai:", "ollama:", "simulated"))
    app = core.session.app
    tools = [use.tool for use in core.tools]
    return Made(app.root, props, tools, str(name) if known else "", app.max_ticks)
