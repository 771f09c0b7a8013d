"""What a reader is shown of an execution, gathered from its events.

Plain state, no HTML: ``Transcript.apply`` takes the events in order and says
what each one touched, so that a page changes there and nowhere else.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Literal, NamedTuple

from nbsession import events
from nbsession.content import ServerTool, Text, Thinking, ToolCall
from nbsession.notebook.view.cards import card
from nbsession.notebook.view.endings import WAITS, why_stopped, withdrawn
from nbsession.notebook.view.fields import fields_of
from nbsession.notebook.view.form import answered, controls_of
from nbsession.notebook.view.ledger import Ledger
from nbsession.notebook.view.pieces import (
    Asked,
    Call,
    Halt,
    Note,
    Piece,
    Prose,
    ProseKind,
    TickRecord,
    written,
)
from nbsession.notebook.view.sources import NO_SOURCES
from nbsession.tools import Decision
from nbsession.usage import Usage, saved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nbsession.context import CompiledContext, Part
    from nbsession.timeline import Tick
    from nbsession.tools import Question

_KINDS: dict[type, ProseKind] = {Text: "text", Thinking: "thinking", ServerTool: "server_tool"}


class Touched(NamedTuple):
    """What an event changed: a new tick, its context, its heading, a new piece, a piece, or only the state of it all."""

    what: Literal["tick", "context", "heading", "new", "piece", "state"]
    tick: TickRecord | None = None
    piece: Piece | None = None


STATE = Touched("state")


class Transcript:
    """An execution as its reader sees it.

    ``ledger`` is what the notebook shows of the session already; ``cell`` names
    the output this is for. Times are in seconds, by the clock of whoever reads
    the events, and are meaningless (``None``) for an execution read afterwards.
    """

    def __init__(self, ledger: Ledger | None = None, *, cell: str = "") -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self.cell = cell
        self.ticks: list[TickRecord] = []
        self.usage: Usage | None = None
        self.cost: float | None = None
        self.stop_reason = ""
        self.reason = ""
        self.error: events.Error | None = None
        self.state = "starting"
        self.started = time.monotonic()
        self.first_text: float | None = None
        self.ended: float | None = None
        self.why: Callable[[Part], str] | None = None
        self.written = NO_SOURCES
        self.window: int | None = None
        self.gates: tuple[str, ...] = ()
        self.halted: Note | None = None
        self._sent = False
        self._count = 0
        self._withdrawn = 0
        self._spent = Usage()
        self._cost: float | None = 0.0

    @property
    def sources(self) -> list[tuple[str, str, str]]:
        """The different (source, model, when recorded) of the ticks, in order; of each day's recordings the first."""
        found: dict[tuple[str, str, str], tuple[str, str, str]] = {}
        for tick in self.ticks:
            if tick.source and tick.answered:
                told = tick.source, tick.model, tick.recorded
                found.setdefault((tick.source, tick.model, tick.recorded[:10]), told)
        return list(found.values())

    @property
    def stopped(self) -> str:
        """Why it ended other than by the model's own end of turn, or ``""``."""
        told = self.stop_reason == "paused" and any(call.asked for call in self.calls()) and not self.asked
        return "" if told else why_stopped(self.stop_reason, self.reason)

    @property
    def saved(self) -> float:
        """US dollars that the provider's cache saved; 0 where nothing is known, or writing to it cost more."""
        live = [tick for tick in self.ticks if tick.source == "live" and tick.usage is not None]
        told = [saved(tick.model, tick.usage, asked=tick.asked) for tick in live if tick.usage is not None]
        return max(0.0, sum(dollars or 0.0 for dollars in told))

    @property
    def seconds(self) -> float:
        """How long it took, or has taken so far."""
        return (self.ended if self.ended is not None else time.monotonic()) - self.started

    @property
    def scale(self) -> int:
        """How many tokens the strips are long: the model's window where a tick takes much of it, else the largest tick."""
        largest = max((tick.strip.tokens for tick in self.ticks if tick.card is not None), default=0)
        return self.window if self.window and largest > self.window / 4 else largest

    def apply(self, event: events.Event) -> Touched | None:
        """Take the next event; return what it touched, ``None`` for nothing that is shown."""
        match event:
            case events.TextDelta() | events.InputJsonDelta() | events.ContentBlockStart():
                return self._block(event)
            case events.ContentBlockStop():
                return self._block_end(event)
            case (
                events.ToolStart() | events.ToolProgress() | events.ToolEnd() | events.ConfirmationRequested()
            ):
                return self._tool(event)
            case events.PermissionDecided():
                call, new = self._call(event.call_id, "")
                call.decision = str(Decision(event.decision, event.rule, event.by))
                return Touched("new" if new else "piece", self._current(), call)
            case events.TickStart() | events.TickContext() | events.MessageStart() | events.TickEnd():
                return self._tick(event)
            case events.QuestionAsked() | events.QuestionAnswered() | events.QuestionWithdrawn():
                return self._question(event)
            case events.EntryCommitted() | events.KnobSet() | events.GateChanged():
                return self._note(event)
            case events.ModelWaiting():
                self.state = f"{event.reason}; trying again in {event.seconds:.2g} s"
                return STATE
            case events.BreakpointReached():
                self.state = "stopped at a breakpoint"
                told = self.remark(f"Stopped at the breakpoint {event.breakpoint}: {event.reason}")
                self.halted = told.piece if isinstance(told.piece, Note) else None
                return told
            case events.MessageDelta():
                tick = self._current()
                tick.usage, tick.cache_diagnosis = event.usage, event.cache_diagnosis
                return STATE
            case events.ExecutionStart():
                self._begin()
                self._sent = not event.text
                return STATE
            case events.Error():
                self.error = event
                return STATE
            case events.ExecutionEnd():
                self.stop_reason, self.reason = event.stop_reason, event.reason
                self.usage = self._spent + event.usage
                self.cost = (
                    None if None in (self._cost, event.cost) else (self._cost or 0) + (event.cost or 0)
                )
                self.end()
                return STATE
        return None

    @classmethod
    def of(cls, ticks: Sequence[Tick]) -> Transcript:
        """Return the transcript of ticks that are over, from their records."""
        run = cls()
        for tick in ticks:
            run._replay(tick)
        run.end()
        if ticks:
            ends = [tick.ended for tick in ticks if tick.ended is not None]
            run.started = ticks[0].started
            run.ended = max(ends, default=run.started)
            run.first_text = next((tick.first_token for tick in ticks if tick.first_token), None)
            run.usage = sum((tick.usage for tick in ticks), Usage())
            costs = [tick.cost for tick in ticks]
            run.cost = None if None in costs else sum(cost for cost in costs if cost is not None)
        return run

    def end(self) -> None:
        """Mark the end, however it came: what was unfinished is cut."""
        if self.ended is None:
            self.ended = time.monotonic()
        self.state = "ended"
        if self.halted is not None:
            self.halted.halt = None
        for tick in self.ticks:
            for piece in tick.pieces:
                if isinstance(piece, Prose) and not piece.finished:
                    piece.finished = piece.cut = True
                elif isinstance(piece, Call) and piece.result is None and not piece.waits:
                    piece.status = "interrupted"

    def waits(self, question: Question, since: float) -> Touched:
        """Show that a call waits for somebody, since a moment (seconds since the epoch)."""
        if not self.ticks:
            self._new_tick(question.tick)
        call, new = self._call(question.call.id, question.call.name)
        call.input, call.status, call.question = question.call.input, "paused", ""
        call.asked = Asked(question, since)
        return Touched("new" if new else "piece", self._current(), call)

    @property
    def asked(self) -> dict[str, Asked]:
        """The questions that wait for somebody, by their ids."""
        found = [call.asked for call in self.calls() if call.asked is not None and call.waits]
        return {asked.question.id: asked for asked in reversed(found)}

    def _begin(self) -> None:
        """Begin, or go on after waiting for somebody, whose time does not count."""
        if self.ended is None:
            self.started = time.monotonic()
            return
        waited = time.monotonic() - self.ended
        self.started += waited
        self.first_text = None if self.first_text is None else self.first_text + waited
        self._spent, self._cost = self.usage or Usage(), self.cost
        self.ended = self.error = None
        self.stop_reason = self.reason = ""

    def remark(self, text: str) -> Touched:
        """Add a line of its own to the tick that runs."""
        note = Note(self._key(), text)
        tick = self._current()
        tick.pieces.append(note)
        return Touched("new", tick, note)

    def look(self, context: CompiledContext) -> Touched:
        """Show what the running tick is about to send, with a form to let it go on."""
        tick, latest = self._current(), self.ledger.latest
        self._show(tick, context)
        self.ledger.latest = latest
        if self.halted is not None:
            self.halted.halt = Halt(*fields_of(context))
        return Touched("context", tick)

    def go_on(self, fault: str = "") -> Touched | None:
        """Take away the form of the breakpoint that it stands at, or say in it why it cannot go on."""
        note = self.halted
        if note is None or note.halt is None:
            return None
        if fault:
            note.halt.fault = fault
        else:
            self.halted, note.halt, note.text = None, None, f"{note.text}; went on"
        return Touched("piece", self._current(), note)

    def calls(self) -> Iterator[Call]:
        """Give all tool calls, the latest first."""
        for tick in reversed(self.ticks):
            yield from reversed(tick.calls)

    def _current(self) -> TickRecord:
        return self.ticks[-1] if self.ticks else self._new_tick(0)

    def _new_tick(self, number: int) -> TickRecord:
        tick = TickRecord(f"t{number}", number)
        self.ticks.append(tick)
        return tick

    def _replay(self, tick: Tick) -> None:
        record = self._new_tick(tick.number)
        if tick.context is not None:
            record.card = card(tick.context, self.ledger.latest, key=record.key, why=tick.why)
            self.ledger.latest = tick.context
        record.asked, record.model = tick.asked, tick.model
        record.source, record.recorded = tick.source, tick.recorded
        record.usage, record.cost, record.ended = tick.usage, tick.cost, True
        record.cache_diagnosis = tick.cache_diagnosis
        for block in tick.response:
            if isinstance(block, Text | Thinking | ServerTool):
                kind = _KINDS[type(block)]
                prose = Prose(self._key(), kind, record.label(kind), [block.text], finished=True)
                record.pieces.append(prose)
        if tick.interrupted and record.pieces and isinstance(record.pieces[-1], Prose):
            record.pieces[-1].cut = True
        for run in tick.tool_calls:
            waits = run.result is None and tick.ended is not None and not tick.interrupted
            call = Call(self._key(), run.id, run.name, run.input, status=WAITS if waits else "interrupted")
            call.decision = "" if run.decision is None else str(run.decision)
            if run.result is not None:
                call.end(run.result, run.value, run.traceback)
            record.pieces.append(call)

    def _tick(
        self, event: events.TickStart | events.TickContext | events.MessageStart | events.TickEnd
    ) -> Touched:
        if isinstance(event, events.TickStart):
            self.state = "preparing the context"
            began = self._new_tick(event.tick)
            if self._withdrawn:
                began.pieces.append(Note(self._key(), withdrawn(self._withdrawn)))
                self._withdrawn = 0
            return Touched("tick", began)
        tick = self._current()
        if isinstance(event, events.TickContext):
            self._show(tick, event.context)
            tick.asked = tick.model = event.model
            tick.source = event.source
            self.state = f"waiting for {event.model or 'the model'}"
            return Touched("context", tick)
        if isinstance(event, events.MessageStart):
            self.state = f"waiting for {event.model}"
            tick.model, tick.source, tick.recorded = event.model, event.source, event.recorded
            return Touched("heading", tick)
        tick.usage, tick.cost, tick.ended = event.usage, event.cost, True
        for text in (_joined(tick.said), _joined(c.result.text for c in tick.calls if c.result is not None)):
            self.ledger.note(text, tick.number, self.cell)
        return Touched("heading", tick)

    def _show(self, tick: TickRecord, context: CompiledContext) -> None:
        ledger = self.ledger
        tick.schemas = {spec.name: spec.input_schema for spec in context.tools}
        tick.card = card(
            context,
            ledger.latest,
            key=tick.key,
            ledger=ledger,
            tick=tick.number,
            cell=self.cell,
            why=self.why,
            sources=self.written,
        )
        ledger.latest = context

    def _block(
        self, event: events.TextDelta | events.InputJsonDelta | events.ContentBlockStart
    ) -> Touched | None:
        tick = self._current()
        if isinstance(event, events.ContentBlockStart):
            piece: Prose | Call = (
                Call(self._key(), event.id, event.name)
                if event.block == "tool_call"
                else Prose(self._key(), event.block, tick.label(event.block))
            )
            tick.blocks[event.index] = piece
            tick.pieces.append(piece)
            self.state = {"text": "writing", "thinking": "thinking"}.get(event.block, f"calling {event.name}")
            return Touched("new", tick, piece)
        found = tick.blocks.get(event.index)
        if isinstance(found, Prose) and isinstance(event, events.TextDelta):
            if self.first_text is None and found.kind == "text":
                self.first_text = time.monotonic()
            found.chunks.append(event.text)
            found.fresh.append(event.text)
        elif isinstance(found, Call) and isinstance(event, events.InputJsonDelta):
            found.partial += event.partial_json
            found.fresh.append(event.partial_json)
        else:
            return None
        return Touched("piece", tick, found)

    def _block_end(self, event: events.ContentBlockStop) -> Touched | None:
        tick = self._current()
        piece = tick.blocks.pop(event.index, None)
        content = event.content
        tick.said.append(str(content))
        if isinstance(piece, Call) and isinstance(content, ToolCall):
            piece.id, piece.name, piece.input = content.id, content.name, content.input
        elif isinstance(piece, Prose) and isinstance(content, Text | Thinking | ServerTool):
            piece.finished = True
            missing = content.text[len(piece.text) :]
            if missing and content.text.startswith(piece.text):
                piece.chunks.append(missing)
                piece.fresh.append(missing)
        else:
            return None
        return Touched("piece", tick, piece)

    def _tool(
        self,
        event: events.ToolStart | events.ToolProgress | events.ToolEnd | events.ConfirmationRequested,
    ) -> Touched:
        if isinstance(event, events.ToolStart | events.ConfirmationRequested):
            call, new = self._call(event.call.id, event.call.name)
            call.input = event.call.input
            if isinstance(event, events.ConfirmationRequested):
                call.status, call.question = "waiting", event.message or f"Run {call.name}?"
                call.confirms = event.question
                call.controls = controls_of(self._current().schemas.get(call.name, {}), event.call.input)
                self.state = "waiting for your answer"
            else:
                call.status = "running"
                self.state = f"running {call.name}"
        elif isinstance(event, events.ToolProgress):
            call, new = self._call(event.call_id, "")
            call.progress = event.data if isinstance(event.data, str) else json.dumps(event.data, default=str)
        else:
            call, new = self._call(event.result.call_id, event.result.name)
            call.end(event.result, event.value, event.traceback)
        return Touched("new" if new else "piece", self._current(), call)

    def _question(
        self, event: events.QuestionAsked | events.QuestionAnswered | events.QuestionWithdrawn
    ) -> Touched | None:
        if isinstance(event, events.QuestionAsked):
            self.state = WAITS
            return self.waits(event.question, time.time())
        call = next((call for call in self.calls() if call.id == event.call_id), None)
        if call is None:
            self._withdrawn += isinstance(event, events.QuestionWithdrawn)
            return None
        if call.asked is None:
            return None
        if isinstance(event, events.QuestionWithdrawn):
            call.asked.end = f"withdrawn: {event.reason}"
        else:
            call.asked.end = f"answered: {answered(call.asked.question, event.value)}"
        return Touched("piece", self._current(), call)

    def _call(self, id_: str, name: str) -> tuple[Call, bool]:
        for call in self.calls():
            if call.id == id_:
                return call, False
        call = Call(self._key(), id_, name)
        self._current().pieces.append(call)
        return call, True

    def _note(self, event: events.EntryCommitted | events.KnobSet | events.GateChanged) -> Touched | None:
        if isinstance(event, events.KnobSet):
            if event.by == "model" or not self.ticks:
                return None
            value = written(event.value)
            return self.remark(f"{event.name} set to {value} by the {event.by}; seen from the next tick on")
        if isinstance(event, events.GateChanged):
            why = f": {event.reason}" if event.reason else ""
            return self.remark(f"Gate {event.name} is {event.state}{why}") if self.ticks else None
        if event.entry.role != "user" or not self._sent:
            self._sent = self._sent or event.entry.role == "user"
            return None
        return self.remark(f"You said meanwhile: {event.entry.text}")

    def _key(self) -> str:
        self._count += 1
        return f"p{self._count}"


def _joined(texts: Iterable[str]) -> str:
    return "\n\n".join(texts)
