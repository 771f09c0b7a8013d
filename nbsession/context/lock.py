"""Compiled contexts as a file that people review: what each part says, and nothing that differs from run to run.

Ids of entries and calls become their numbers, bytes become their hash. A part
that stands as it stood in the context before is written as its number there.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsession.content import Document, Image, ServerTool, Text, Thinking, ToolCall, ToolResult
from nbsession.context.compiled import CompiledContext
from nbsession.context.part import Part, canonical_json
from nbsession.usage import Usage, cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nbsession.content import Block

GROUPS = ("system", "tools", "messages")
FORM = 1
"""The form of the file; one of another form is to be made anew."""


class Locked(NamedTuple):
    """Contexts as they are kept: equal where the same is sent, in whichever run and on whichever machine."""

    contexts: tuple[CompiledContext, ...]

    @classmethod
    def of(cls, contexts: Iterable[CompiledContext]) -> Locked:
        """Leave out of contexts what differs from run to run."""
        return cls(tuple(_plain(context) for context in contexts))

    @classmethod
    def read(cls, text: str) -> Locked:
        """Read what ``write`` gave; ``ValueError`` where it is something else."""
        data = json.loads(text)
        if not isinstance(data, dict) or data.get("form") != FORM:
            raise ValueError("another form")
        contexts: list[CompiledContext] = []
        try:
            for kept in data["contexts"]:
                before = contexts[-1].parts if contexts else ()
                groups = [
                    [before[part] if isinstance(part, int) else _part(part) for part in kept[group]]
                    for group in GROUPS
                ]
                contexts.append(_context(groups, kept["settings"]))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return cls(tuple(contexts))

    def write(self) -> str:
        """Write them as JSON, a line of a text on a line."""
        kept: list[dict[str, Any]] = []
        before: dict[tuple[Any, ...], int] = {}
        for context in self.contexts:
            groups = {
                name: [before.get(_all_of(part), _kept(part)) for part in parts]
                for name, parts in zip(GROUPS, _groups(context), strict=True)
            }
            kept.append({"tokens": context.tokens, "settings": dict(context.settings), **groups})
            before = {_all_of(part): number for number, part in enumerate(context.parts)}
        return json.dumps({"form": FORM, "contexts": kept}, indent=1, ensure_ascii=False) + "\n"

    def difference(self, older: Locked, *, model: str = "") -> str:
        """Say what of each context is another than in ``older``, by component, ``""`` where nothing is.

        Tokens are estimates; US dollars (of ``model``, else of the context's own) are of
        one such call, nothing read from a cache, and stand where the price is known.
        """
        lines: list[str] = []
        many = len(self.contexts) > 1 or len(older.contexts) > 1
        for number, (new, old) in enumerate(itertools.zip_longest(self.contexts, older.contexts)):
            head = [f"tick {number}:"] if many else []
            if new is None or old is None:
                lines.append(f"tick {number}: {'is new' if old is None else 'is not there any more'}")
            elif diff := new.diff(old):
                broken = ["the cached prefix is broken there"] if diff.prefix_broken_by is not None else []
                lines += [*head, str(diff), *broken, *_dollars(old.tokens, new.tokens, model or new.model)]
        return "\n".join(lines)


def _dollars(old: int, new: int, model: str) -> Iterator[str]:
    before, now = (cost(model, Usage(input_tokens=tokens)) for tokens in (old, new))
    if before is not None and now is not None and (before or now):
        sign = "+" if now > before else "−" if now < before else "±"
        yield f"{sign}${abs(now - before):.6f} a call of {model}"


def _plain(context: CompiledContext) -> CompiledContext:
    settings = json.loads(canonical_json(dict(context.settings)))
    calls: dict[str, str] = {}
    messages = itertools.count()

    def plain(part: Part) -> Part:
        key, text = part.key, part.text
        if part.kind == "message":
            key = str(next(messages))
            text = "\n\n".join(_said(block, calls) for block in part.blocks)
        elif part.kind == "tool":
            text = _schema(text)
        return _made(part.kind, part.path, text, key, part.title, part.role, part.tokens)

    groups = [[plain(part) for part in parts] for parts in _groups(context)]
    return _context(groups, settings, context.model)


def _said(block: Block, calls: dict[str, str]) -> str:
    """Write a block out: all of it that is sent, and no id."""
    if isinstance(block, Text):
        return block.text if not block.citations else f"{block.text}\n{_json(list(block.citations))}"
    if isinstance(block, ToolCall):
        number = calls.setdefault(block.id, str(len(calls)))
        return f"→ call {number}: {block.name} {_json(dict(block.input))}"
    if isinstance(block, ToolResult):
        number = calls.setdefault(block.call_id, str(len(calls)))
        said = "\n".join(_said(item, calls) for item in block.content)
        return f"← call {number}{' failed' if block.is_error else ''}: {said}"
    if isinstance(block, Image | Document):
        name = block.alt if isinstance(block, Image) else block.title
        place = (
            block.url
            or block.file_id
            or f"{len(block.data):,} bytes {hashlib.sha256(block.data).hexdigest()[:16]}"
        )
        return f"[{block.media_type} {name!r}: {place}]"
    if isinstance(block, ServerTool):
        return f"[{'result' if block.is_result else 'call'} of the provider’s own tool {block.name}: {block}]"
    assert isinstance(block, Thinking)
    return f"[thinking: {block.text}]"


def _made(kind: Any, path: str, text: str, key: str, title: str, role: str, tokens: int) -> Part:
    blocks = (Text(text),) if kind == "message" else ()
    return Part(kind, path, text, key=key, title=title, role=role, blocks=blocks, tokens=tokens)


def _groups(context: CompiledContext) -> tuple[Sequence[Part], ...]:
    return context.system, [part for part in context.parts if part.kind == "tool"], context.flow


def _context(groups: Sequence[Sequence[Part]], settings: Any, model: str = "") -> CompiledContext:
    system, tools, flow = groups
    return CompiledContext(system, flow, tools, settings=settings, model=model)


def _all_of(part: Part) -> tuple[Any, ...]:
    return part.kind, part.path, part.text, part.key, part.title, part.role, part.tokens


def _kept(part: Part) -> dict[str, Any]:
    named = {"kind": part.kind, "path": part.path, "key": part.key, "title": part.title, "role": part.role}
    return {
        **{name: value for name, value in named.items() if value},
        "tokens": part.tokens,
        "text": part.text.split("\n"),
    }


def _part(kept: dict[str, Any]) -> Part:
    text = "\n".join(kept["text"])
    key, title, role = (kept.get(name, "") for name in ("key", "title", "role"))
    return _made(kept["kind"], kept["path"], text, key, title, role, kept["tokens"])


def _schema(text: str) -> str:
    """Set a tool's specification out over lines."""
    return json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True)


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, sort_keys=True, default=str)
