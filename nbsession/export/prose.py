"""A conversation as Markdown that reads as it was said, and is nothing but text whoever renders it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from nbsession.content import Text, Thinking, visible
from nbsession.export.conversation import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nbsession.export.conversation import Asked, Conversation, Turn
    from nbsession.timeline import Tick

_FENCE = re.compile(r"[`~]+")
_TAG = re.compile(r"<[A-Za-z/!?]")
"""What a reader that is less strict than the standard may take for the beginning of a tag."""
_TOKENS_OF_TEXT = frozenset({
    "blockquote_close", "blockquote_open", "bullet_list_close", "bullet_list_open", "code_block", "code_inline",
    "em_close", "em_open", "fence", "hardbreak", "heading_close", "heading_open", "hr", "inline", "link_close",
    "link_open", "list_item_close", "list_item_open", "ordered_list_close", "ordered_list_open", "paragraph_close",
    "paragraph_open", "s_close", "s_open", "softbreak", "strong_close", "strong_open", "table_close", "table_open",
    "tbody_close", "tbody_open", "td_close", "td_open", "text", "th_close", "th_open", "thead_close", "thead_open",
    "tr_close", "tr_open",
})  # fmt: skip


def markdown(conversation: Conversation) -> str:
    """Return the conversation: messages and answers as quotes, calls and results as code."""
    lines = [
        f"# Session {inline(conversation.session)}",
        *(f"- {inline(note)}" for note in conversation.notes),
    ]
    for turn in conversation.turns:
        lines += _turn(turn)
    return "\n\n".join(lines) + "\n"


def inline(text: str) -> str:
    """Return a short text as code within a line."""
    shown = " ".join(visible(text).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown else f"{fence}{shown}{fence}"


def block(text: str, language: str = "") -> str:
    """Return a text as a block of code, within fences that it cannot close."""
    shown = visible(text)
    fence = "`" * max(3, max((len(run) for run in _FENCE.findall(shown)), default=0) + 1)
    return f"{fence}{language}\n{shown}\n{fence}"


def quoted(text: str) -> str:
    """Return a text that somebody said as a quote: as Markdown where it is harmless, else as a block of code."""
    shown = visible(text)
    return "\n".join(
        f"> {line}".rstrip() for line in (shown if _is_harmless(shown) else block(shown)).split("\n")
    )


def _turn(turn: Turn) -> Iterator[str]:
    if turn.knobs:
        yield "Knobs: " + ", ".join(inline(f"{name} = {_json(value)}") for name, value in turn.knobs.items())
    for entry in turn.messages:
        yield f"## {entry.role.capitalize()}"
        yield quoted(str(entry))
    for asked in turn.answered:
        yield "## Answer"
        yield quoted(asked.text)
        yield inline(asked.end)
    for tick in turn.ticks:
        yield from _tick(tick, turn.asked)
    for entry in turn.later:
        yield "**User, meanwhile**"
        yield quoted(str(entry))


def _tick(tick: Tick, asked: Mapping[str, Asked]) -> Iterator[str]:
    model = f" · {inline(tick.model or tick.asked)}" if tick.model or tick.asked else ""
    source = f" ({tick.source if tick.source.isalpha() else inline(tick.source)})" if tick.source else ""
    yield f"### Tick {tick.number}{model}{source} · ≈{tick.context.tokens:,} tokens sent"
    for said in tick.response:
        if isinstance(said, Thinking) and said.text.strip():
            yield "Thinking:"
            yield quoted(said.text)
        elif isinstance(said, Text) and said.text.strip():
            yield quoted(said.text)
    for run in tick.tool_calls:
        decision = "" if run.decision is None else f" ({inline(str(run.decision))})"
        yield f"Called {inline(run.name)}{decision} with"
        yield block(_json(dict(run.input), indent=1), "json")
        if run.id in asked:
            yield "It asked:"
            yield quoted(asked[run.id].text)
            yield inline(asked[run.id].end)
        if run.result is not None:
            yield "Its result, an error:" if run.result.is_error else "Its result:"
            yield block(shortened(run.result.text))
    if tick.interrupted:
        yield "(cut off here)"
    if tick.error is not None:
        yield f"Ended with {inline(f'{type(tick.error).__name__}: {tick.error}')}"


def _is_harmless(text: str) -> bool:
    """Whether a text is Markdown of letters and links to the web: no HTML, no pictures, no definitions."""
    from markdown_it import MarkdownIt

    definitions: dict[str, Any] = {}
    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    parser.validateLink = _any_link  # type: ignore[method-assign]  # all are seen, and looked at here
    for token in parser.parse(text, definitions):
        for each in (token, *(token.children or ())):
            target = str(each.attrs.get("href", "https://"))
            if each.type == "text" and _TAG.search(each.content):
                return False
            if each.type not in _TOKENS_OF_TEXT or not target.lower().startswith(("https://", "http://")):
                return False
    return not definitions.get("references") and "](" not in _without_links(text)


def _any_link(url: str) -> bool:
    return bool(url)


def _without_links(text: str) -> str:
    """Take the links away that lead to the web: what looks like one still may be one to another reader."""
    return re.sub(r"\]\(\s*https?://", "", text)


def _json(value: Any, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)
