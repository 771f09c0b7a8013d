"""A session's conversation as values: its turns, each with what was said and the ticks that answered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, ToolCall
from nbsession.export.shelf import Shelf, without_room
from nbsession.tree import unchanged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nbsession.content import Block, Entry
    from nbsession.timeline import Tick, ToolRun

LONGEST_RESULT = 20_000
"""Characters of a tool's result that are shown; what the model got of it stands in the next context, in full."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody was asked about a call, and in words what became of it.

    ``call`` is how it was asked for; ``answers`` holds the answer, if one was given.
    """

    text: str
    end: str
    answers: tuple[Any, ...] = ()
    call: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """One execution: the messages that began it, its ticks, and the messages that came in between.

    ``knobs`` are the values that were set when it began, as far as they were others than before. ``asked`` is what
    somebody was asked about its calls, by their ids; ``answered`` what it goes on with, instead of messages.
    """

    messages: tuple[Entry, ...]
    ticks: tuple[Tick, ...]
    later: tuple[Entry, ...] = ()
    knobs: Mapping[str, Any] = field(default_factory=dict)
    asked: Mapping[str, Asked] = field(default_factory=dict)
    answered: tuple[Asked, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether it can be had again from recordings: nothing was cut, and nothing came in between."""
        return not self.later and all(tick.stop_reason and not tick.interrupted for tick in self.ticks)

    @property
    def text(self) -> str:
        """What was asked."""
        answers = [f"{asked.text} ({asked.end})" for asked in self.answered]
        return "\n\n".join([*map(str, self.messages), *answers])


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session's turns on the path to its head; ``notes`` say what else is to be known of it."""

    session: str
    turns: tuple[Turn, ...]
    notes: tuple[str, ...] = ()

    @property
    def ticks(self) -> list[Tick]:
        """The ticks of all turns."""
        return [tick for turn in self.turns for tick in turn.ticks]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON data: turns, entries, and ticks with the parts of their contexts on a shelf."""
        shelf = Shelf()
        turns = []
        older: Tick | None = None
        for turn in self.turns:
            ticks = []
            for tick in turn.ticks:
                ticks.append(described(tick, older, shelf, turn.asked))
                older = tick
            entries = [entry.to_dict() for entry in (*turn.messages, *turn.later)]
            turns.append({"asked": turn.text, "knobs": dict(turn.knobs), "entries": entries, "ticks": ticks})
        return {
            "nbsession": "session",
            "version": 1,
            "session": self.session,
            "turns": turns,
            **({"notes": list(self.notes)} if self.notes else {}),
            **shelf.to_dict(),
        }


def conversation_of(
    session: str,
    path: Sequence[Entry],
    ticks: Sequence[Tick],
    knobs: Mapping[int, Mapping[str, Any]],
    asked: Mapping[str, Asked],
) -> Conversation:
    """Sort the entries on the path to the head, and the ticks that answered them, into turns.

    Ticks of what the head was taken back from are left out. ``knobs`` are the values before and
    after ticks, by the number of the state, ``asked`` what somebody was asked, by the ids of the calls.
    """
    places = {entry.id: place for place, entry in enumerate(path, 1)}
    turns: list[Turn] = []
    said, present = 0, dict[str, Any]()
    on_path = [tick for tick in ticks if tick.head_before in places and tick.head_after in places]
    for ticks_of_turn in _executions(on_path):
        first, last = ticks_of_turn[0], ticks_of_turn[-1]
        begin, end = places[str(first.head_before)], places[str(last.head_after)]
        before = dict(knobs.get(first.state_before, {}))
        messages = tuple(path[said:begin])
        turns.append(
            Turn(
                messages,
                tuple(ticks_of_turn),
                _users(path[begin:end]),
                {
                    name: value
                    for name, value in before.items()
                    if not unchanged(present.get(name, ...), value)
                },
                {
                    call.id: replace(asked[call.id], call=str(call))
                    for call in _calls(ticks_of_turn)
                    if call.id in asked
                },
                () if messages or not turns else _answered(turns[-1]),
            )
        )
        said, present = end, {**before, **knobs.get(last.state_after, {})}
    if rest := _users(path[said:]):
        turns.append(Turn(rest, ()))
    return Conversation(session, tuple(turns))


def described(tick: Tick, older: Tick | None, shelf: Shelf, asked: Mapping[str, Asked]) -> dict[str, Any]:
    """Return a tick as JSON data, its context's parts put on the shelf; ``older`` is the tick before."""
    diff = tick.context.diff(older.context) if older is not None else None
    end = diff.prefix_broken_by if diff is not None else None
    return {
        "number": tick.number,
        "model": tick.model or tick.asked,
        "source": tick.source,
        "recorded": tick.recorded,
        "hash": tick.context.hash,
        "tokens": tick.context.tokens,
        "parts": shelf.place(tick.context),
        "withheld": list(without_room(tick.context)),
        "kept": diff.prefix_tokens_kept if diff is not None else 0,
        "broken_by": f"{end.title or end.role or end.kind} · {end.path}" if end is not None else "",
        "settings": {name: str(value) for name, value in tick.context.settings.items()},
        "answer": list(_said(tick.response)),
        "tools": [tool(run, asked.get(run.id)) for run in tick.tool_calls],
        "usage": {
            "input": tick.usage.total_tokens - tick.usage.output_tokens,
            "output": tick.usage.output_tokens,
        },
        "cost": tick.cost,
        "seconds": None if tick.ended is None or not tick.started else round(tick.ended - tick.started, 3),
        "stop_reason": "interrupted" if tick.interrupted else tick.stop_reason,
        "error": "" if tick.error is None else f"{type(tick.error).__name__}: {tick.error}",
    }


def tool(run: ToolRun, asked: Asked | None) -> dict[str, Any]:
    """Return a tool call with what was asked about it and its result, which is shortened where it is very long."""
    question = {} if asked is None else {"asked": asked.text, "outcome": asked.end}
    return {
        "name": run.name,
        "input": dict(run.input),
        **question,
        "result": shortened(run.result.text) if run.result is not None else "",
        "status": "error"
        if run.result is not None and run.result.is_error
        else ""
        if run.result
        else "no result"
        if asked is None
        else "waits",
    }


def shortened(text: str) -> str:
    """Return a tool's result as it is shown: the beginning of one that is very long."""
    more = len(text) - LONGEST_RESULT
    return text if more <= 0 else f"{text[:LONGEST_RESULT]}\n… {more:,} more characters"


def _said(blocks: Sequence[Block]) -> Iterator[dict[str, str]]:
    for block in blocks:
        if isinstance(block, (Text, Thinking)) and block.text.strip():
            yield {"kind": "thinking" if isinstance(block, Thinking) else "text", "text": block.text}


def _answered(turn: Turn) -> tuple[Asked, ...]:
    """Return what was answered of the questions with which a turn ended."""
    found = [turn.asked[call.id] for call in _calls(turn.ticks[-1:]) if call.id in turn.asked]
    return tuple(asked for asked in found if asked.answers)


def _calls(ticks: Sequence[Tick]) -> Iterator[ToolCall]:
    """Give the calls as they were asked for: one that was allowed with other arguments was run with these."""
    for tick in ticks:
        yield from (block for block in tick.response if isinstance(block, ToolCall))


def _users(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.role == "user")


def _executions(ticks: Sequence[Tick]) -> Iterator[list[Tick]]:
    together: list[Tick] = []
    for tick in ticks:
        if together and together[-1].execution != tick.execution:
            yield together
            together = []
        together.append(tick)
    if together:
        yield together
