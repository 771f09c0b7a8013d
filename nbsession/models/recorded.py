"""``RecordedModel``: answers that a model once gave, given again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from nbsession import threads
from nbsession.content import Block, ServerTool, Text, Thinking, ToolCall
from nbsession.errors import ModelError, RecordingMissError
from nbsession.events import (
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    MessageDelta,
    MessageStart,
    MessageStop,
    ModelEvent,
    ModelWaiting,
    TextDelta,
)
from nbsession.models.base import ModelAdapter, Source, no_request, rate_of, request_for
from nbsession.models.names import default_name, named
from nbsession.models.tape import EVERYTHING, Played, Recording, Tape, difference

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from nbsession.context import Capabilities, CompiledContext

STEP = 25
"""Milliseconds: what came faster than this is kept as one step of the pace."""


class RecordedModel:
    """A model that answers from a file of recordings, and may add to it.

    An answer belongs to the hash of the compiled context: the same contents give
    the same answer, whatever ids and times are behind them. ``record`` is
    ``None`` (only replay; what is not recorded is a ``RecordingMissError`` that
    names the nearest recording and what differs), ``"new"`` (what is not recorded
    is asked of ``model`` and kept) or ``"all"`` (everything is asked and kept).
    ``model`` is a name or an adapter, by default the one that
    ``nbsession.models.default_model()`` gives, if it is live. ``rate`` scales the
    pace of a replay: 1 is as it was, 2 twice as fast, 0 at once; by default 1, and
    0 where ``CI`` is set. An answer that failed or was stopped is not kept.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        record: Literal["new", "all"] | None = None,
        model: str | ModelAdapter | None = None,
        rate: float | None = None,
    ) -> None:
        if record not in (None, "new", "all"):
            raise ModelError(f"record must be None, 'new' or 'all', got {record!r}", kind="request")
        if model is not None and record is None:
            raise ModelError(
                f"RecordedModel({os.fspath(path)!r}) only replays, so it takes no model=; "
                "to record through it, give record='new' or record='all'",
                kind="request",
            )
        self.path = Path(path).expanduser()
        self.record = record
        self.rate = (
            (0.0 if os.environ.get("CI") else 1.0) if rate is None else rate_of(rate, "RecordedModel(rate=)")
        )
        self._given = model
        self._tape = Tape(self.path)

    @property
    def name(self) -> str:
        """``recorded:<path>``; while it records, the name of the model that it records."""
        behind = self._behind()
        return f"recorded:{self.path}" if behind is None else behind.name

    @property
    def source(self) -> Source:
        """``"recorded"``; where it asks every time, the source of the model that it records."""
        behind = self._behind() if self.record == "all" else None
        return "recorded" if behind is None else behind.source

    @property
    def capabilities(self) -> Capabilities:
        """Those of the model that it records; of a replay, those of the model that was recorded last.

        So the context is compiled as it was then.
        """
        behind = self._behind()
        if behind is not None:
            return behind.capabilities
        try:
            return self._tape.takes() or EVERYTHING
        except ModelError:  # who asks it for an answer is told
            return EVERYTHING

    def __repr__(self) -> str:
        return f"<RecordedModel {self.path}{f', records {self.record}' if self.record else ''}>"

    def request(self, context: CompiledContext) -> dict[str, Any]:
        """Return the request of the model that it records; see ``ModelAdapter``."""
        behind = self._behind()
        if behind is None:
            raise no_request(self)
        return request_for(behind, context)

    async def prepare(self) -> bool:
        """Let the model that it records learn what it takes; see ``ModelAdapter``."""
        prepare = getattr(self._behind(), "prepare", None)
        return prepare is not None and await prepare()

    async def stream(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        """Replay the answer to ``context``, or ask for it and keep it; see ``ModelAdapter``."""
        if self.record != "all":
            recordings = await threads.beside(self._tape.recordings)
            recording = recordings.get(context.hash)
            if recording is not None:
                async with aclosing(self._replay(recording)) as events:
                    async for event in events:
                        yield event
                return
            if self.record is None:
                raise await threads.beside(partial(self._miss, context))
        async with aclosing(self._ask(context)) as events:
            async for event in events:
                yield event

    async def _replay(self, recording: Recording) -> AsyncGenerator[ModelEvent, None]:
        yield MessageStart(recording.model, "recorded", recording.at)
        for index, played in enumerate(recording.content):
            yield _start(index, played.block)
            offset = 0
            for pause, piece in _pieces(played):
                await asyncio.sleep(pause / 1000 / self.rate if self.rate > 0 else 0)
                if isinstance(played.block, ToolCall):
                    yield InputJsonDelta(index, piece, offset)
                else:
                    yield TextDelta(index, piece, offset)
                offset += len(piece)
            yield ContentBlockStop(index, played.block)
        yield MessageDelta(recording.stop_reason, recording.usage, recording.detail, recording.diagnosis)
        yield MessageStop()

    async def _ask(self, context: CompiledContext) -> AsyncGenerator[ModelEvent, None]:
        behind = self._behind()
        if behind is None:
            raise ModelError(
                f"there is no model to record into {self.path}: pass model=, or set ANTHROPIC_API_KEY",
                kind="request",
            )
        take = _Take(behind)
        async with aclosing(behind.stream(context)) as events:  # type: ignore[type-var]  # adapters are generators
            async for event in events:
                take.add(event)
                if isinstance(event, MessageStop) and take.delta is not None:
                    # Before the end is passed on: a reader may not come back after it.
                    await threads.beside(partial(self._tape.append, take.recording(context), context))
                yield event

    def _behind(self) -> ModelAdapter | None:
        """Return the model to record, ``None`` where there is none."""
        if self.record is None:
            return None
        if self._given is not None:
            return named(self._given)
        name = default_name()
        found = None if name.startswith("recorded:") else named(name)
        return found if found is not None and found.source == "live" else None

    def _miss(self, context: CompiledContext) -> RecordingMissError:
        remedy = f"record it with RecordedModel({str(self.path)!r}, record='new', model=…)"
        nearest = self._tape.nearest(context)
        if nearest is None:
            what = "holds no recordings" if self.path.exists() else "does not exist"
            return RecordingMissError(f"{self.path} {what}; {remedy}", kind="request")
        words, full = difference(context, self._tape.context_of(nearest))
        error = RecordingMissError(
            f"{self.path} holds no answer to this context; nearest is line {nearest.line} ({nearest.model}, "
            f"{nearest.at}): {words}; {remedy}",
            kind="request",
        )
        error.add_note(full)
        return error


class _Take:
    """An answer that is coming in, with its pace."""

    def __init__(self, model: ModelAdapter) -> None:
        self.model = model.name
        self._takes = model.capabilities
        self.delta: MessageDelta | None = None
        self._blocks: list[Played] = []
        self._paces: dict[int, list[tuple[int, int]]] = {}
        self._last = time.perf_counter()

    def add(self, event: ModelEvent) -> None:
        if isinstance(event, (TextDelta, InputJsonDelta)):
            self._step(event.index, len(event.text if isinstance(event, TextDelta) else event.partial_json))
        elif isinstance(event, ContentBlockStop):
            self._blocks.append(Played(event.content, tuple(self._paces.pop(event.index, ()))))
        elif isinstance(event, MessageStart):
            self.model = event.model
        elif isinstance(event, MessageDelta):
            self.delta = event
        elif isinstance(event, ModelWaiting):
            self._last += event.seconds  # a server that was busy is no part of the pace

    def _step(self, index: int, characters: int) -> None:
        steps = self._paces.setdefault(index, [])
        passed = round((time.perf_counter() - self._last) * 1000)
        if steps and passed < STEP:
            # The clock stays: a row of quick ones makes a step in the end.
            steps[-1] = (steps[-1][0], steps[-1][1] + characters)
            return
        steps.append((passed, characters))
        self._last = time.perf_counter()

    def recording(self, context: CompiledContext) -> Recording:
        assert self.delta is not None
        return Recording(
            context.hash,
            datetime.now(UTC).isoformat(timespec="seconds"),
            self.model,
            tuple(self._blocks),
            self.delta.stop_reason,
            self.delta.usage,
            self.delta.detail,
            self.delta.cache_diagnosis,
            settings=context.settings,
            takes=self._takes,
        )


def _start(index: int, block: Block) -> ContentBlockStart:
    if isinstance(block, ToolCall):
        return ContentBlockStart(index, "tool_call", id=block.id, name=block.name)
    if isinstance(block, ServerTool):
        return ContentBlockStart(index, "server_tool", id=block.call_id, name=block.name)
    return ContentBlockStart(index, "thinking" if isinstance(block, Thinking) else "text")


def _pieces(played: Played) -> Iterator[tuple[int, str]]:
    """Cut a block's text as it came, each piece with the milliseconds before it."""
    block = played.block
    if isinstance(block, ToolCall):
        text = json.dumps(dict(block.input), ensure_ascii=False, default=str)
    else:
        text = block.text if isinstance(block, (Text, Thinking, ServerTool)) else ""
    at = 0
    for place, (pause, characters) in enumerate(played.pace):
        last = place == len(played.pace) - 1
        # A tool's input is written anew: the last step takes what differs.
        if piece := text[at:] if last else text[at : at + characters]:
            yield pause, piece
        at += characters
    if text and not played.pace:
        yield 0, text
