"""A session written to a file, as what the file's ending says."""

from __future__ import annotations

import json
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.errors import ModelError, SessionError
from nbsession.export import (
    Asked,
    Conversation,
    Made,
    Sent,
    conversation_of,
    ending_of,
    is_nameable,
    markdown,
    notebook,
    replayed,
    script,
    tour,
)
from nbsession.session.keeping import knobs_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbsession.context import Capabilities
    from nbsession.session.core import SessionCore
    from nbsession.timeline import Tick

ENDINGS = (".ipynb", ".py", ".md", ".html", ".json")


class Export(NamedTuple):
    """What an export is made of, taken from a session at one moment."""

    conversation: Conversation
    made: Made
    sent: Mapping[str, Sent]
    takes: Capabilities | None

    @classmethod
    def of(cls, core: SessionCore, props: Mapping[str, Any]) -> Export:
        """Take it from a session; ``SessionError`` where nothing was said yet."""
        conversation = told(core)
        if not conversation.turns:
            raise SessionError(f"session {core.session.id!r} has no message to export yet; send one first")
        return cls(conversation, _made(core, props), _sent(core), _takes(core))

    def files(self, path: str | os.PathLike[str]) -> dict[Path, str]:
        """Return the files by their paths: the one asked for, and beside a script its recording."""
        ending = ending_of(path, ENDINGS)
        file = Path(path).expanduser()
        if ending == ".py":
            return self._script(file)
        forms: dict[str, Callable[[], str]] = {
            ".ipynb": lambda: notebook(self.conversation, self.made, self.sent),
            ".md": lambda: markdown(self.conversation),
            ".html": lambda: tour(self.conversation),
            ".json": lambda: (
                json.dumps(self.conversation.to_dict(), ensure_ascii=False, indent=1, default=str) + "\n"
            ),
        }
        return {file: forms[ending]()}

    def _script(self, file: Path) -> dict[Path, str]:
        if not replayed(self.conversation):
            raise SessionError(
                f"session {self.conversation.session!r} cannot be said again: its first turn was cut off, or has no "
                "message; export it as .html, .md or .json"
            )
        recording = file.with_suffix(".jsonl")
        is_test = file.name.startswith("test_")
        text = script(self.conversation, self.made, recording.name, self.sent, test=is_test)
        return {file: text, recording: recorded(self.conversation, self.takes)}


def told(core: SessionCore) -> Conversation:
    """Return the session's conversation on the path to its head."""
    states = {state for tick in core.ticks for state in (tick.state_before, tick.state_after)}
    knobs = {state: knobs_in(core.state.at(state)) for state in states}
    return conversation_of(core.session.id, tuple(core.record), core.ticks, knobs, _asked(core))


def _asked(core: SessionCore) -> dict[str, Asked]:
    """Return what somebody was asked, by the ids of the calls."""
    ended = core.questions.ended
    found = {call: Asked(kept["text"], _outcome(kept), tuple(_given(kept))) for call, kept in ended.items()}
    waiting = {each.call.id: Asked(each.text, "waits for an answer") for each in core.questions.open}
    return {**found, **waiting}


def _outcome(kept: Mapping[str, Any]) -> str:
    if "answer" not in kept:
        return f"nobody answered: {kept['withdrawn']}"
    value = kept["answer"]
    return f"answered: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _given(kept: Mapping[str, Any]) -> Iterator[Any]:
    if "answer" in kept:
        yield kept["answer"]


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
        tick.cache_diagnosis,
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
    name = str(getattr(core.model, "name", core.model) or "")
    app = core.session.app
    tools = [use.tool for use in core.tools]
    return Made(app.root, props, tools, name if is_nameable(name) else "", app.max_ticks)


def _sent(core: SessionCore) -> dict[str, Sent]:
    """Say of each execution of this process what ``send`` was given besides the message."""
    return {
        turn.id: Sent(str(getattr(turn.options.model, "name", "")), [use.tool for use in turn.options.tools])
        for turn in core.line.begun
    }
