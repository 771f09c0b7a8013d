"""A conversation that another tool recorded, as ticks."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from nbsession.content import Entry, Text, ToolCall, ToolResult
from nbsession.context import CompiledContext
from nbsession.context.part import Part, message_part, tool_part
from nbsession.errors import ModelError
from nbsession.export import Conversation, conversation_of, ending_of, markdown, save, tour
from nbsession.session import SessionDiff
from nbsession.timeline import Record, Tick, ToolRun
from nbsession.usage import Usage, estimate

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbsession.content import Block
    from nbsession.session import Ticked
    from nbsession.traces.call import Call, Said, Told

ENDINGS = (".html", ".md", ".json")


class Trace:
    """What another tool recorded of a conversation: to be looked at, compared and exported, not to be gone on with.

    ``ticks`` are its model calls, each with its compiled context as far as it was recorded, ``timeline`` the
    conversation, ``source`` the tool that wrote it, and the ticks' source. ``notes`` say what of it was read how, and
    what is unknown. The hash of a context is that of what could be rebuilt. Usage that was not recorded is estimated,
    and marked so; a cost is told only where the record has it. A tick that has no time started at 0.
    """

    def __init__(self, told: Told) -> None:
        self.id = told.id
        self.source = told.source
        self.timeline = Record()
        self.ticks: list[Tick] = []
        _Build(told, self).run()
        self.notes = tuple(told.notes)

    @property
    def conversation(self) -> Conversation:
        """Its turns, as they are exported."""
        told = conversation_of(self.id, tuple(self.timeline), self.ticks, {}, {})
        return replace(told, notes=(self.source, *self.notes))

    def compare(self, other: Ticked) -> SessionDiff:
        """Set it beside another trace or a session, and say where they part; ``Session.compare`` does so, too."""
        return SessionDiff(self.id, other.id, tuple(self.ticks), tuple(other.ticks))

    def export(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write it to a file: a page with a scrubber (``.html``), text (``.md``) or data (``.json``).

        Raises ``SessionError`` for another ending, where the file is there already (without ``force``) or cannot be
        written.
        """
        forms: dict[str, Callable[[], str]] = {
            ".html": lambda: tour(self.conversation),
            ".md": lambda: markdown(self.conversation),
            ".json": lambda: json.dumps(
                self.conversation.to_dict(), ensure_ascii=False, indent=1, default=str
            ),
        }
        save({Path(path).expanduser(): forms[ending_of(path, ENDINGS)]()}, force=force)

    def __repr__(self) -> str:
        return f"<Trace {self.id!r}: {len(self.ticks)} ticks, {self.source}>"


class _Build:
    """Makes the ticks of a trace, and the conversation that they belong to.

    A message keeps its key from context to context: it is named by what it says, and the how manieth that says so.
    """

    def __init__(self, told: Told, trace: Trace) -> None:
        self._told = told
        self._trace = trace
        self._called: dict[str, str] = {}
        self._made: dict[int, Part] = {}
        self._parts: dict[tuple[str, int], Part] = {}
        self._before: list[str] = []
        self._executions = 0

    def run(self) -> None:
        calls = self._told.calls
        for place, call in enumerate(calls):
            later = {
                result.call_id: result for after in calls[place + 1 : place + 2] for result in _results(after)
            }
            self._tick(call, later)

    def _tick(self, call: Call, later: dict[str, ToolResult]) -> None:
        record, ticks = self._trace.timeline, self._trace.ticks
        context = self._context(call)
        new = self._new(call, [part.digest for part in context.flow])
        if not ticks or any(said.role == "user" for said in new):
            self._executions += 1
        for said in new:
            self._append(said.role, said.content)
        if record.head is None:
            self._append("user", (Text("(what was said is not recorded)"),))
        runs = [
            ToolRun(block, self._result(block, later)) for block in call.answer if isinstance(block, ToolCall)
        ]
        for run in runs:
            run.started = run.result is not None
        tick = Tick(
            len(ticks),
            f"execution {self._executions}",
            context,
            call.asked,
            call.model or call.asked,
            self._told.source,
            response=call.answer,
            tool_calls=runs,
            stop_reason=call.stop_reason,
            usage=call.usage or _estimated(context, call.answer),
            cost=call.cost,
            started=call.started or 0.0,
            ended=call.ended or call.started or 0.0,
            error=ModelError(call.error) if call.error else None,
            interrupted=call.interrupted or bool(call.error),
            head_before=record.head,
        )
        if call.answer:
            self._append("assistant", call.answer)
        if results := tuple(run.result for run in runs if run.result is not None):
            self._append("tool", results)
        tick.head_after = record.head
        ticks.append(tick)

    def _context(self, call: Call) -> CompiledContext:
        system: list[Part] = []
        flow: list[Part] = []
        counts: dict[str, int] = {}
        for said in call.messages:
            if said.role == "system" and not flow:
                text = "\n\n".join(map(str, said.content))
                system.append(Part("system", "system", text, key=str(len(system) or "")))
                continue
            if said.role == "system":
                self._told.note("a system message in the middle of a conversation stands in the user's turn")
            flow.append(self._part(said, counts))
        return CompiledContext(
            system,
            flow,
            [tool_part(spec, "tools") for spec in call.tools],
            specs=call.tools,
            settings=call.settings,
            model=call.asked,
        )

    def _part(self, said: Said, counts: dict[str, int]) -> Part:
        """Return the part that a message is: the same one wherever the record has that message."""
        made = self._made.get(id(said))
        if made is None:
            self._called |= {block.id: block.name for block in said.content if isinstance(block, ToolCall)}
            content = tuple(_named(block, self._called) for block in said.content)
            role = "user" if said.role == "system" else said.role
            made = self._made[id(said)] = message_part("timeline", content, key="", role=role)
        count = counts[made.digest] = counts.get(made.digest, -1) + 1
        known = self._parts.get((made.digest, count))
        if known is None:
            key = f"{made.digest[:12]}.{count}"
            known = message_part("timeline", made.blocks, key=key, role=made.role)
            self._parts[made.digest, count] = known
        return known

    def _new(self, call: Call, digests: list[str]) -> Sequence[Said]:
        """Return the messages that were not in the call before: what follows those that both have."""
        messages = list(_after_system(call.messages))
        known = 0
        while known < min(len(digests), len(self._before)) and digests[known] == self._before[known]:
            known += 1
        self._before = digests
        if not self._trace.ticks:
            return messages
        # The answer and its tools' results are told by the tick before.
        return [
            said for said in messages[known:] if said.role in ("system", "user") and not _is_results(said)
        ]

    def _append(self, role: str, content: tuple[Block, ...]) -> None:
        record = self._trace.timeline
        named = "tool" if any(isinstance(block, ToolResult) for block in content) else role
        record.append(
            Entry(
                f"message {len(record)}",
                record.head,
                named if named in ("assistant", "tool") else "user",  # type: ignore[arg-type]  # one of the three
                content,
            )
        )

    def _result(self, call: ToolCall, later: dict[str, ToolResult]) -> ToolResult | None:
        """Return what a call gave: as its tool told it, or as the next call has it."""
        own, sent = self._told.results.get(call.id), later.get(call.id)
        if own is None or (not own.content and sent is not None):
            own = sent if own is None or sent is None else replace(sent, duration=own.duration)
        return None if own is None else replace(own, name=call.name)


def _named(block: Block, called: Mapping[str, str]) -> Block:
    """Give a tool's result the name that its call has: not every record repeats it."""
    if isinstance(block, ToolResult) and block.call_id in called:
        return replace(block, name=called[block.call_id])
    return block


def _after_system(messages: Sequence[Said]) -> Iterator[Said]:
    begun = False
    for said in messages:
        begun = begun or said.role != "system"
        if begun:
            yield said


def _results(call: Call) -> Iterator[ToolResult]:
    """Give the results that a call sends for the first time: those behind the model's last message."""
    for said in takewhile(lambda said: said.role != "assistant", reversed(call.messages)):
        yield from (block for block in said.content if isinstance(block, ToolResult))


def _is_results(said: Said) -> bool:
    return bool(said.content) and all(isinstance(block, ToolResult) for block in said.content)


def _estimated(context: CompiledContext, answer: Sequence[Block]) -> Usage:
    return Usage(context.tokens, estimate("\n\n".join(map(str, answer))), estimated=True)
